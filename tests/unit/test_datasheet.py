"""The datasheet says what the run and the export say, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

from synthgen.backends.checkpoints.find import checkpoint_digest, find_checkpoint
from synthgen.exporting.datasheet import KNOWN_LIMITS, write_datasheet
from synthgen.exporting.formats.coco import Coco
from synthgen.exporting.formats.semantic import Semantic
from synthgen.exporting.labels import LabelledSet, read_labels
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.exporting.mix import mix, read_real_images
from synthgen.exporting.write import export
from synthgen.storage.places import StoredFile
from tests.hard_set import make_hard_run

WHERE = "/home/somebody/private"
CONFIG = {
    "backend": {
        "model": {"checkpoint": f"{WHERE}/sd15"},
        "painting": {"strength": 0.8, "steps": 12, "guidance": 1.5},
    },
    "bank": {"path": f"{WHERE}/claims-2024"},
    "mask": {"margin_px": 4},
    "quality": {"fill_fraction": [0.5, None], "classes": {"pit": {"leak_fraction": [None, 0.1]}}},
    "run": {"folder": f"{WHERE}/run", "candidates": 2},
    "seed": 7,
    "source": {"path": f"{WHERE}/plates", "licence": "CC-BY-4.0"},
}


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> LabelledSet:
    return read_labels(make_hard_run(tmp_path_factory.mktemp("hard") / "run"))


def _sheet(labels: LabelledSet, folder: Path, **losses: LabelLoss) -> str:
    return write_datasheet(labels, folder, list(losses), losses, ()).read_text(encoding="utf-8")


def _with_record(labels: LabelledSet, **record: Any) -> LabelledSet:
    return replace(labels, record={**labels.record, **record})


def _tables(text: str) -> list[list[list[str]]]:
    """Return the cells of every table, as a reader of Markdown sees them."""
    tables: list[list[list[str]]] = []
    before = ""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif before in ("th_open", "td_open"):
            tables[-1][-1].append(token.content)
        before = token.type
    return tables


def _table(text: str, first: str) -> list[list[str]]:
    return next(table for table in _tables(text) if table[0][0] == first)


def test_counts_sizes_and_depths_are_those_of_the_set(hard, tmp_path) -> None:
    text = _sheet(hard, tmp_path)
    assert text.startswith("# Datasheet\n")
    assert "10 images of surfaces, 8 with defects and 2 without, and a mask for each of 12" in text
    assert "10 of the images (100%) are synthetic" in text
    assert _table(text, "class") == [
        ["class", "id", "train", "test", "defects"],
        ["pit", "9", "2", "3", "7"],
        ["scratch", "10", "2", "0", "2"],
        ["stain", "12", "2", "1", "3"],
        ["good, without a defect", "", "1", "1", ""],
    ]
    assert _table(text, "split")[1:] == [["train", "6", "6"], ["test", "4", "4"]]
    assert _table(text, "size (px, width x height)")[1:] == [
        ["64 x 48", "PNG, 8 bit RGB", "8"],
        ["64 x 48", "PNG, 16 bit grey", "1"],
        ["3000 x 2000", "PNG, 8 bit RGB", "1"],
    ]
    origins = {row[1]: row[2] for row in _table(text, "how an image came to be")[1:]}
    assert origins == {"algorithmicMedia": "2", "compositeWithTrainedAlgorithmicMedia": "8"}
    assert "Drawn surfaces: 10, made by synthgen itself" in text
    for limit in KNOWN_LIMITS:
        assert f"* {limit}\n" in text


def test_every_table_is_whole_and_no_answer_is_empty(hard, tmp_path) -> None:
    exported = export(hard, {"semantic": Semantic(), "coco": Coco()}, tmp_path / "out", Media())
    text = _sheet(_with_record(hard, config=CONFIG), tmp_path, **exported.losses)
    assert len(_tables(text)) == 8
    lines = [line.strip() for line in text.splitlines()]
    for above, line in pairwise(lines):  # a reader would fill up a row that is too short
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|"), line
    assert "\n\n\n" not in text
    assert not re.search(r"None|\bnan\b|\{\{|\{%|<", text)


def test_the_same_set_gives_the_same_file_without_places_and_dates(hard, tmp_path) -> None:
    labels = _with_record(hard, config=CONFIG, checkpoint=f"{WHERE}/sd15@0123456789abcdef")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_datasheet(labels, tmp_path / name, ["coco"], {}, ["split val is empty"])
    text = (tmp_path / "one" / "datasheet.md").read_text(encoding="utf-8")
    assert (tmp_path / "two" / "datasheet.md").read_text(encoding="utf-8") == text
    assert "/home" not in text
    assert str(tmp_path) not in text
    assert not re.search(r"20[13-9]\d|202[2-9]-", text.replace("claims-2024", ""))  # but Gebru 2021
    assert "* split val is empty\n" in text
    assert "sd15, digest 0123456789abcdef" in text
    assert "claims-2024" in text


def test_settings_limits_and_figures_come_from_the_record(hard, tmp_path) -> None:
    images = []
    for number, image in enumerate(hard):
        facts = {**image.facts, "fill_fraction": number / 10, "seam_delta_e": np.nan}
        images.append(replace(image, facts=facts))
    versions = {"torch": "2.9", "synthgen-inspection": "0.1.0"}
    labels = replace(_with_record(hard, config=CONFIG, versions=versions), images=images)
    text = _sheet(labels, tmp_path)
    settings = dict(_table(text, ""))
    assert settings["strength"] == "0.8"
    assert settings["guidance scale"] == "1.5"
    assert settings["repainted beyond the mask"] == "4 px"
    assert settings["seed"] == "7"
    assert settings["versions"] == "synthgen-inspection 0.1.0, torch 2.9"
    assert settings["prompts"] == '1, e.g. "a scratch on metal"'
    figures = {row[0]: row[2:] for row in _table(text, "measure")[1:]}
    assert figures["fill_fraction"] == ["8", "0.235", "0.55", "0.865"]  # 0.2 to 0.9, no good image
    assert "seam_delta_e" not in figures
    limits = [table[1:] for table in _tables(text) if table[0][:2] == ["measure", "class"]]
    assert limits == [[["fill_fraction", "all", "0.5", ""], ["leak_fraction", "pit", "", "0.1"]]]


def test_limits_that_the_run_was_inspected_with_come_first(hard, tmp_path) -> None:
    labels = _with_record(hard, config=CONFIG, quality={"area_px": [40, None]})
    (limits,) = [t for t in _tables(_sheet(labels, tmp_path)) if t[0][:2] == ["measure", "class"]]
    assert limits[1:] == [["area_px", "all", "40", ""]]


def test_sources_licences_and_unknowns(hard, tmp_path) -> None:
    images = [replace(i, facts={**i.facts, "source_path": f"{WHERE}/plates/1.png"}) for i in hard]
    photos = replace(_with_record(hard, config=CONFIG, checkpoint=""), images=images)
    text = _sheet(photos, tmp_path)
    assert (
        "Photographs of good parts: 1, from the folder `plates`. Their licence: CC-BY-4.0" in text
    )
    assert "Drawn surfaces" not in text
    assert "Licence of the dataset: not stated" in text
    source = {"path": f"{WHERE}/plates"}
    text = _sheet(_with_record(photos, config={"source": source}), tmp_path)
    assert "from the folder `plates`. Their licence: not stated by the run" in text
    assert "Limits that images had to meet: not stated" in text
    assert "Licence of the dataset: CC0-1.0" in _sheet(
        _with_record(hard, licence="CC0-1.0"), tmp_path
    )


def test_a_licence_is_read_from_the_card_of_that_very_checkpoint(hard, tmp_path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "FluxFillPipeline"}')
    (folder / "README.md").write_text("---\nlicense: openrail++\ntags: [x]\n---\n# Mine\n")
    licence_of = "licence of the checkpoint"
    digests = {
        f"embedded@{find_checkpoint('embedded').digest}": "Apache-2.0",
        "embedded@0000000000000000": "not stated",  # another version of it
        f"{folder}@{checkpoint_digest(folder)}": "openrail++",
        f"{tmp_path / 'gone'}@0": "not stated",
    }
    for checkpoint, licence in digests.items():
        text = _sheet(_with_record(hard, checkpoint=checkpoint), tmp_path)
        assert [licence_of, licence] in _table(text, "")
    (folder / "README.md").write_text("# Mine\n\nAsk about the license before use.\n")
    text = _sheet(_with_record(hard, checkpoint=f"{folder}@{checkpoint_digest(folder)}"), tmp_path)
    assert [licence_of, "not stated"] in _table(text, "")


def test_licences_and_safety_checker_are_those_of_the_runs_record(hard, tmp_path) -> None:
    models = {"checkpoint": {"licence": "openrail"}, "controlnet canny": {"licence": None}}
    facts = {"checkpoint": "gone@0", "models": models, "safety_checker": False}
    rows = _table(_sheet(_with_record(hard, **facts), tmp_path), "")
    assert ["licence of the checkpoint", "openrail"] in rows
    assert ["licence of the controlnet canny", "not stated"] in rows
    assert ["safety checker", "off, as it blacks out pictures of harmless surfaces"] in rows


def test_what_formats_lose_is_said(hard, tmp_path) -> None:
    exported = export(hard, {"semantic": Semantic(), "coco": Coco()}, tmp_path / "out", Media())
    exported.losses["coco"].note("names of people are lost")
    text = _sheet(hard, tmp_path, **exported.losses)
    assert "* `coco` holds every mask that it was given, to the pixel.\n" in text
    assert "  * names of people are lost\n" in text
    assert "* `semantic` does not hold every mask as it is" in text
    lost = [table for table in _tables(text) if "worst IoU" in table[0]]
    assert lost == [
        [
            ["class", "defects", "mean IoU", "worst IoU", "worst image"],
            ["pit", "7", "0.8571", "0.4348", "touching"],
        ]
    ]


def test_real_images_rejects_and_fractiond_parts_are_told(hard, tmp_path) -> None:
    exported = export(hard, {"coco": Coco()}, tmp_path / "out", Media())
    real = read_real_images(exported.path / "coco")
    real = replace(real, images=[replace(image, digital_source="") for image in real])
    text = _sheet(mix(hard, real, None, 0).labels, tmp_path)
    assert "10 of the images (50%) are synthetic" in text
    assert "Real images with labels of their own, mixed in: 10." in text
    assert "a photograph, as it was taken" in text
    assert "are in more than one split" not in text
    images = [replace(i, group="p", facts={**i.facts, "status": "rejected"}) for i in hard]
    text = _sheet(replace(hard, images=images), tmp_path)
    assert "**10 of the images did not meet the limits**" in text
    assert "**1 parts are in more than one split**" in text


def test_a_bar_in_a_name_breaks_no_table(hard, tmp_path) -> None:
    classes = {"pit|hole": 9, "scratch": 10, "stain": 12}
    text = _sheet(replace(hard, classes=classes), tmp_path)
    assert _table(text, "class")[1][:2] == ["pit|hole", "9"]


def test_many_sizes_are_summed_up_and_jpegs_are_named(hard, tmp_path) -> None:
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "grey.jpg")
    sizes = [replace(i, size_hw=(n, 8)) for n, i in enumerate([*hard] * 2)]
    images = [replace(image, sample_id=f"{n}") for n, image in enumerate(sizes)]
    images[3] = replace(images[3], path=StoredFile.at(tmp_path / "grey.jpg"), size_hw=(3, 8))
    rows = _table(_sheet(replace(hard, images=images), tmp_path), "size (px, width x height)")
    assert ["8 x 3", "JPEG, 8 bit grey", "1"] in rows
    assert len(rows) == 12
    assert rows[-1] == ["others", "PNG, 16 bit grey, PNG, 8 bit RGB", "10"]
    assert sum(int(row[2]) for row in rows[1:]) == 20
