"""croissant.json, opened by mlcroissant: no errors, and the records of the export."""

from __future__ import annotations

import csv
import json
import logging
import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from synthgen.exporting.formats.coco import Coco
from synthgen.exporting.formats.croissant import write_croissant, write_label_table
from synthgen.exporting.formats.mvtec import Mvtec
from synthgen.exporting.formats.semantic import Semantic
from synthgen.exporting.labels import LabelledSet, read_labels
from synthgen.exporting.media import Media, MediaMode
from synthgen.exporting.summary import summarise_export
from synthgen.exporting.write import export
from tests.hard_set import make_hard_run

mlcroissant = pytest.importorskip("mlcroissant")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
UNKNOWN = {"citeAs", "datePublished", "license"}  # recommended; nothing here may invent them


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> LabelledSet:
    return read_labels(make_hard_run(tmp_path_factory.mktemp("hard") / "run"))


def _export(labels: LabelledSet, out: Path, mode: MediaMode = "copy", **formats: Any) -> Path:
    formats = formats or {"semantic": Semantic(), "coco": Coco(), "mvtec": Mvtec()}
    folder = export(labels, formats, out, Media(mode)).path
    (folder / "datasheet.md").write_text("# Datasheet\n")
    return folder


@pytest.fixture(scope="module")
def folder(hard: LabelledSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = _export(hard, tmp_path_factory.mktemp("out") / "dataset")
    assert write_croissant(hard, out) == out / "croissant.json"
    return out


def _open(folder: Path) -> Any:
    logging.getLogger("absl").setLevel(logging.ERROR)
    return mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))


def _records(folder: Path) -> list[dict[str, Any]]:
    return [
        {key.removeprefix("images/"): value for key, value in record.items()}
        for record in _open(folder).records("images")
    ]


def test_it_is_valid_and_lacks_only_what_nobody_knows(folder: Path) -> None:
    issues = _open(folder).metadata.ctx.issues
    assert issues.errors == set()
    assert len(issues.warnings) == len(UNKNOWN)
    for name in UNKNOWN:
        assert any(f'/{name}" is recommended' in warning for warning in issues.warnings)


def test_the_records_are_the_images_of_the_set(hard: LabelledSet, folder: Path) -> None:
    records = _records(folder)
    assert len(records) == len(hard) == 10
    for record, image in zip(records, hard, strict=True):
        assert record["sample_id"].decode() == image.sample_id
        assert record["split"].decode() == image.split
        assert record["group"].decode() == image.group
        assert (record["height"], record["width"]) == image.size_hw
        assert [name.decode() for name in record["classes"]] == hard.kinds(image)
        assert record["defects"] == len(image.defects)
        assert record["area_px"] == sum(defect.area_px for defect in image.defects)
        assert record["synthetic"] is True
        assert record["digital_source"].decode() == image.digital_source
        named = folder / record["file"].decode()
        assert named.read_bytes() == Media().read(image)


def test_classes_and_counts_by_split(hard: LabelledSet, folder: Path) -> None:
    found: dict[tuple[str, str], int] = {}
    for record in _records(folder):
        for name in record["classes"]:
            key = (name.decode(), record["split"].decode())
            found[key] = found.get(key, 0) + 1
    counts = hard.counts()
    assert found == {
        (kind, split): counts.loc[kind, split]
        for kind in counts.index
        for split in counts.columns
        if counts.loc[kind, split]
    }


def test_synthetic_origin_and_limits_are_in_the_words_of_rai(folder: Path) -> None:
    data = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    assert data["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert data["rai:hasSyntheticData"] is True
    assert data["rai:dataCollectionType"] == "Synthetic"
    assert data["rai:dataCollection"].startswith("10 images were made by synthgen")
    assert "keep real images that no training has seen" in data["rai:dataLimitations"][0]
    metadata = _open(folder).metadata
    assert metadata.machine_annotation_tools == ["synthgen"]
    assert len(metadata.data_limitations) == len(data["rai:dataLimitations"])


def test_every_file_is_described_once_and_only_small_ones_are_hashed(folder: Path) -> None:
    metadata = _open(folder).metadata
    assert [f.id for f in metadata.file_objects] == ["class_ids.json", "datasheet.md", "labels.csv"]
    assert all(len(f.sha256) == 64 for f in metadata.file_objects)
    sets = {f.id: f.includes for f in metadata.file_sets}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or path.parent == folder:
            continue
        of = [key for key, globs in sets.items() if any(fnmatch(name, glob) for glob in globs)]
        assert of == [f"{name.split('/')[0]}-{path.suffix[1:]}"], name
    assert sorted(sets) == [
        "coco-json",
        "coco-png",
        "mvtec-png",
        "semantic-json",
        "semantic-png",
        "semantic-txt",
    ]


def test_a_changed_table_is_noticed(hard: LabelledSet, tmp_path: Path) -> None:
    out = _export(hard, tmp_path / "out", coco=Coco())
    write_croissant(hard, out)
    (out / "labels.csv").write_text("sample_id\nx\n")
    with pytest.raises(mlcroissant.GenerationError) as caught:
        _records(out)
    assert "is not identical" in str(caught.value.__cause__)  # the hash


def test_two_exports_are_the_same_byte_for_byte(hard: LabelledSet, tmp_path: Path) -> None:
    for name in ("one", "two"):
        out = _export(hard, tmp_path / name, coco=Coco())
        write_croissant(hard, out)
        write_croissant(hard, out)  # it does not describe itself
    for name in ("labels.csv", "croissant.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    text = (tmp_path / "one" / "croissant.json").read_text(encoding="utf-8")
    assert "date" not in text.lower().replace("update", "")
    assert str(tmp_path) not in text


def test_a_licence_is_named_where_the_record_has_one(hard: LabelledSet, tmp_path: Path) -> None:
    licence = "https://spdx.org/licenses/CC-BY-4.0.html"
    out = _export(hard, tmp_path / "out", coco=Coco())
    write_croissant(replace(hard, record={**hard.record, "licence": licence}), out)
    metadata = _open(out).metadata
    assert metadata.license == [licence]
    assert len(metadata.ctx.issues.warnings) == len(UNKNOWN) - 1


def test_real_images_are_told_from_synthetic_ones(hard: LabelledSet, tmp_path: Path) -> None:
    images = [replace(i, digital_source="" if n % 2 else "x") for n, i in enumerate(hard)]
    mixed = replace(hard, images=images)
    out = _export(mixed, tmp_path / "out", coco=Coco())
    write_croissant(mixed, out)
    records = _records(out)
    assert [record["synthetic"] for record in records] == [True, False] * 5
    assert [record["digital_source"] for record in records] == [b"x", None] * 5
    photos = replace(hard, images=[replace(i, digital_source="") for i in hard])
    write_croissant(photos, out)
    data = json.loads((out / "croissant.json").read_text(encoding="utf-8"))
    assert data["rai:hasSyntheticData"] is False
    assert "rai:dataCollectionType" not in data


@pytest.mark.parametrize(
    ("formats", "mode", "first"),
    [
        ({"semantic": Semantic()}, "copy", "semantic/images/test/hole.png"),  # and no mask
        ({"mvtec": Mvtec(category="label")}, "copy", ""),  # a folder that may hold labels
        ({"mvtec": Mvtec()}, "copy", "mvtec/part/test/pit/hole.png"),
        ({"semantic": Semantic(), "coco": Coco()}, "copy", "coco/test/hole.png"),
        ({"coco": Coco()}, "refer", ""),
    ],
)
def test_the_table_names_the_image_never_its_mask(
    hard: LabelledSet, tmp_path: Path, formats: dict[str, Any], mode: MediaMode, first: str
) -> None:
    out = _export(hard, tmp_path / "out", mode, **formats)
    with write_label_table(hard, out).open(encoding="utf-8", newline="") as file:
        rows = {row["sample_id"]: row for row in csv.DictReader(file)}
    assert rows["hole"]["file"] == first
    assert list(rows) == [image.sample_id for image in hard]


def test_without_the_package_the_table_is_there(
    hard: LabelledSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    exported = export(hard, {"coco": Coco()}, tmp_path / "out", Media("copy"))
    summarise_export(exported)
    assert "synthgen-inspection[formats]" in " ".join(capsys.readouterr().out.split())
    out = exported.path
    assert write_croissant(hard, out) is None
    assert (out / "labels.csv").is_file()
    assert not (out / "croissant.json").exists()
