"""Labels against known truth, and decisions that are taken again."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synthgen.backends.backend import SketchBackend
from synthgen.errors import ConfigError, RunError
from synthgen.evaluation.known_truth import KINDS, draw_case
from synthgen.evaluation.labels import LabelTestSettings, measure_labels, score_labels
from synthgen.generation.generate import Stages, generate
from synthgen.imaging.geometry import overlap
from synthgen.imaging.images import read_image, write_png
from synthgen.quality.bank import DefectBank
from synthgen.quality.limits import MEASURED, Limits, read_limits
from synthgen.quality.near_duplicates import (
    bits_between,
    colour_distance,
    colours_of,
    perceptual_hash,
)
from synthgen.realdata.records import RealDefect, RealImage
from synthgen.references.items import build_bank
from synthgen.runs.folder import inspect_run
from synthgen.runs.reader import read_run
from synthgen.runs.reviews.decide import decide as decide_table
from synthgen.runs.reviews.decide import explain_shortfall
from tests.factories import CONFIG, make_run, make_sample
from tests.samples import draw_classes, draw_conditions

DEFAULT = {
    "area_px": [6, None],
    "fill_fraction": [0.5, None],
    "leak_fraction": [None, 0.35],
    "change_delta_e": [5, None],
    "contrast_delta_e": [1.5, None],
}


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_cases_repeat_and_their_truth_lies_inside(number: int) -> None:
    one, again = (draw_case(3, number, draw_classes()) for _ in range(2))
    assert one.kind == KINDS[number]
    assert np.array_equal(one.candidate.image, again.candidate.image)
    repaint = one.candidate.condition.repaint_mask
    assert one.truth.any()
    assert not (one.truth & ~repaint).any()
    outside = one.candidate.image[~repaint] != one.candidate.condition.image[~repaint]
    assert not outside.any()


def test_labels_meet_the_truth_and_the_invisible_is_rejected() -> None:
    rows = measure_labels(
        LabelTestSettings(folder="unused", count=120),
        draw_classes(),
        read_limits(DEFAULT),
    )
    scores = {score.name: score for score in score_labels(rows)}
    for name in ("label IoU, median", "label IoU of blends, 5th percentile"):
        assert scores[name].is_met, scores[name]
    assert scores["rejected below that contrast"].is_met
    assert scores["rejected above it, painted as asked"].value < 0.1
    seen = rows[(rows["contrast"] >= 5) & ~rows["is_obeyed"]]
    assert seen["realised"].median() > seen["asked"].median() + 0.2


def test_overlap_of_nothing_is_whole() -> None:
    nothing = np.zeros((4, 4), bool)
    assert overlap(nothing, nothing) == 1
    assert overlap(nothing, ~nothing) == 0


def test_hashes_of_near_duplicates_are_near_and_of_others_far() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (128, 128, 3), np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[50:60, 40:60] = True
    image[mask] = 0
    duplicate = np.clip(image.astype(int) + rng.integers(-3, 4, image.shape), 0, 255).astype(
        np.uint8
    )
    other = rng.integers(0, 256, (128, 128, 3), np.uint8)
    hashes = [perceptual_hash(picture, mask) for picture in (image, duplicate, other)]
    assert bits_between(hashes[0], hashes[1]) <= 4
    assert bits_between(hashes[0], hashes[2]) > 12
    assert (
        perceptual_hash(image, np.zeros_like(mask)) == colours_of(image, np.zeros_like(mask)) == ""
    )
    colours = [colours_of(picture, mask) for picture in (image, duplicate, image // 2)]
    assert colour_distance(colours[0], colours[1]) < 1
    assert colour_distance(colours[0], colours[2]) > 10


def manifest(*rows: dict) -> pd.DataFrame:
    plain = dict.fromkeys(MEASURED, float("nan")) | {
        "status": "accepted",
        "reasons": "",
        "image": "images/x.png",
        "source_id": "s",
        "defect_class": "pit",
        "perceptual_hash": "00000000000000ff",
        "colours": "808080" * 16,
        "near_duplicate_id": "",
        "box_x": 10,
        "box_y": 10,
        "box_w": 8,
        "box_h": 8,
        "area_px": 10.0,
        "instances": 1,
        "edited_by": "",
    }
    return pd.DataFrame([plain | {"sample_id": f"{n}"} | row for n, row in enumerate(rows)])


def decide(rows: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    return decide_table(pa.Table.from_pandas(rows), limits).to_pandas()


def test_a_manifest_is_decided_by_the_limits_it_is_given() -> None:
    lost = {"status": "rejected", "reasons": "no room here; make it smaller", "image": ""}
    good = {"status": "good", "defect_class": "", "perceptual_hash": ""}
    table = manifest({}, {"area_px": 4.0, "perceptual_hash": ""}, good, lost)
    strict = decide(table, read_limits({"area_px": [6, None]}))
    assert strict["status"].tolist() == ["accepted", "rejected", "good", "rejected"]
    assert strict["reasons"].tolist() == ["", "area_px 4 is below 6", "", lost["reasons"]]
    assert explain_shortfall(strict) == {
        "pit": "2 of 3 rejected, by the limits that they break: area_px 1, no image 1"
    }
    assert explain_shortfall(strict.iloc[:1]) == {}


def test_near_duplicates_are_of_one_place_and_of_what_is_kept() -> None:
    near = {"perceptual_hash": "00000000000000fe"}
    limits = read_limits({"area_px": [6, None], "near_duplicate_bits": [3, None]})
    duplicates = decide(manifest({}, near, near | {"box_x": 60}, near | {"source_id": "t"}), limits)
    assert duplicates["near_duplicate_id"].tolist() == ["", "0", "", ""]
    assert duplicates["reasons"].tolist() == ["", "near_duplicate_bits 1 is below 3", "", ""]
    alone = decide(manifest({"area_px": 2.0}, near), limits)  # the first is not kept
    assert alone["status"].tolist() == ["rejected", "accepted"]
    blue = decide(manifest({}, near | {"colours": "8080a0" * 16}), limits)
    assert blue["status"].tolist() == ["accepted", "accepted"]
    far = decide(manifest({}, {"perceptual_hash": "ffffffffffffff00"}), limits)
    assert far["near_duplicate_bits"].tolist()[1] == 64
    assert far["status"].tolist()[1] == "accepted"


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
    with pytest.raises(ConfigError, match=r"classes\.dnet: the run has no such class"):
        inspect_run(run.root, {"classes": {"dnet": {"area_px": [1, 2]}}})
    assert "area_px" in (run.root / "quality.yaml").read_text()  # what was refused is not kept
    with pytest.raises(ConfigError, match="is not measured"):
        inspect_run(run.root, {"areas": [1, 2]})
    with pytest.raises(RunError, match="is not a run"):
        inspect_run(tmp_path, {})


def test_tries_are_kept(tmp_path) -> None:
    tries = read_run(make_run(tmp_path / "run").root).tries
    assert set(tries["step"]) == {"first"}
    assert "defect_free" not in set(tries["sample_id"])
    assert (tries["status"] == "rejected").sum() == 1


def test_labels_are_images_of_class_ids(tmp_path) -> None:
    mask = read_image(make_run(tmp_path / "run").root / "masks" / "one_pixel_scratch.png")
    assert set(np.unique(mask)) == {0, 10}


def test_a_copy_of_a_real_defect_is_found_turned_and_mirrored(tmp_path) -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.normal(120, 60, (128, 128)), (0, 0), 4) * 3 - 240
    image = np.clip(image, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    mask = np.zeros((128, 128), bool)
    mask[58:70, 50:78] = True
    image[mask] = 0
    write_png(tmp_path / "one.png", image)
    defects = (RealDefect("spot", mask),)
    bank = DefectBank(
        build_bank(
            [
                RealImage(
                    image_id="one",
                    path=tmp_path / "one.png",
                    group="a",
                    split="train",
                    defects=defects,
                )
            ]
        )
    )
    copy = np.rot90(image)[:, ::-1].copy(), np.rot90(mask)[:, ::-1].copy()
    assert bank.nearest_bits(*copy) <= 2
    other = np.clip(255 - image[::-1].astype(int), 0, 255).astype(np.uint8).copy()
    other[mask] = 200
    assert bank.nearest_bits(other, mask) > 8
    assert np.isnan(bank.nearest_bits(image, np.zeros_like(mask)))
    [given] = draw_conditions("pit", count=1, size=128)
    limits = Limits({"real_bits": (65, None)})
    stages = Stages(
        condition=lambda spec, _: replace(given, spec=spec),
        backend=SketchBackend(),
        limits=limits,
        bank=bank,
    )
    [sample] = generate([given.spec], replace(stages, retries=()))
    assert sample.reasons[0].startswith("real_bits")


def test_an_unfinished_run_is_not_decided(tmp_path) -> None:
    run = make_run(tmp_path / "run")
    for shard in (run.root / "shards").glob("*.json"):
        shard.unlink()
    with pytest.raises(RunError, match=r"is not finished \(0 of 7 samples\)"):
        inspect_run(run.root, {})
    assert not (run.root / "quality.yaml").exists()


def test_shards_of_an_older_version_are_read(tmp_path) -> None:
    run = make_run(tmp_path / "run")
    [path] = (run.root / "shards").glob("*.json")
    shard = json.loads(path.read_text())
    del shard["tries"]
    for row in shard["manifest"]:
        row.pop("perceptual_hash", None)
        row.pop("colours", None)
    path.write_text(json.dumps(shard))
    run.merge()
    assert read_run(run.root).tries.empty


def test_the_soft_border_is_written_where_it_is_asked_for(tmp_path) -> None:
    from synthgen.runs.folder import open_run

    sample = make_sample("hole", 2)
    image = sample.candidate.image.copy()
    edge = sample.candidate.condition.repaint_mask & ~sample.candidate.realised_mask
    image[edge] = np.clip(image[edge].astype(int) + 12, 0, 255)
    soft = replace(sample, candidate=replace(sample.candidate, pixels=image, image=image))
    facts = {"versions": {}, "backend": "test", "checkpoint": "none@0"}
    found = []
    for ignores in (True, False):
        config = CONFIG | {"label": {"ignore_border": ignores}}
        run = open_run(tmp_path / str(ignores), config, [soft.spec], facts)
        run.write([soft], "test", "none@0")
        found.append(read_image(run.root / "masks" / "hole.png"))
    assert (found[0][edge] == 255).mean() > 0.9
    assert (found[1][edge] == 0).all()
    label = sample.candidate.realised_mask
    assert np.array_equal(found[0][label], found[1][label])
