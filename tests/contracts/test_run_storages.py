"""One run, read alike wherever it lies: files here, tars here, files and tars in object storage."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from synthgen.errors import ConfigError, RunError
from synthgen.exporting.formats.coco import Coco
from synthgen.exporting.formats.semantic import Semantic
from synthgen.exporting.formats.table import Table
from synthgen.exporting.formats.voc import Voc
from synthgen.exporting.labels import read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.write import export
from synthgen.imaging.images import decode_image, read_image
from synthgen.report import write_contact_sheet, write_report
from synthgen.runs.folder import inspect_run
from synthgen.runs.reader import read_run
from synthgen.storage.places import open_storage
from tests.factories import CASES, make_masks, make_run

ELSEWHERE = ["local tar", "s3 files", "s3 tar", "memory tar"]
NAMES = ("image", "mask", "requested", "control", "source_path")
FORMATS = {"coco": Coco(), "semantic": Semantic(), "table": Table(), "voc": Voc()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The run as it always was: plain files in a folder of this machine."""
    return make_run(tmp_path_factory.mktemp("plain") / "run").root


@pytest.fixture(scope="module", params=ELSEWHERE)
def run(request, tmp_path_factory) -> str:
    where, layout = request.param.split()
    if where == "s3":
        root = f"{request.getfixturevalue('bucket')}/deep/{layout}"
    else:
        root = str(tmp_path_factory.mktemp("run")) + "/run"
        root = f"memory:/{root}" if where == "memory" else root
    return str(make_run(root, layout).root)


def test_the_tables_are_equal(plain, run) -> None:
    one, other = read_run(plain), read_run(run)
    for name in ("manifest", "instances", "tries"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    assert one.classes == other.classes


def test_every_file_is_the_same(plain, run) -> None:
    one, other = read_run(plain), read_run(run)
    rows = one.manifest[one.manifest["image"] != ""]
    assert len(rows) == len(CASES)
    for name in rows[list(NAMES)].to_numpy().ravel():
        assert other.read(name) == one.read(name) == (plain / name).read_bytes()
        assert other.stored(name).is_file()
        assert other.stored(name).read_head(30) == one.read(name)[:30]


def test_exports_are_equal(plain, run, tmp_path) -> None:
    folders = []
    for number, root in enumerate((plain, run)):
        labels = read_labels(root)
        out = tmp_path / str(number) / "out"
        formats = {name: FORMATS[name] for name in FORMATS}
        folders.append(export(labels, formats, out, Media("link")).path)
    one, other = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in folders
    )
    assert len(one) > 40
    paths = one.keys() | other.keys()
    differing = {str(path) for path in paths if one.get(path) != other.get(path)}
    assert differing <= {"DATASHEET.md", "datasheet.md"}  # it tells the config


def read_report(root) -> str:
    """Return the page of a run without what is its own: its name, storage and seconds."""
    page = write_report(root).read_bytes().decode()
    page = re.sub(r"<dt>work.*?</dd>", "", page)  # seconds are never the same
    name = re.escape(str(root).rpartition("/")[2])
    page = re.sub(rf"(<h1>|<title>synthgen run: ){name}<", "<", page)
    return page.replace(str(root), "").replace("<td>tar</td>", "<td>files</td>")


def test_the_report_and_the_sheet_are_equal(plain, run, tmp_path) -> None:
    one, other = read_report(plain), read_report(run)
    assert one == other
    sheets = [
        write_contact_sheet(root, tmp_path / f"{number}.png").read_bytes()
        for number, root in enumerate((plain, run))
    ]
    assert sheets[0] == sheets[1]


def test_training_sees_the_same(plain, run) -> None:
    from synthgen.training.dataset import DefectDataset

    one, other = (DefectDataset(root, target="both") for root in (plain, run))
    assert len(pickle.dumps(other)) < 100_000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking a process that has threads
        workers = 0 if run.startswith("memory") else 2
        loader = DataLoader(other, None, num_workers=workers)
        for (image, target), (image_too, target_too) in zip(one, loader, strict=True):
            assert torch.equal(image, image_too)
            assert torch.equal(target["masks"], target_too["masks"])
            assert torch.equal(target["semantic"], target_too["semantic"])


def test_images_elsewhere_cannot_be_referred_to(run, tmp_path) -> None:
    with pytest.raises(ConfigError, match="give media=copy"):
        export(read_labels(run), {"coco": Coco()}, tmp_path / "out", Media("refer"))
    assert not (tmp_path / "out").exists()


def test_it_is_decided_again_where_it_lies(run) -> None:
    before = read_run(run).manifest
    manifest = inspect_run(run, {"area_px": [10_000, None]})
    assert set(manifest["status"]) == {"rejected", "good"}
    pd.testing.assert_frame_equal(manifest, read_run(run).manifest)
    assert read_run(run).quality == {"area_px": [10_000, None]}
    with pytest.raises(RunError, match="has not been reviewed"):
        read_labels(run, "reviewed")
    inspect_run(run, {})
    assert len(before) == len(read_run(run).manifest)


def test_a_missing_file_is_named(run) -> None:
    with pytest.raises(RunError, match=r"images/none\.png is named in the manifest but missing"):
        read_run(run).read("images/none.png")


def test_webdataset_reads_the_tars(tmp_path) -> None:
    import webdataset

    root = make_run(tmp_path / "run", "tar").root
    [tar] = (root / "tars").iterdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset closes no file
        samples = list(webdataset.WebDataset(str(tar), shardshuffle=False))
    assert all("source.png" in s for s in samples if "json" not in s)
    found = {sample["__key__"]: sample for sample in samples if "json" in sample}
    assert set(found) == set(CASES)
    for case, sample in found.items():
        known = json.loads(sample["json"])
        assert known["manifest"]["sample_id"] == case
        assert len(known["instances"]) == known["manifest"]["instances"]
        label = decode_image(sample["mask.png"], case)
        assert np.array_equal(label > 0, make_masks(case) > 0)
        assert decode_image(sample["image.png"], case).shape == (48, 48, 3)
        assert {"requested.png", "control.png"} <= set(sample)


def test_a_plain_file_goes_before_a_tar(tmp_path) -> None:
    root = make_run(tmp_path / "run", "tar").root
    run = read_run(root)
    open_storage(root).write("images/hole.png", run.read("images/two_parts.png"))
    assert run.stored("images/hole.png").local == root / "images" / "hole.png"
    assert np.array_equal(
        read_image(run.stored("images/hole.png")), read_image(run.stored("images/two_parts.png"))
    )


def test_one_run_may_have_both(tmp_path, plain) -> None:
    """A run that was begun with files and goes on with tars is one run."""
    from synthgen.runs.folder import RunFolder
    from tests.factories import make_sample

    root = make_run(tmp_path / "run").root
    RunFolder(root, layout="tar").write([make_sample("hole", 200)], "test", "none@0")
    run = RunFolder(root)
    assert run.merge()["sample_id"].is_unique
    assert (root / "files.parquet").is_file()
    assert read_run(root).read("images/hole.png")
