from __future__ import annotations

import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO

from synthgen.errors import ConfigError, RunError
from synthgen.export.coco import write_coco
from synthgen.images import read_image, write_png
from synthgen.report import write_contact_sheet, write_report
from synthgen.report.sheet import draw_views
from synthgen.runs.reader import RunTables
from tests.factories import make_masks, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run").root


def test_coco_is_read_back_exactly_by_its_own_library(run, tmp_path, capsys) -> None:
    summary = write_coco(run, tmp_path / "coco")
    assert (summary.images, summary.annotations) == (5, 5)
    assert summary.by_class == {"pit": 4, "scratch": 1}
    seen = {}
    for split in ("train", "test"):
        coco = COCO(str(tmp_path / "coco" / "annotations" / f"instances_{split}.json"))
        assert [c["id"] for c in coco.loadCats(coco.getCatIds())] == [9, 10, 12]
        for image in coco.loadImgs(coco.getImgIds()):
            assert image["synthetic"] is True
            assert read_image(tmp_path / "coco" / split / image["file_name"]).shape == (48, 48, 3)
            annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
            masks = [coco.annToMask(a) for a in annotations]
            for annotation, mask in zip(annotations, masks, strict=True):
                assert annotation["area"] == mask.sum()
            union = np.any(masks, axis=0) if masks else np.zeros((48, 48), bool)
            case = image["file_name"].removesuffix(".png")
            assert np.array_equal(union, make_masks(case) > 0)
            seen[case] = annotations
    assert seen["defect_free"] == []
    assert len(seen["touches_border"]) == 2
    assert seen["one_pixel_scratch"][0]["bbox"] == [5, 20, 35, 1]
    capsys.readouterr()


def test_the_same_run_gives_the_same_bytes(run, tmp_path) -> None:
    for name in ("a", "b"):
        write_coco(run, tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 7
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files
    )


def test_rejected_samples_only_on_request_and_no_folder_is_wiped(run, tmp_path) -> None:
    assert write_coco(run, tmp_path / "all", "all").images == 6
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match="exists already"):
        write_coco(run, tmp_path / "all")
    with pytest.raises(ConfigError, match=r"export\.include"):
        write_coco(run, tmp_path / "x", "some")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_run_leaves_no_half_dataset(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "images" / "two_parts.png").unlink()
    with pytest.raises(RunError, match=r"two_parts\.png"):
        write_coco(copy, tmp_path / "coco")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    with pytest.raises(RunError, match=r"two_parts\.png"):
        write_report(copy)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attributes if key in ("src", "href")]

    def handle_data(self, data) -> None:
        self.text += data


def test_the_report_is_one_file_and_says_what_the_manifest_says(run) -> None:
    page = Page()
    page.feed(write_report(run).read_text(encoding="utf-8"))
    assert page.links
    assert all(link.startswith("data:image/") for link in page.links)
    assert "script" not in page.tags
    for text in ("one_pixel_scratch", "two_parts", "rejected", "the photo x.png is broken"):
        assert text in page.text
    assert "leak_fraction 0.9 is above <b>0.3</b>" in page.text  # escaped, so it is text
    assert page.text.split("accepted")[0].split()[-1] == "4"


def test_the_contact_sheet_is_a_picture(run, tmp_path) -> None:
    sheet = read_image(write_contact_sheet(run, tmp_path / "sheet.png", columns=2, size_px=96))
    assert sheet.shape[0] == 2 * 98
    assert sheet.std() > 20


def test_a_defect_without_a_label_does_not_pass_for_a_good_image(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    manifest = pd.read_parquet(copy / "manifest.parquet")
    is_lost = manifest["sample_id"] == "rejected"
    manifest.loc[is_lost, ["instances", "area_px"]] = 0
    manifest.to_parquet(copy / "manifest.parquet")
    assert write_coco(copy, tmp_path / "coco", "all").images == 5
    assert not list((tmp_path / "coco").rglob("rejected.png"))


def test_thin_outlines_are_seen_when_a_view_is_shrunk(tmp_path) -> None:
    label = np.zeros((800, 800), np.uint8)
    label[400, 20:780] = 10
    flat = np.full((800, 800, 3), 90, np.uint8)
    names = {"image": flat, "source_path": flat, "control": flat, "mask": label, "requested": label}
    for name, pixels in names.items():
        write_png(tmp_path / f"{name}.png", pixels)
    row = pd.Series({name: f"{name}.png" for name in names})
    tables = [pd.DataFrame()] * 4
    views = draw_views(RunTables(tmp_path, {}, *tables), row)
    assert np.any(views.label != views.result, axis=2).sum() > 100
