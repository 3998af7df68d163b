"""report.html and the comparison of runs, opened in a real browser."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pytest

from tests.cli import run_well

ROOT = Path(__file__).resolve().parents[2]
SHOTS = os.environ.get("SYNTHGEN_SCREENSHOTS")  # =1 writes those of docs/
VIEWS = ("result", "label", "source", "control", "whole")


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Two real runs, the second strict and with a bank of real defects, and their comparison."""
    folder = tmp_path_factory.mktemp("pages")
    make = ["generate", "backend=sketch", "run.count=14"]
    if SHOTS:
        make = ["generate", "run.count=36", "defect=[crack,dent,pit,scratch,stain]"]
    bank = ["bank", "out=bank", "real.format=coco", "real.path=real/coco", "real.split=train"]
    strict = ["quality=strict", "seed=5", "bank.path=bank"]
    run_well(*make, "run.folder=first", cwd=folder)
    run_well("export", "run.folder=first", "format=[coco]", "out=real", cwd=folder)
    run_well(*bank, cwd=folder)
    run_well(*make, "run.folder=second", *strict, cwd=folder)
    run_well("report", "runs=[first,second]", "out=both.html", cwd=folder)
    return {
        "first": folder / "first" / "report.html",
        "second": folder / "second" / "report.html",
        "both": folder / "both.html",
    }


class Visit:
    """A page in the browser."""

    def __init__(self, chromium, path: Path, width: int = 1400, scheme: str = "light") -> None:
        viewport = {"width": width, "height": 900}
        self.page = chromium.new_page(viewport=viewport, color_scheme=scheme)
        self.page.goto(path.as_uri())
        self.page.wait_for_load_state("networkidle")

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *error: object) -> None:
        self.page.close()

    def views(self) -> set[str]:
        """The kinds of pictures that can be seen."""
        script = """all => [...new Set(all.filter(i => i.getBoundingClientRect().width > 0)
            .map(i => i.className))]"""
        return set(self.page.locator(".views img").evaluate_all(script))

    def pressed(self) -> list[str]:
        return self.page.locator('[aria-pressed="true"]').evaluate_all(
            "all => all.map(one => one.dataset.view)"
        )


@pytest.mark.parametrize("name", ["first", "second", "both"])
def test_a_page_is_small_and_shows_much(chromium, pages, name) -> None:
    """That it loads all of it, and nothing else, is seen in test_pages."""
    with Visit(chromium, pages[name]) as visit:
        assert visit.page.locator("img").count() > 50
    assert pages[name].stat().st_size < 6e6


def test_a_click_shows_another_view(chromium, pages) -> None:
    with Visit(chromium, pages["first"]) as visit:
        assert visit.views() == {"result"}
        visit.page.get_by_role("button", name="label").click()
        assert (visit.views(), visit.pressed()) == ({"label"}, ["label"])
        visit.page.get_by_role("button", name="side by side").click()
        assert (visit.views(), visit.pressed()) == (set(VIEWS), ["all"])


def test_keys_show_another_view(chromium, pages) -> None:
    with Visit(chromium, pages["both"]) as visit:
        for number, view in enumerate(VIEWS, start=1):
            visit.page.keyboard.press(str(number))
            assert (visit.views(), visit.pressed()) == ({view}, [view])
        assert visit.page.get_by_role("status").inner_text() == "shown: whole image"
        visit.page.keyboard.press("Control+2")
        assert visit.pressed() == ["whole"]


def test_tab_reaches_the_samples_first(chromium, pages) -> None:
    with Visit(chromium, pages["first"]) as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.locator(":focus").inner_text() == "to the samples"
        visit.page.keyboard.press("Enter")
        for _ in range(40):
            visit.page.keyboard.press("Tab")
            if visit.page.locator(":focus").get_attribute("data-view") == "source":
                break
        visit.page.keyboard.press("Space")
        assert visit.pressed() == ["source"]


def test_a_screen_reader_finds_landmarks_and_tables(chromium, pages) -> None:
    with Visit(chromium, pages["second"]) as visit:
        page = visit.page
        for part in ("What to know first", "Samples", "Nearest real defects", "Distributions"):
            assert page.get_by_role("region", name=part, exact=True).count() == 1
        assert page.get_by_role("main").count() == 1
        assert page.get_by_role("table", name="Classes").count() == 1
        assert page.get_by_role("img", name=re.compile("^Area of the label")).count() == 1
        assert page.get_by_role("group", name="What the pictures show").count() == 1
        pairs = page.locator("#nearest figure img")
        assert pairs.count() >= 2
        square = "all => all.every(i => Math.abs(i.width - i.height) <= 1)"
        assert pairs.evaluate_all(square)


@pytest.mark.parametrize("name", ["second", "both"])
@pytest.mark.parametrize("width", [1400, 390])
def test_nothing_sticks_out(chromium, pages, name, width) -> None:
    with Visit(chromium, pages[name], width) as visit:
        for key in "16":
            visit.page.keyboard.press(key)
            wide = visit.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width


def test_a_dark_room_gets_a_dark_page(chromium, pages) -> None:
    shades = []
    for scheme in ("light", "dark"):
        with Visit(chromium, pages["first"], scheme=scheme) as visit:
            colours = visit.page.evaluate(
                "(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))"
            )
            shades.append([int(re.findall(r"\d+", colour)[0]) for colour in colours])
    (light_page, light_ink), (dark_page, dark_ink) = shades
    assert light_page > 200 > 60 > light_ink
    assert dark_page < 60 < 200 < dark_ink


def test_it_prints(chromium, pages, tmp_path) -> None:
    with Visit(chromium, pages["first"], scheme="dark") as visit:
        pdf = visit.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
        assert pdf.startswith(b"%PDF")
        assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20
        visit.page.emulate_media(media="print")
        assert visit.page.locator(".tools button").first.is_hidden()
        paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert int(re.findall(r"\d+", paper)[0]) > 200  # no black sheets from a dark screen


@pytest.mark.skipif(not SHOTS, reason="screenshots are written with SYNTHGEN_SCREENSHOTS=1")
def test_screenshots_of_the_docs(chromium, pages) -> None:
    for name, file in (("second", "report.jpg"), ("both", "comparison.jpg")):
        with Visit(chromium, pages[name]) as visit:
            path = ROOT / "docs" / "images" / file
            height = 1240
            if name == "second":  # down to the first class, real and painted
                classes = visit.page.locator('section[aria-labelledby^="class-"]')
                assert classes.first.get_by_role("heading", name="painted").count() == 1
                height = math.ceil(classes.first.evaluate("s => s.getBoundingClientRect().bottom"))
            visit.page.set_viewport_size({"width": 1400, "height": height + 16})
            visit.page.screenshot(path=path, quality=76)
            assert path.stat().st_size < 300e3
