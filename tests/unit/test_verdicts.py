"""What people say of a run: verdicts, and labels that they drew."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synthgen.errors import RunError, ShapeError
from synthgen.exporting.labels import read_labels
from synthgen.imaging.images import decode_image
from synthgen.quality.limits import read_limits
from synthgen.runs.folder import RunFolder
from synthgen.runs.reader import read_run
from synthgen.runs.reviews.decide import count_reasons
from synthgen.runs.reviews.edits import Edit, EditedInstance, add_edits, read_edits
from synthgen.runs.reviews.revisions import find_work
from synthgen.runs.reviews.verdicts import Judgement, Verdict, add_verdicts, judge, read_verdicts
from synthgen.runs.schema import measure_names
from synthgen.samples.sample import SampleSpec
from synthgen.samples.seeds import revise
from synthgen.storage.places import open_storage
from tests.factories import SIZE, make_masks, make_run
from tests.specs import make_spec

OF_MASK = measure_names(of_mask=True)
NOON = "2026-01-31T12:00:00+00:00"


def say(word: str, who: str = "anna", hour: int = 12, **more) -> Verdict:
    values = {"sample_id": "hole", "revision": 0, "reason": "", "reviewer": who}
    time = f"2026-01-31T{hour:02}:00:00+00:00"
    return Verdict(**(values | {"verdict": word, "time": time} | more))


@pytest.fixture(params=["files", "tar", "s3"])
def root(request, tmp_path) -> str:
    folder = str(tmp_path / "run")
    if request.param == "s3":
        folder = f"{request.getfixturevalue('bucket')}/{request.node.name}"
    make_run(folder, "tar" if request.param == "tar" else "files")
    return folder


def test_verdicts_are_kept_once(root) -> None:
    given = [say("accept"), say("reject", "ben", 13, reason="too faint")]
    assert read_verdicts(root) == []
    assert add_verdicts(root, given) == 2
    assert add_verdicts(root, [*given, say("accept", "ben", 14)]) == 1
    assert add_verdicts(root, given) == 0
    assert read_verdicts(root) == [*given, say("accept", "ben", 14)]
    assert not [name for name in open_storage(root).names() if name.endswith(".lock")]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"verdict": "perhaps"}, "'perhaps' on hole is unknown"),
        ({"sample_id": "nobody"}, "has no sample 'nobody'"),
        ({"revision": 1}, "has no revision 1 of hole, its newest is 0"),
        ({"revision": -1}, "has no revision -1"),
        ({"time": "2026-01-31T12:00:00"}, "has no offset"),
        ({"time": "yesterday"}, "the time 'yesterday'"),
        ({"reviewer": ""}, "give the reviewer's name"),
    ],
)
def test_a_bad_verdict_leaves_all_as_it_was(tmp_path, bad, words) -> None:
    root = make_run(tmp_path / "run").root
    with pytest.raises(RunError, match=words):
        add_verdicts(root, [say("accept"), replace(say("accept"), **bad)])
    assert not (tmp_path / "run" / "review.parquet").exists()
    with pytest.raises(RunError, match=r"no run\.yaml"):
        add_verdicts(tmp_path / "nowhere", [say("accept")])
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], None),
        ([say("accept")], ("accept", "", ("anna",))),
        ([say("reject", reason="dull")], ("reject", "dull", ("anna",))),
        ([say("reject", hour=13), say("accept")], ("reject", "", ("anna",))),
        ([say("reject", hour=11), say("accept")], ("accept", "", ("anna",))),
        (
            [say("accept"), say("reject", "ben", reason="dull")],
            ("conflict", "anna: accept; ben: reject (dull)", ("anna", "ben")),
        ),
        ([say("accept"), say("accept", "ben")], ("accept", "", ("anna", "ben"))),
        (
            [say("accept"), say("reject", "ben"), say("accept", "ben", 13)],
            ("accept", "", ("anna", "ben")),
        ),
        (
            [say("accept"), say("reject", "ben", 11, overrules=True)],
            ("reject", "", ("ben",)),
        ),
        (  # who overruled and changes their mind
            [say("accept"), say("reject", "ben", overrules=True), say("accept", "ben", 13)],
            ("accept", "", ("anna", "ben")),
        ),
        (  # half past noon in Berlin is before noon in London
            [say("accept"), say("reject", time="2026-01-31T12:30:00+01:00")],
            ("accept", "", ("anna",)),
        ),
    ],
)
def test_what_reviewers_say_together(verdicts, expected) -> None:
    made = {} if expected is None else {"hole": Judgement(*expected, 0)}
    assert judge(verdicts) == judge(reversed(verdicts)) == made


def test_a_verdict_is_on_one_revision() -> None:
    verdicts = [say("reject"), say("accept", revision=1), say("accept", sample_id="lost")]
    assert judge(verdicts)["hole"] == Judgement("accept", "", ("anna",), 1)
    first = judge(verdicts, {"hole": 0, "lost": 1})
    assert first == {"hole": Judgement("reject", "", ("anna",), 0)}
    assert judge(verdicts, {"hole": 2}) == {}


def draw(*instances: tuple[str, np.ndarray], sample_id: str = "hole", **more) -> Edit:
    values = {"sample_id": sample_id, "revision": 0, "reviewer": "anna", "time": NOON}
    edited = tuple(EditedInstance(name, mask) for name, mask in instances)
    return Edit(**(values | {"instances": edited} | more))


def block(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[top:bottom, left:right] = True
    return mask


def apply(root: str, *edits: Edit) -> pd.DataFrame:
    """Add the edits and return the manifest by sample."""
    assert add_edits(root, edits) == len(edits)
    RunFolder(root).merge()
    return read_run(root).manifest.set_index("sample_id")


def test_the_same_label_measures_the_same(root) -> None:
    before = read_run(root)
    numbers = make_masks("touches_border")
    own = [("pit", numbers == number) for number in (1, 2)]
    rows = apply(root, draw(*own, sample_id="touches_border"))
    after = read_run(root)
    pd.testing.assert_frame_equal(after.instances, before.instances)
    row = rows.loc["touches_border"]
    assert row["edited_by"] == "anna"
    assert row["mask"] == "masks/touches_border.edited.png"
    left = before.manifest.set_index("sample_id").drop(columns=["edited_by", "mask"])
    pd.testing.assert_frame_equal(rows.drop(columns=["edited_by", "mask"]), left)
    for name in (row["mask"], "masks/touches_border.png"):
        assert np.array_equal(decode_image(after.read(name), name) > 0, numbers > 0)


def test_a_label_is_drawn_anew(root) -> None:
    """A smaller pit, and a scratch where nothing was asked for or painted."""
    rows = apply(root, draw(("pit", block(10, 14, 10, 30)), ("scratch", block(40, 42, 2, 40))))
    row, run = rows.loc["hole"], read_run(root)
    assert row[["defect_class", "instances", "area_px"]].tolist() == ["pit", 2, 80 + 76]
    assert row[["box_x", "box_y", "box_w", "box_h"]].tolist() == [2, 10, 38, 32]
    assert row["leak_fraction"] == pytest.approx(76 / 156, abs=1e-5)
    defects = run.instances[run.instances["sample_id"] == "hole"]
    assert defects["class_id"].tolist() == [9, 10]
    assert defects["leak_fraction"].tolist() == [0, 1]
    assert defects["contrast_delta_e"].iloc[0] > 20 > defects["contrast_delta_e"].iloc[1]
    label = decode_image(run.read(row["mask"]), "label")
    assert label[12, 20] == 9
    assert label[41, 20] == 10
    assert (label > 0).sum() == 156
    [image] = [one for one in read_labels(root) if one.sample_id == "hole"]
    assert np.array_equal(image.class_map(), label)
    assert np.array_equal(image.label_map(), label)


def test_an_edit_outlives_every_merge_and_limits_see_it(root) -> None:
    small = block(24, 26, 12, 14)
    rows = apply(root, draw(("scratch", small)))
    columns = ["status", "defect_class", "class_id"]
    assert rows.loc["hole", columns].tolist() == ["accepted", "scratch", 10]
    run = RunFolder(root)
    for least, status in ((10, "rejected"), (4, "accepted")):
        decided = run.merge(read_limits({"area_px": [least, None]})).set_index("sample_id")
        assert decided.loc["hole", "status"] == status
    [edit] = read_edits(root)
    assert (edit.instances[0].defect_class, edit.reviewer) == ("scratch", "anna")
    assert np.array_equal(edit.instances[0].mask, small)


def test_the_last_edit_counts_and_none_is_added_twice(root) -> None:
    first = draw(("pit", block(1, 9, 1, 9)))
    second = replace(first, time="2026-01-31T11:00:00+00:00", instances=())  # an earlier one
    rows = apply(root, first, second)
    assert rows.loc["hole", "area_px"] == 64
    assert add_edits(root, [second, first]) == 0
    third = replace(second, time="2026-01-31T14:00:00+01:00", reviewer="ben")
    assert apply(root, third).loc["hole", "area_px"] == 0
    label = read_run(root).read("masks/hole.edited.png")
    assert not decode_image(label, "label").any()


def test_a_sample_without_a_defect_is_never_good(root) -> None:
    rows = apply(root, draw(), draw(sample_id="defect_free"))
    limits = read_limits({"contrast_delta_e": [5, None]})
    for row in (rows.loc["hole"], RunFolder(root).merge(limits).set_index("sample_id").loc["hole"]):
        assert row["status"] == "rejected"
        assert row["reasons"] == "emptied by anna, who left no defect in its label"
        assert row[["instances", "area_px", "defect_class"]].tolist() == [0, 0, "pit"]
    assert count_reasons(rows.reset_index())["emptied"] == 1
    assert rows.loc["defect_free", "status"] == "good"
    add_verdicts(root, [say("accept")])
    for include in ("accepted", "reviewed", "all"):
        assert "hole" not in {image.sample_id for image in read_labels(root, include)}


def test_a_good_image_with_a_defect_is_good_no_more(root) -> None:
    rows = apply(root, draw(("stain", block(5, 15, 5, 15)), sample_id="defect_free"))
    row = rows.loc["defect_free"]
    assert row[["status", "defect_class", "class_id"]].tolist() == ["accepted", "stain", 12]
    assert np.isnan(row["fill_fraction"])  # nothing was asked for
    [image] = [one for one in read_labels(root) if one.sample_id == "defect_free"]
    assert image.defects[0].area_px == 100


def test_without_the_source_the_rest_is_measured(tmp_path) -> None:
    root = make_run(tmp_path / "run").root
    before = read_run(root).manifest.set_index("sample_id").loc["hole", list(OF_MASK)]
    (tmp_path / "run" / "sources" / "source-2.png").unlink()
    after = apply(root, draw(("pit", make_masks("hole") > 0))).loc["hole", list(OF_MASK)]
    gone = ["change_delta_e", "clipped_fraction"]
    assert before[gone].notna().all()
    assert after[gone].isna().all()
    pd.testing.assert_series_equal(after.drop(gone), before.drop(gone))


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (draw(("dent", block(1, 2, 1, 2))), RunError, "the class 'dent', .* are pit, scratch, st"),
        (draw(("pit", block(1, 1, 1, 1))), RunError, "mask of a pit of hole is empty"),
        (draw(("pit", np.ones((9, 9), bool))), ShapeError, r"bool of \(9, 9\) but its image is"),
        (draw(("pit", np.ones((SIZE, SIZE), int))), ShapeError, "int64 of"),
        (draw(revision=1), RunError, "no revision 1 of hole"),
        (draw(sample_id="lost"), RunError, "lost came to no image"),
        (draw(sample_id="nobody"), RunError, "no sample 'nobody'"),
        (draw(time="now"), RunError, "the time 'now'"),
        (draw(*[("pit", block(1, 2, 1, 2))] * 256), RunError, "255 is the most"),
    ],
)
def test_a_bad_edit_leaves_all_as_it_was(tmp_path, bad, error, words) -> None:
    root = make_run(tmp_path / "run").root
    with pytest.raises(error, match=words):
        add_edits(root, [draw(("pit", block(1, 9, 1, 9))), bad])
    assert not list(Path(root).rglob("*edit*"))


def plan_of(run: RunFolder) -> list[SampleSpec]:
    names = sorted(run.revisions())
    good = {"defect_class": None, "class_id": 0}
    return [make_spec(sample_id=n, **(good if n == "defect_free" else {})) for n in names]


def test_what_is_left_to_make(tmp_path) -> None:
    run = make_run(tmp_path / "run")
    specs = [*plan_of(run), make_spec(sample_id="new", index=100)]
    rejected = ["defect_free", "hole", "lost"]
    add_verdicts(run.root, [say("reject", sample_id=one) for one in rejected])
    add_verdicts(run.root, [say("reject", sample_id="two_parts"), say("reject", "ben")])
    add_verdicts(run.root, [say("accept", "ben", sample_id="two_parts")])  # a conflict
    work = find_work(run, specs, is_varied=False)
    assert {(one.sample_id, one.revision) for one in work.specs} == {
        ("hole", 1),
        ("lost", 1),
        ("new", 0),
    }
    assert work.specs[-1] == specs[-1]
    assert "2 samples that people rejected" in work.notes[0]
    assert "1 good images that people rejected stay" in work.notes[1]
    varied = find_work(run, specs, is_varied=True)
    assert ("defect_free", 1) in {(one.sample_id, one.revision) for one in varied.specs}
    assert len(varied.notes) == 1


def test_each_revision_has_a_seed_of_its_own() -> None:
    spec = make_spec()
    assert revise(spec, 0) is spec
    seeds = {revise(spec, number).seed for number in range(9)}
    assert len(seeds) == 9
    assert revise(spec, 3) == revise(spec, 3)


def test_tables_of_before_are_of_revision_0(tmp_path) -> None:
    """Runs that were begun when there were no revisions go on, small shards and large."""
    run = make_run(tmp_path / "run")
    folder = tmp_path / "run" / "shards"
    now = read_run(run.root).manifest
    run.compact(least=1)
    [large] = folder.glob("*.zip")
    with zipfile.ZipFile(large) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    old = pd.read_parquet(io.BytesIO(members["manifest.parquet"]))
    members["manifest.parquet"] = old.drop(columns=["revision", "edited_by"]).to_parquet()
    with zipfile.ZipFile(large, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    pd.testing.assert_frame_equal(run.merge(), now)
    manifest = tmp_path / "run" / "manifest.parquet"
    now.drop(columns=["revision", "edited_by"]).to_parquet(manifest)
    assert read_run(run.root).manifest[["revision", "edited_by"]].isin([0, ""]).all(axis=None)
    with pytest.raises(RunError, match="its newest is 0"):
        add_verdicts(run.root, [say("accept", revision=1)])
    assert add_verdicts(run.root, [say("accept")]) == 1
    manifest.unlink()  # as in a run that still goes on
    assert add_verdicts(run.root, [say("reject")]) == 1
