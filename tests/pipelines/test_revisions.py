"""After a review: what people rejected is made again, all else stays, what they accepted ships."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synthgen.imaging.images import decode_image
from synthgen.runs.folder import RunFolder
from synthgen.runs.reader import read_run
from synthgen.runs.reviews.edits import Edit, EditedInstance, add_edits
from synthgen.runs.reviews.verdicts import Verdict, add_verdicts
from tests import starter
from tests.cli import run_here

ROOT = Path(__file__).resolve().parents[2]
RUN = [
    "generate",
    "backend=sketch",
    "defect=[pit,scratch]",
    "run.count=12",
    "run.batch_size=4",
    "source.size_hw=[64,64]",
    "source.count=6",
    "run.good_fraction=0.25",
]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
NOON = "2026-01-31T12:00:00+00:00"


def run(*arguments: str) -> str:
    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    return " ".join((done.stdout + done.stderr).split())


def say(word: str, *sample_ids: str, who: str = "anna", revision: int = 0) -> list[Verdict]:
    return [Verdict(one, revision, word, "", who, NOON) for one in sample_ids]


def files_of(root: Path) -> dict[str, tuple[bytes, int]]:
    """Return bytes and time of change of every picture, tar and shard of a run."""
    found = [*root.rglob("*.png"), *root.rglob("*.tar"), *(root / "shards").iterdir()]
    return {str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mtime_ns) for p in found}


def rows_of(root: Path) -> pd.DataFrame:
    return read_run(root).manifest.set_index("sample_id")


@pytest.mark.parametrize("layout", ["files", "tar"])
def test_exactly_the_rejected_samples_are_made_anew(tmp_path, layout) -> None:
    root, command = tmp_path / "run", [*RUN, f"run.storage={layout}"]
    run(*command, f"run.folder={root}")
    first, before = rows_of(root), files_of(root)
    made = list(first.index[first["defect_class"] != ""])
    good = list(first.index[first["status"] == "good"])
    bad, argued, kept = made[1:4], made[4], made[5:9]
    add_verdicts(root, say("reject", *bad, argued, good[0]))
    add_verdicts(root, say("accept", *kept, argued, who="ben"))
    pictures = {one: read_run(root).read(f"images/{one}.png") for one in bad}
    block = np.zeros((64, 64), bool)
    block[20:40, 20:40] = True
    drawn = (EditedInstance("scratch", block),)
    add_edits(
        root,
        [
            Edit(sample_id=one, revision=0, reviewer="ben", time=NOON, instances=drawn)
            for one in (kept[0], bad[0])
        ],
    )
    before |= files_of(root)  # and their masks

    said = run(*command, f"run.folder={root}")
    assert "3 samples that people rejected are made again" in said
    assert "1 good images that people rejected stay as they are" in said
    assert "3 were made again after a review, 1 labels drawn by people" in said
    rows, after, stored = rows_of(root), files_of(root), read_run(root)
    assert rows["revision"].to_dict() == {one: int(one in bad) for one in first.index}
    assert {name: after[name] for name in before} == before
    edited = rows.loc[kept[0], ["edited_by", "defect_class", "area_px"]]
    assert edited.tolist() == ["ben", "scratch", 400]
    assert (rows["edited_by"] != "").sum() == 1  # that of a revision of before counts no more
    others = [one for one in first.index if one not in (*bad, kept[0])]
    pd.testing.assert_frame_equal(
        rows.loc[others].drop(columns=["near_duplicate_id", "near_duplicate_bits"]),
        first.loc[others].drop(columns=["near_duplicate_id", "near_duplicate_bits"]),
    )
    for one in bad:
        assert rows.loc[one, "image"] == f"images/{one}~1.png"
        assert rows.loc[one, "seed"] != first.loc[one, "seed"]
        assert rows.loc[one, "prompt"] == first.loc[one, "prompt"]
        for column in ("image", "mask", "requested", "control"):
            assert decode_image(stored.read(rows.loc[one, column]), column).shape[:2] == (64, 64)
        assert stored.read(f"images/{one}~1.png") != pictures[one]
    for name in ("instances", "tries", "timings"):  # of the newest revision alone
        own = getattr(stored, name)
        keys = [key for key in ("sample_id", "instance_id", "attempt") if key in own]
        assert not own.duplicated(keys).any()

    unchanged = files_of(root)
    assert "made again after" in run(*command, f"run.folder={root}")
    assert files_of(root) == unchanged  # once is enough
    for one in (bad[0], kept[0]):
        said = run("reproduce", f"run.folder={root}", f"sample_id={one}")
        assert "differ by 0 grey levels at most, the label in 0 pixels" in said
    assert (
        add_edits(
            root, [Edit(sample_id=bad[1], revision=0, reviewer="ben", time=NOON, instances=drawn)]
        )
        == 1
    )  # too late to count
    RunFolder(root).compact(least=1)
    RunFolder(root).merge()
    pd.testing.assert_frame_equal(rows_of(root), rows)

    add_verdicts(root, say("accept", bad[0], revision=1))
    add_verdicts(root, say("reject", bad[1], revision=1))
    said = run("export", f"run.folder={root}", "include=reviewed", f"out={tmp_path / 'out'}")
    assert "2 rejected, 1 on which reviewers disagree" in said
    names = {path.stem for path in (tmp_path / "out").rglob("*.png")}
    assert names == {*kept, *good[1:], bad[0]}
    sheet = " ".join((tmp_path / "out" / "datasheet.md").read_text(encoding="utf-8").split())
    assert "People drew the labels of 1 images by hand instead: ben 1." in sheet
    assert "anna accepted 1 and rejected 3; ben accepted 5 and rejected 0." in sheet
    run(*command, f"run.folder={root}")
    assert rows_of(root).loc[bad, "revision"].tolist() == [1, 2, 1]


def test_kills_while_samples_are_made_anew(tmp_path) -> None:
    one, other = tmp_path / "unbroken", tmp_path / "killed"
    command = [*RUN, "run.count=40", "run.batch_size=2"]
    run(*command, f"run.folder={one}")
    made = [name for name in rows_of(one).index if not name.startswith("good")]
    add_verdicts(one, say("reject", *made[::2]))
    shutil.copytree(one, other)
    run(*command, f"run.folder={one}")
    killed = [str(ROOT / "tests" / "killing.py"), "6", "1", *command, f"run.folder={other}"]
    done = starter.run(*killed, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert "6 kills" in done.stdout
    pd.testing.assert_frame_equal(rows_of(other), rows_of(one))
    assert (rows_of(one)["revision"] == 1).sum() == 20
    pictures = [
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.png")}
        for root in (one, other)
    ]
    assert pictures[0] == pictures[1]
