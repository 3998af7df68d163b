"""A run from elsewhere is data: nothing in it writes or reads outside, and none of it is run."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from synthgen.errors import RunError
from synthgen.exporting.formats.mvtec import Mvtec
from synthgen.exporting.labels import read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.write import export
from synthgen.references.items import read_bank
from tests.cli import run_here
from tests.hard_set import make_hard_run

ROOT = Path(__file__).parents[2]
FORMATS = sorted(path.stem for path in (ROOT / "conf" / "format").glob("*.yaml"))
HOSTILE = ("/tmp/{}/away", "../../away", "..", "a/../../away", "a\\..\\away", "a\0b", "a\nb")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_hard_run(tmp_path_factory.mktemp("hard") / "run")


@pytest.fixture
def run(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "inner" / "run"))


def change(run: Path, table: str, column: str, to: str, row: int = 1) -> None:
    """Write another text into one row of a table; in every row that has the sample, for its id."""
    path = run / f"{table}.parquet"
    read = parquet.read_table(path)
    values = read[column].to_pylist()
    before = values[row]
    is_id = column == "sample_id"
    changed = [
        to if (value == before if is_id else place == row) else value
        for place, value in enumerate(values)
    ]
    place = read.schema.get_field_index(column)
    parquet.write_table(read.set_column(place, column, pa.array(changed, pa.large_string())), path)


def assert_refused(done: CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stdout
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("synthgen: "), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in sentence


def files_of(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", FORMATS)
def test_an_id_cannot_lead_an_export_out_of_its_folder(run, tmp_path, name, hostile) -> None:
    hostile = hostile.replace("/tmp/{}", str(tmp_path))
    change(run, "manifest", "sample_id", hostile)
    change(run, "instances", "sample_id", hostile)
    before = files_of(tmp_path)
    done = run_here("export", f"run.folder={run}", f"out={run.parent}/out", f"format=[{name}]")
    assert_refused(done, "sample_id", "manifest.parquet")
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", FORMATS)
def test_a_split_cannot_either(run, tmp_path, name) -> None:
    change(run, "manifest", "split", "../../../away")
    before = files_of(tmp_path)
    done = run_here("export", f"run.folder={run}", f"out={run.parent}/out", f"format=[{name}]")
    assert_refused(done, "split='../../../away'")
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("where", ["config", "bank_classes"])
def test_a_class_cannot_either(run, tmp_path, where) -> None:
    record = yaml.safe_load((run / "run.yaml").read_text(encoding="utf-8"))
    if where == "config":
        record["config"]["defect"]["../../../away"] = record["config"]["defect"].pop("pit")
    else:
        record["bank_classes"] = {"../../../away": 9}
    (run / "run.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")
    before = files_of(tmp_path)
    done = run_here("export", f"run.folder={run}", f"out={run.parent}/out", "format=[mvtec]")
    assert_refused(done, "class", "'../../../away'")
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("column", ["image", "mask"])
@pytest.mark.parametrize("place", ["absolute", "../../secret.png", "images/../../../secret.png"])
def test_a_file_outside_of_the_run_is_not_exported(run, tmp_path, column, place) -> None:
    shutil.copy(run / "images" / "hole.png", tmp_path / "secret.png")
    change(run, "manifest", column, str(tmp_path / "secret.png") if place == "absolute" else place)
    done = run_here("export", f"run.folder={run}", f"out={tmp_path}/out", "format=[coco]")
    assert_refused(done, f"{column}=", "secret.png")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_out_of_the_run_is_not_followed(run, tmp_path, what) -> None:
    inner = run / "images" if what == "folder" else run / "images" / "hole.png"
    outer = tmp_path / inner.name
    shutil.move(inner, outer)
    inner.symlink_to(outer)
    done = run_here("export", f"run.folder={run}", f"out={tmp_path}/out", "format=[coco]")
    assert_refused(done, str(inner), "link that leads out of")


def test_a_link_inside_of_the_run_and_one_to_it_are_followed(run, tmp_path) -> None:
    shutil.move(run / "images" / "hole.png", run / "hole.png")
    (run / "images" / "hole.png").symlink_to("../hole.png")
    (tmp_path / "linked").symlink_to(run)
    linked = tmp_path / "linked"
    done = run_here("export", f"run.folder={linked}", f"out={tmp_path}/out", "format=[coco]")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["run.yaml", "manifest.parquet", "images/hole.png"])
def test_a_pipe_is_not_waited_for(run, tmp_path, name) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    done = run_here("export", f"run.folder={run}", f"out={tmp_path}/out", "format=[coco]")
    assert_refused(done, name, "a pipe")


def test_a_device_as_the_photo_of_a_sample_is_not_read(run) -> None:
    change(run, "manifest", "source_path", "/dev/zero")
    done = run_here("report", f"run.folder={run}")
    assert_refused(done, "/dev/zero", "a regular file is expected")


@pytest.mark.parametrize("column", ["tar", "name"])
def test_a_tar_outside_of_the_run_is_not_read(run, tmp_path, column) -> None:
    (run / "images" / "hole.png").rename(tmp_path / "batch.tar")
    place = {"name": "images/hole.png", "tar": "batch.tar", column: "../../batch.tar"}
    rows = [{**place, "offset": 0, "size": 10_000, "sample_id": "hole"}]
    parquet.write_table(pa.Table.from_pylist(rows), run / "files.parquet")
    done = run_here("export", f"run.folder={run}", f"out={tmp_path}/out", "format=[coco]")
    assert_refused(done, f"{column}='../../batch.tar'", "files.parquet")


def test_shards_are_checked_too(run) -> None:
    for path in run.glob("shards/*.json"):
        rows = json.loads(path.read_text(encoding="utf-8"))
        rows["manifest"][0]["sample_id"] = "../../away"
        path.write_text(json.dumps(rows), encoding="utf-8")
    before = (run / "manifest.parquet").read_bytes()
    assert_refused(run_here("inspect", f"run.folder={run}"), "sample_id='../../away'", "shards/")
    assert (run / "manifest.parquet").read_bytes() == before


@pytest.mark.parametrize("column", ["crops", "masks", "item_id", "defect_class"])
def test_a_bank_reads_nothing_outside_of_it(tmp_path, column) -> None:
    kinds = {name: f"{name}/a.png" for name in ("crops", "clean", "masks")}
    row = {"item_id": "a", "defect_class": "pit", **kinds, column: "../../away"}
    pd.DataFrame([row]).to_parquet(tmp_path / "bank.parquet")
    with pytest.raises(RunError, match=r"\.\./\.\./away"):
        read_bank(tmp_path)


@pytest.mark.parametrize("name", ["../../../away", "/away", "a/b"])
def test_a_class_of_real_images_cannot_lead_out_of_a_tree(made, tmp_path, name) -> None:
    labels = read_labels(made)
    renamed = {name if kind == "pit" else kind: number for kind, number in labels.classes.items()}
    with pytest.raises(RunError, match="class"):
        export(replace(labels, classes=renamed), {"m": Mvtec()}, tmp_path / "in" / "out", Media())
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_set_with_an_id_that_leads_elsewhere_cannot_be_made(made) -> None:
    labels = read_labels(made)
    for change in ({"sample_id": "../away"}, {"split": "../away"}):
        with pytest.raises(RunError, match=r"='\.\./away'"):
            replace(labels, images=[replace(labels.images[0], **change)])


@pytest.mark.parametrize("override", ["splits={'../away': 1}", "+defect.a/b={class_id: 40}"])
def test_a_run_of_ones_own_gets_no_such_name(tmp_path, override) -> None:
    done = run_here("generate", "backend=sketch", f"run.folder={tmp_path}/run", override)
    assert done.returncode == 2
    assert not (tmp_path / "run").exists()
