"""Labels against known truth, and decisions that are taken again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from synthgen.errors import ConfigError, RunError
from synthgen.evaluation.known_truth import KINDS, draw_case
from synthgen.evaluation.labels import LabelSettings, measure_labels, overlap, score_labels
from synthgen.images import read_image
from synthgen.quality.limits import read_limits
from synthgen.quality.twins import look_of, nearest_looks
from synthgen.runs.decide import decide, explain_shortfall, find_twins
from synthgen.runs.folder import inspect_run
from synthgen.runs.reader import read_run
from tests.factories import make_run

DEFAULT = {
    "area_px": [6, None],
    "fill_fraction": [0.5, None],
    "leak_fraction": [None, 0.35],
    "change_delta_e": [5, None],
    "contrast_delta_e": [1.5, None],
}


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_cases_repeat_and_their_truth_lies_inside(number: int) -> None:
    one, again = draw_case(3, number), draw_case(3, number)
    assert one.kind == KINDS[number]
    assert np.array_equal(one.candidate.image, again.candidate.image)
    repaint = one.candidate.condition.repaint_mask
    assert one.truth.any()
    assert not (one.truth & ~repaint).any()
    outside = one.candidate.image[~repaint] != one.candidate.condition.image[~repaint]
    assert not outside.any()


def test_labels_meet_the_truth_and_the_invisible_is_rejected() -> None:
    rows = measure_labels(
        LabelSettings(folder="unused", count=120), read_limits(DEFAULT), lambda *_: None
    )
    median, _, rejected, _ = score_labels(rows)
    assert median.is_met, median
    assert rejected.is_met, rejected
    seen = rows[(rows["contrast"] >= 5) & ~rows["is_obeyed"]]
    assert seen["realised"].median() > seen["asked"].median() + 0.2


def test_overlap_of_nothing_is_whole() -> None:
    nothing = np.zeros((4, 4), bool)
    assert overlap(nothing, nothing) == 1
    assert overlap(nothing, ~nothing) == 0


def test_looks_of_twins_are_near_and_of_others_far() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (128, 128, 3), np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[50:60, 40:60] = True
    image[mask] = 0
    twin = np.clip(image.astype(int) + rng.integers(-3, 4, image.shape), 0, 255).astype(np.uint8)
    other = rng.integers(0, 256, (128, 128, 3), np.uint8)
    looks = [look_of(picture, mask) for picture in (image, twin, other)]
    place, bits = nearest_looks(looks)
    assert place.tolist()[:2] == [-1, 0]
    assert bits[1] <= 4
    assert bits[2] > 12
    assert look_of(image, np.zeros_like(mask)) == ""


def manifest() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": ["a", "b", "c", "d"],
            "status": ["accepted", "accepted", "good", "rejected"],
            "reasons": ["", "", "", "the photo is broken"],
            "image": ["images/a.png", "images/b.png", "images/c.png", ""],
            "source_id": ["s", "s", "s", "s"],
            "defect_class": ["pit", "pit", "", "pit"],
            "look": ["00000000000000ff", "00000000000000fe", "", ""],
            **{
                name: [10.0, 4.0, np.nan, np.nan]
                for name in (
                    "area_px",
                    "asked_iou",
                    "change_delta_e",
                    "changed_outside_px",
                    "clipped_fraction",
                    "contrast_delta_e",
                    "fill_fraction",
                    "leak_fraction",
                    "off_object_fraction",
                    "seam_delta_e",
                    "sharpness_ratio",
                    "size_ratio",
                )
            },
        }
    )


def test_a_manifest_is_decided_by_the_limits_it_is_given() -> None:
    table = find_twins(manifest())
    assert table["twin_id"].tolist() == ["", "a", "", ""]
    assert table["twin_bits"].tolist()[1] == 1
    strict = decide(table, read_limits({"area_px": [6, None]}))
    assert strict["status"].tolist() == ["accepted", "rejected", "good", "rejected"]
    assert strict["reasons"].tolist() == ["", "area_px 4 is below 6", "", "the photo is broken"]
    assert explain_shortfall(strict) == {
        "pit": "2 of 3 are missing: area_px 1, the photo is broken 1"
    }
    twins = decide(strict, read_limits({"twin_bits": [3, None]}))
    assert twins["reasons"].tolist()[1] == "twin_bits 1 is below 3"
    assert explain_shortfall(decide(table, read_limits({})).iloc[:2]) == {}


def test_a_run_is_decided_again_without_touching_its_images(tmp_path) -> None:
    run = make_run(tmp_path / "run")
    before = read_run(run.root).manifest.set_index("sample_id")
    image = (run.root / "images" / "hole.png").read_bytes()
    strict = inspect_run(run.root, {"area_px": [60, None]}).set_index("sample_id")
    assert strict.loc["one_pixel_scratch", "status"] == "rejected"
    assert strict.loc["one_pixel_scratch", "reasons"] == "area_px 35 is below 60"
    assert strict.loc["defect_free", "status"] == "good"
    assert strict.loc["lost", "reasons"] == before.loc["lost", "reasons"]
    assert (run.root / "images" / "hole.png").read_bytes() == image
    run.merge()  # a run that is continued keeps to what was decided
    again = read_run(run.root).manifest.set_index("sample_id")
    assert again["status"].to_dict() == strict["status"].to_dict()
    with pytest.raises(ConfigError, match="is not measured"):
        inspect_run(run.root, {"areas": [1, 2]})
    with pytest.raises(RunError, match="is no run"):
        inspect_run(tmp_path, {})


def test_tries_are_kept(tmp_path) -> None:
    tries = read_run(make_run(tmp_path / "run").root).tries
    assert set(tries["step"]) == {"first"}
    assert "defect_free" not in set(tries["sample_id"])
    assert (tries["status"] == "rejected").sum() == 1


def test_labels_are_images_of_class_ids(tmp_path) -> None:
    mask = read_image(make_run(tmp_path / "run").root / "masks" / "one_pixel_scratch.png")
    assert set(np.unique(mask)) == {0, 10}
