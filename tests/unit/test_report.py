"""What the page and the contact sheet say of a run, and that they repeat."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from synthgen.errors import RunError
from synthgen.images import read_image, write_png
from synthgen.report import write_contact_sheet, write_report
from synthgen.report.sheet import draw_views
from synthgen.runs.decide import count_reasons
from synthgen.runs.reader import RunTables
from synthgen.storage import LocalFolder
from tests.factories import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run").root


def test_the_same_run_gives_the_same_page(run) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_the_headline_says_how_many_were_asked_for(run) -> None:
    asked = len(pd.read_parquet(run / "plan.parquet"))
    assert f"<b>{asked}</b>asked" in write_report(run).read_bytes().decode()


def test_reasons_are_counted_by_the_limit_they_broke() -> None:
    manifest = pd.DataFrame(
        {
            "status": ["rejected", "rejected", "rejected", "accepted"],
            "image": ["images/a.png", "images/b.png", "", "images/d.png"],
            "reasons": [
                "leak_fraction 0.9 is above 0.3; area_px 3 is below 12",
                "leak_fraction 0.5 is above 0.3",
                "the photo x.png holds floats; save it as PNG",
                "",
            ],
        }
    )
    assert count_reasons(manifest) == {"leak_fraction": 2, "area_px": 1, "no image": 1}


def test_the_report_of_a_damaged_run_says_what_is_missing(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "images" / "two_parts.png").unlink()
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
    page.feed(write_report(run).read_bytes().decode())
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


def test_thin_outlines_are_seen_when_a_view_is_shrunk(tmp_path) -> None:
    label = np.zeros((800, 800), np.uint8)
    label[400, 20:780] = 10
    flat = np.full((800, 800, 3), 90, np.uint8)
    names = {"image": flat, "source_path": flat, "control": flat, "mask": label, "requested": label}
    for name, pixels in names.items():
        write_png(tmp_path / f"{name}.png", pixels)
    row = pd.Series({name: f"{name}.png" for name in names})
    views = draw_views(RunTables(LocalFolder(tmp_path), {}), row)
    assert np.any(views.label != views.result, axis=2).sum() > 100
