"""A run folder that synthgen 0.1.0 wrote, tests/data/run-0.1.0, is of use to the code of today."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from synthgen.imaging.geometry import rle_to_mask
from synthgen.runs.folder import RunFolder
from synthgen.runs.reader import read_run
from synthgen.runs.renamed import RENAMED
from synthgen.runs.reviews.edits import Edit, EditedInstance, add_edits, read_edits
from synthgen.runs.reviews.verdicts import Verdict, add_verdicts, judge, read_verdicts
from tests.cli import run_here, run_well

WRITTEN = Path(__file__).resolve().parents[1] / "data" / "run-0.1.0"
COMMAND = [  # that it was written by
    *("generate", "backend=sketch", "run.count=8", "run.good_fraction=0.25", "run.batch_size=2"),
    *("source.size_hw=[96,96]", "source.count=4", "seed=2", "run.retries=[noise,place]"),
    # Defaults that have changed since.
    *(
        f"defect.scratch.shape.{key}"
        for key in (
            *("length_fraction=[0.12,0.9]", "width_fraction=[0.012,0.14]", "contrast=[0.2,0.85]"),
            *("curvature=[-0.15,0.15]", "bright_fraction=0.7"),
        )
    ),
]
ACCEPTED = ["burn-000001", "chip-000002", "corrosion-000003", "dent-000005"]
REJECTED, GOOD = ["crack-000004", "fibre-000006"], ["good-000008", "good-000009"]
EVENING = "2026-01-31T18:00:00+00:00"


@pytest.fixture
def root(tmp_path) -> Path:
    return Path(shutil.copytree(WRITTEN, tmp_path / "run"))


def images_of(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "images").iterdir()}


def break_off(root: Path) -> None:
    """Leave of a run what one that was stopped in its middle leaves, and no reviews."""
    for path in root.glob("*.parquet"):
        if path.name != "plan.parquet":
            path.unlink()
    (root / "masks" / "inclusion-000007.edited.png").unlink()
    for number in (4, 6, 8):
        (root / "shards" / f"shard-{number:08d}.json").unlink()
    for name in ("crack-000004", "dent-000005", *GOOD):
        (root / "images" / f"{name}.png").unlink()


def test_it_is_small_and_names_no_machine() -> None:
    files = [path for path in WRITTEN.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    rows = read_run(WRITTEN).manifest
    for column in ("image", "mask", "requested", "control", "source_path", "photo"):
        assert not rows[column].str.startswith("/").any()


def test_it_is_exported(root, tmp_path) -> None:
    run_well("export", f"run.folder={root}", "format=[coco,table]", f"out={tmp_path / 'out'}")
    found = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("instances_*.json")]
    names = {Path(image["file_name"]).stem for one in found for image in one["images"]}
    assert names == {"abrasion-000000", *ACCEPTED, "inclusion-000007", *GOOD}
    out = tmp_path / "reviewed"
    run_well("export", f"run.folder={root}", "include=reviewed", f"out={out}")
    assert {path.stem for path in out.rglob("*.png")} == {"burn-000001", *GOOD}


def test_it_is_reported_whole_and_in_its_middle(root) -> None:
    run_well("report", f"run.folder={root}")
    page = (root / "report.html").read_text(encoding="utf-8")
    assert "edge_width_ratio" in page
    run_well("inspect", f"run.folder={root}", "quality.edge_width_ratio=[null,null]")
    assert not read_run(root).manifest["status"].eq("rejected").any()


def test_it_is_reviewed(root) -> None:
    words = {name: one.verdict for name, one in judge(read_verdicts(root)).items()}
    assert words == {
        "abrasion-000000": "reject",
        "burn-000001": "accept",
        "dent-000005": "conflict",
    }
    add_verdicts(root, [Verdict("dent-000005", 0, "accept", "", "bert", EVENING)])
    assert judge(read_verdicts(root))["dent-000005"].verdict == "accept"
    assert [edit.sample_id for edit in read_edits(root)] == ["inclusion-000007"]
    rle = read_run(root).instances.set_index("sample_id").loc["chip-000002", "rle"]
    drawn = EditedInstance("dent", rle_to_mask({"size": [96, 96], "counts": rle}))
    assert (
        add_edits(
            root,
            [
                Edit(
                    sample_id="chip-000002",
                    revision=0,
                    reviewer="anna",
                    time=EVENING,
                    instances=(drawn,),
                )
            ],
        )
        == 1
    )
    RunFolder(root).merge()
    rows = read_run(root).manifest.set_index("sample_id")
    assert rows["edited_by"].to_dict() == dict.fromkeys(rows.index, "") | {
        "inclusion-000007": "bert",
        "chip-000002": "anna",
    }
    assert rows.loc[["inclusion-000007", "chip-000002"], "defect_class"].tolist() == ["pit", "dent"]


def test_a_merge_by_the_code_of_today_says_what_it_said(root) -> None:
    before = read_run(root)
    RunFolder(root).merge()
    after = read_run(root)
    for name in ("manifest", "instances", "tries", "timings"):
        one, other = getattr(before, name), getattr(after, name)
        pd.testing.assert_frame_equal(other[list(one)], one)


def test_what_people_rejected_of_it_is_made_anew(root) -> None:
    before = images_of(root)
    run_well(*COMMAND, f"run.folder={root}")
    after = images_of(root)
    assert after.keys() - before.keys() == {"abrasion-000000~1.png"}
    assert {name: after[name] for name in before} == before
    rows = read_run(root).manifest.set_index("sample_id")
    assert rows["revision"].to_dict() == dict.fromkeys(rows.index, 0) | {"abrasion-000000": 1}


def test_it_is_continued_where_it_was_stopped(root) -> None:
    whole = read_run(WRITTEN).manifest.set_index("sample_id")
    break_off(root)
    before = images_of(root)
    run_well(*COMMAND, f"run.folder={root}")
    after = images_of(root)
    assert len(after) == 10
    assert {name: after[name] for name in before} == before
    rows = read_run(root).manifest.set_index("sample_id")
    assert list(rows.index) == list(whole.index)
    planned = ["seed", "prompt", "severity", "source_id", "group", "split", "reference"]
    pd.testing.assert_frame_equal(rows[planned], whole[planned])


def test_another_config_or_plan_is_refused(root) -> None:
    done = run_here(*COMMAND, "mask.margin_px=5", f"run.folder={root}")
    assert done.returncode == 2
    assert "mask.margin_px=4, now it is 5" in done.stderr
    plan = pd.read_parquet(root / "plan.parquet")
    plan.assign(prompt="another").to_parquet(root / "plan.parquet")
    done = run_here(*COMMAND, f"run.folder={root}")
    assert done.returncode == 2
    assert "prompt of abrasion-000000 was 'another', now it is 'a strong" in done.stderr


def forget(root: Path, key: str) -> None:
    """Take a key out of the config of a run, as if its version had not known it."""
    record = yaml.safe_load((root / "run.yaml").read_text(encoding="utf-8"))
    *outer, last = key.split(".")
    part = record["config"]
    for name in outer:
        part = part[name]
    del part[last]
    (root / "run.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")


def test_a_key_that_came_since_does_not_stop_it_where_it_has_its_default(root) -> None:
    others = {  # than the default
        "run.candidates": "2",
        "bank.deform.bend": "0.2",
        "prompt.synonym_fraction": "0.5",
        "defect.pit.close_px": "3",
        "defect.stain.shape.bright_fraction": "0.9",
        "source.kinds": "[cast]",
        "quality.grain_ratio": "[0.1,null]",
    }
    former = {now: key for key, now in RENAMED.items()}
    for key in others:
        forget(root, former.get(key.replace("stain", "*"), key).replace("*", "stain"))
        done = run_here(*COMMAND, f"{key}={others[key]}", f"run.folder={root}")
        assert done.returncode == 2
        assert f"{key}=not set, now it is" in done.stderr
    forget(root, "mode")
    run_well(*COMMAND, f"run.folder={root}")
    assert (root / "images" / "abrasion-000000~1.png").is_file()
