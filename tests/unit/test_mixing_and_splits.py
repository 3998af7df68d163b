"""Who is in which split: by part, stratified; real test images alone and unseen."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synthgen.errors import ConfigError, RunError, SourceError
from synthgen.exporting.formats.coco import Coco
from synthgen.exporting.formats.mvtec import Mvtec
from synthgen.exporting.gather import ExportContent, ExportSettings, MixSettings, gather
from synthgen.exporting.labels import LabelledImage, LabelledSet, label_defect, read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.mix import mix, read_real_images
from synthgen.exporting.splits import split_anew, stratify
from synthgen.exporting.write import export
from synthgen.imaging.images import write_png
from synthgen.runs.reviews.verdicts import Verdict, add_verdicts
from synthgen.storage.places import StoredFile
from tests.hard_set import CASES, make_hard_run
from tests.unit.test_pairing import (
    OTHER,
    SPOT,
    draw_mask,
    entry,
    note,
    save,
    write_coco,
    write_tree,
)

FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_hard_run(tmp_path_factory.mktemp("hard") / "run")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_and_good_images_come_in_their_fractions(seed) -> None:
    rng = np.random.default_rng(seed)
    names = ["good", "pit", "scratch", "stain", "rare"]
    kinds = {
        f"part-{n:03d}": [str(k) for k in rng.choice(names, 4, p=[0.3, 0.3, 0.2, 0.18, 0.02])]
        for n in range(300)
    }
    split_of = stratify(kinds, FRACTIONS, seed)
    assert split_of.keys() == kinds.keys()
    total = Counter(kind for own in kinds.values() for kind in own)
    for split, fraction in FRACTIONS.items():
        held = Counter(kind for g, own in kinds.items() if split_of[g] == split for kind in own)
        for kind in names:
            assert abs(held[kind] - fraction * total[kind]) <= max(2, 0.1 * total[kind])
    assert stratify(dict(reversed(kinds.items())), FRACTIONS, seed) == split_of
    assert stratify(kinds, FRACTIONS, seed + 1) != split_of


def test_three_parts_of_a_kind_are_in_three_splits() -> None:
    kinds = {f"p{n}": ["pit"] for n in range(40)} | {f"g{n}": ["good"] for n in range(3)}
    split_of = stratify(kinds, FRACTIONS, 0)
    assert {split_of[f"g{n}"] for n in range(3)} == set(FRACTIONS)


def test_a_new_split_keeps_parts_together(run) -> None:
    labels = read_labels(run)
    duplicates = [replace(image, group=f"part-{n // 2}") for n, image in enumerate(labels)]
    settings = ExportSettings(out="x", split={"train": 0.5, "test": 0.5})
    again = split_anew(LabelledSet(labels.classes, duplicates), settings.split or {}, 0)
    splits: dict[str, set[str]] = {}
    for image in again:
        splits.setdefault(image.group, set()).add(image.split)
    assert all(len(own) == 1 for own in splits.values())
    assert {image.split for image in again} == {"train", "test"}


@pytest.mark.parametrize("fractions", [{}, {"train": 0}, {"train": -1, "test": 2}])
def test_impossible_fractions(run, fractions) -> None:
    with pytest.raises(ConfigError, match="split="):
        gather(run, ExportSettings(out="x", split=fractions))


def test_what_a_split_lacks_is_said(run) -> None:
    assert gather(run, ExportSettings(out="x")).notes == ["split test has no scratch"]


def make_real(root: Path, layout: str) -> Path:
    """Write a small real set, its test images among them, and return its folder."""
    rng = np.random.default_rng(9)
    images = []
    for number in range(12):
        pixels = rng.integers(0, 255, (40, 40, 3), np.uint8)
        path = root.parent / "photos" / f"photo{number}.png"
        write_png(path, pixels)
        mask = np.zeros((40, 40), bool)
        mask[5 : 9 + number, 5:9] = number % 3 != 0
        kind = 1 if number % 3 == 1 else 2
        defects = (label_defect(kind, mask),) if mask.any() else ()
        split = "train" if number < 8 else "test"
        file = StoredFile.at(path)
        images.append(
            LabelledImage(
                sample_id=f"photo{number}",
                path=file,
                split=split,
                group=f"p{number}",
                size_hw=(40, 40),
                defects=defects,
            )
        )
    labels = LabelledSet({"pit": 1, "blowhole": 2}, images)
    formats = {"coco": Coco(), "mvtec": Mvtec("tile")}
    place = {"coco": "coco", "mvtec": "mvtec/tile"}[layout]
    return export(labels, {layout: formats[layout]}, root, Media()).path / place


@pytest.mark.parametrize("layout", ["coco", "mvtec"])
def test_real_test_images_stay_alone(run, tmp_path, layout) -> None:
    real = read_real_images(make_real(tmp_path / "real", layout))
    mixed = mix(read_labels(run), real, None, 0)
    labels = mixed.labels
    assert {image.split for image in labels if image.is_synthetic} == {"train"}
    tested = [image for image in labels if image.split == "test"]
    assert len(tested) == 4
    assert not any(image.is_synthetic for image in tested)
    assert labels.classes == {"pit": 9, "scratch": 10, "stain": 12, "blowhole": 13}
    for image in tested:  # files as they came, to the byte
        stem = image.path.stem
        assert image.path.read_bytes() == (tmp_path / "photos" / f"{stem}.png").read_bytes()
    pits = [i for i in tested if 9 in {d.class_id for d in i.defects}]
    assert {image.path.stem for image in pits} == {"photo10"}


@pytest.mark.parametrize(("per_real", "count"), [(0.5, 4), (1.0, 8), (0.0, 0), (5.0, 10)])
def test_the_ratio_is_kept(run, tmp_path, per_real, count) -> None:
    mixed = mix(
        read_labels(run), read_real_images(make_real(tmp_path / "real", "coco")), per_real, 0
    )
    assert sum(image.is_synthetic for image in mixed.labels) == count
    assert bool(mixed.notes) == (per_real == 5.0)


def test_a_synthetic_image_of_a_real_test_part_is_left_out(run, tmp_path) -> None:
    root = make_real(tmp_path / "real", "coco")
    copy = shutil.copytree(run, tmp_path / "run")
    manifest = pd.read_parquet(copy / "manifest.parquet")
    photos = {0: root / "test" / "photo9.png", 1: root / "train" / "photo2.png"}
    for row, path in photos.items():
        manifest.loc[row, "source_path"] = str(path)
    manifest.to_parquet(copy / "manifest.parquet")
    settings = ExportSettings(out="x", real=MixSettings(path=str(root)))
    gathered = gather(copy, settings)
    ids = {image.sample_id for image in gathered.labels}
    assert manifest.loc[0, "sample_id"] not in ids
    assert manifest.loc[1, "sample_id"] in ids
    assert "1 synthetic images are left out" in gathered.notes[0]


def test_real_folders_that_are_none(run, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="neither COCO"):
        read_real_images(tmp_path / "empty")
    with pytest.raises(SourceError, match="is not a folder"):
        read_real_images(tmp_path / "nowhere")
    root = make_real(tmp_path / "real", "mvtec")
    next((root / "ground_truth").rglob("*.png")).unlink()
    with pytest.raises(SourceError, match="has no mask"):
        read_real_images(root)
    settings = ExportSettings(out="x", split={"train": 1.0}, real=MixSettings(path="y"))
    with pytest.raises(ConfigError, match="exclude each other"):
        gather(run, settings)


def test_only_what_was_reviewed(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    with pytest.raises(RunError, match="has not been reviewed"):
        read_labels(copy, "reviewed")
    early, late = "2026-01-31T11:00:00+00:00", "2026-01-31T12:00:00+00:00"
    rows = [
        ("hole", "accept", early),
        ("touching", "accept", early),
        ("touching", "reject", late),
        ("defect_free", "reject", early),
    ]
    table = pd.DataFrame(rows, columns=["sample_id", "verdict", "time"])  # the least that is read
    table.to_parquet(copy / "review.parquet")
    gathered = gather(copy, ExportSettings(out="x", include="reviewed"))
    assert [image.sample_id for image in gathered.labels] == ["defect_free_test", "hole"]
    assert gathered.notes[0] == (
        "left out: 2 rejected, 0 on which reviewers disagree, 6 accepted by the limits that nobody "
        "has reviewed"
    )
    add_verdicts(copy, [Verdict("hole", 0, "reject", "", "ben", late)])
    gathered = gather(copy, ExportSettings(out="x", include="reviewed"))
    assert [image.sample_id for image in gathered.labels] == ["defect_free_test"]
    assert "2 rejected, 1 on which reviewers disagree" in gathered.notes[0]


def test_rejected_samples_only_on_request(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    manifest = pd.read_parquet(copy / "manifest.parquet")
    manifest.loc[manifest["sample_id"].isin(["hole", "large"]), "status"] = "rejected"
    manifest.loc[manifest["sample_id"] == "large", "instances"] = 0  # no label: not a good image
    manifest.to_parquet(copy / "manifest.parquet")
    assert len(read_labels(copy)) == len(CASES) - 2
    assert {i.sample_id for i in read_labels(copy, "all")} == set(CASES) - {"large"}
    (copy / "instances.parquet").unlink()
    with pytest.raises(RunError, match=r"instances\.parquet is missing"):
        read_labels(copy)


def with_references(count: int, references: int) -> LabelledSet:
    """Return samples, each on a part of its own; the n-th part's reference defect is of part n %
    reference defects."""
    mask = np.zeros((8, 8), bool)
    mask[2:5, 2:5] = True
    images = [
        LabelledImage(
            sample_id=f"s{n:03d}",
            path=StoredFile.at(Path(f"s{n:03d}.png")),
            split="train",
            group=f"part{n}",
            size_hw=(8, 8),
            defects=(label_defect(1, mask),),
            facts={"reference_group": f"reference defect{n % references}"},
        )
        for n in range(count)
    ]
    return LabelledSet({"pit": 1}, images)


def test_samples_after_one_reference_stay_in_one_split() -> None:
    again = split_anew(with_references(60, 10), FRACTIONS, 0)
    splits: dict[str, set[str]] = {}
    for image in again:
        splits.setdefault(str(image.facts["reference_group"]), set()).add(image.split)
    assert all(len(own) == 1 for own in splits.values())
    assert set.union(*splits.values()) == set(FRACTIONS)


def test_references_that_tie_all_parts_are_told() -> None:
    with pytest.raises(ConfigError, match="shared reference defects tie the parts into 1"):
        split_anew(with_references(60, 1), FRACTIONS, 0)


def gather_with(run: Path, real: Path, **keys) -> ExportContent:
    return gather(run, ExportSettings(out="x", real=MixSettings(path=str(real), **keys)))


def real_ids(gathered: ExportContent) -> set[str]:
    return {image.sample_id for image in gathered.labels if not image.is_synthetic}


def test_one_name_in_two_real_splits_is_exported_under_two(run, tmp_path) -> None:
    for split, spot in (("train", SPOT), ("val", OTHER)):
        save(tmp_path / split / "0001.png")
        write_coco(tmp_path, [entry(1, "0001.png")], [note(1, 1, spot)], split=split)
    gathered = gather_with(run, tmp_path)
    assert real_ids(gathered) == {"real-train_0001", "real-val_0001"}
    areas = {i.sample_id: [d.area_px for d in i.defects] for i in gathered.labels}
    assert (areas["real-train_0001"], areas["real-val_0001"]) == ([200], [80])


def test_any_format_is_mixed_in_with_its_own_defects(run, tmp_path) -> None:
    save(tmp_path / "photos" / "a.png")
    save(tmp_path / "masks" / "a_mask.png", draw_mask(SPOT))
    keys = {"masks": str(tmp_path / "masks"), "defect_class": "stain", "split": "test"}
    gathered = gather_with(run, tmp_path / "photos", **keys)
    (real,) = (image for image in gathered.labels if not image.is_synthetic)
    assert (real.split, gathered.labels.kinds(real)) == ("test", ["stain"])
    assert "no real image is in train: the real splits are test" in gathered.notes
    two = [note(1, 1), note(2, 1, OTHER)]  # two of one class stay two
    save(tmp_path / "coco" / "train" / "a.png")
    path = write_coco(tmp_path / "coco", [entry(1, "a.png")], two)
    gathered = gather_with(run, path, images=str(tmp_path / "coco" / "train"))
    (real,) = (image for image in gathered.labels if not image.is_synthetic)
    assert [defect.area_px for defect in real.defects] == [200, 80]


def test_a_count_per_real_image_needs_real_images_in_train(run, tmp_path) -> None:
    save(tmp_path / "images" / "default" / "a.png")  # as CVAT lays it out
    write_coco(tmp_path, [entry(1, "a.png")], [note(1, 1)], split="default")
    gathered = gather_with(run, tmp_path, synthetic_per_real=2)
    assert sum(image.is_synthetic for image in gathered.labels) == 2
    with pytest.raises(SourceError, match=r"synthetic_per_real=2 counts from .*splits are val"):
        gather_with(run, tmp_path, synthetic_per_real=2, split="val")


def test_what_is_wrong_with_real_data_is_not_laid_on_the_run(run, tmp_path) -> None:
    write_tree(tmp_path / "tree", draw_mask())
    with pytest.raises(SourceError, match=r"000_mask\.png is empty"):
        gather_with(run, tmp_path / "tree")
    write_coco(tmp_path, [entry(1, "b.png")])
    with pytest.raises(SourceError, match=r"b\.png is named by .*instances_train\.json but missi"):
        gather_with(run, tmp_path)
    save(tmp_path / "train" / "b.png")
    write_coco(tmp_path, [entry(1, "b.png", width=120, height=80)])
    with pytest.raises(SourceError, match=r"is 80 x 120 px \(height, width\), but it is 40 x 60"):
        gather_with(run, tmp_path)
    write_coco(tmp_path, [entry(1, "b.png")])
    gathered = gather_with(run, tmp_path)
    (tmp_path / "train" / "b.png").unlink()
    with pytest.raises(RunError, match=r"b\.png is missing now, though the real data had it"):
        export(gathered.labels, {"coco": Coco()}, tmp_path / "out", Media())
    assert not (tmp_path / "out").exists()


def test_a_class_of_another_writing_is_asked_about(run, tmp_path) -> None:
    save(tmp_path / "train" / "a.png")
    write_coco(tmp_path, [entry(1, "a.png")], [note(1, 1)], ["Scratch"])
    with pytest.raises(SourceError, match="a class 'Scratch', which the run calls 'scratch'"):
        gather_with(run, tmp_path)


def test_a_photo_of_the_run_that_is_gone_is_named_as_that(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    manifest = pd.read_parquet(copy / "manifest.parquet")
    manifest.loc[0, "source_path"] = "/nowhere/p.png"
    manifest.to_parquet(copy / "manifest.parquet")
    save(tmp_path / "train" / "a.png")
    write_coco(tmp_path, [entry(1, "a.png")], [note(1, 1)])
    sentence = f"/nowhere/p.png is missing: it is the photo of {manifest.loc[0, 'sample_id']}"
    with pytest.raises(SourceError, match=sentence):
        gather_with(copy, tmp_path)


def test_a_split_that_stays_empty_is_told(run) -> None:
    few = {"train": 0.5} | {f"s{n}": 0.5 / len(CASES) for n in range(len(CASES))}
    notes = gather(run, ExportSettings(out="x", split=few)).notes
    assert any("is empty: there are too few parts" in note for note in notes)
