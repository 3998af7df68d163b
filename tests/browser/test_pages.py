"""Every page that the product writes, of people with hostile names, opened in a real browser."""

from __future__ import annotations

import re
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import synthgen
from synthgen.evaluation.utility.report import write_utility
from synthgen.imaging.images import write_png
from tests.browser.pages import HOSTILE, load_page
from tests.cli import run_well

ROOT = Path(__file__).resolve().parents[2]
CLASS = HOSTILE[:78]  # a class has 80 characters at most
PAGES = {  # by the template or module that writes it: the pages that are opened here
    "page.html.j2": ["report"],
    "compare.html.j2": ["comparison"],
    "preview.html.j2": ["preview"],
    "bank.html.j2": ["bank"],
    "notebook.html.j2": ["notebook-run", "notebook-sample"],
    "notebook_preview.html.j2": ["notebook-preview"],
    "evaluation/utility/pages/page.py": ["utility"],
}
NAMES = [name for names in PAGES.values() for name in names]
FRAGMENTS = {"parts.html.j2"}  # included by others


def write_photos(folder: Path) -> None:
    """Write good photos, and bad ones with masks, under names that break pages."""
    for number in range(4):
        rng = np.random.default_rng(number)
        photo = rng.normal(140, 9, (120, 130, 3)).clip(0, 255).astype(np.uint8)
        write_png(folder / "good" / f"{HOSTILE} {number}.png", photo)
        mask = np.zeros((120, 130), np.uint8)
        mask[40:52, 30 + 9 * number : 44 + 9 * number] = 255
        photo[mask > 0] -= 70
        write_png(folder / "bad" / f"{HOSTILE} {number}.png", photo)
        write_png(folder / "masks" / f"{HOSTILE} {number}.png", mask)


def write_scores(folder: Path) -> Path:
    """Write utility.html of arms and classes with hostile names."""
    rng = np.random.default_rng(0)
    scores = ("pixel_ap", "best_f1", "f1", "pro", "image_auroc", "image_ap", f"ap_{CLASS}")
    scores = (*scores, "threshold", "precision", "recall", "best_threshold")
    rows = [
        {"inspector": "unet_small", "arm": arm, "budget": budget, "seed": seed, "model": 0}
        | {"train_s": 60.0, "score_s": 9.0, "cpu_s": 70.0}
        | {"real_defect_images": {"5": 10, "all": 31}[budget]}
        | {name: float(rng.uniform(0.2, 0.9)) for name in scores}
        for arm in ("real", f"{HOSTILE} $x$ $", "_synthetic")
        for budget in ("5", "all")
        for seed in (0, 1)
    ]
    facts = {"scored on": f"{CLASS} 2 images", HOSTILE: HOSTILE}
    return write_utility(folder, pd.DataFrame(rows), facts, "real", f"scored on few: {HOSTILE}")


def write_fragment(path: Path, html: str) -> Path:
    path.write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    write_photos(folder)
    quoted = CLASS.replace('"', r"\"")
    run_well(
        *("bank", "out=bank", "real.format=folder", "real.path=bad", "real.masks=masks"),
        f'real.defect_class="{quoted}"',
        cwd=folder,
    )
    make = ["source=folder", "source.path=good", "bank.path=bank", "defect=[pit]", "run.count=8"]
    make += ["splits={train: 1}", "run.folder=run"]
    with chdir(folder):
        shown = synthgen.preview(*make, "preview.count=4", quiet=True)
    preview = shutil.copy(folder / "run" / "preview.html", folder / "preview.html")
    run_well("generate", *make, "backend=sketch", "quality=off", cwd=folder)
    strict = ["run.folder=other", "seed=1", "quality=strict"]
    run_well("generate", *make, *strict, "backend=sketch", "run.retries=[]", cwd=folder)
    run_well("report", "runs=[run,other]", "out=both.html", cwd=folder)
    run = synthgen.open_run(folder / "run")
    sample = next(one for one in run.samples if one.defect_class == CLASS)
    return {
        "report": folder / "run" / "report.html",
        "rejected": folder / "other" / "report.html",
        "comparison": folder / "both.html",
        "preview": Path(preview),
        "bank": folder / "bank" / "bank.html",
        "notebook-run": write_fragment(folder / "run.html", run._repr_html_()),
        "notebook-preview": write_fragment(folder / "drawn.html", shown._repr_html_()),
        "notebook-sample": write_fragment(folder / "sample.html", sample._repr_html_()),
        "utility": write_scores(folder / "utility"),
    }


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", [*NAMES, "rejected"])
def test_every_picture_loads_and_nothing_is_fetched(chromium, pages, name, width) -> None:
    page = load_page(chromium, pages[name], width)
    page.check(width)
    assert page.pictures >= 3
    assert CLASS.split(' "')[0] in page.text  # as it is written, not as a picture
    assert not re.search(r"\b(undefined|nan|None|NaN)\b", page.text)


def test_no_page_is_left_out() -> None:
    package = ROOT / "synthgen"
    written = {path.name for path in package.rglob("*.html.j2")} - FRAGMENTS
    written |= {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "<!doctype html" in path.read_text(encoding="utf-8").lower()
    }
    assert written == set(PAGES)


def test_a_picture_that_does_not_load_is_found(chromium, tmp_path) -> None:
    """The test above can fail: the data URL of an SVG without its namespace, and a fetch."""
    broken = write_fragment(
        tmp_path / "page.html",
        '<img alt="chart" src="data:image/svg+xml,%3Csvg viewBox=%220 0 1 1%22%3E%3C/svg%3E">'
        '<img alt="far" src="https://example.org/a.png"><svg aria-label="empty" width=9></svg>'
        "<script>console.log('oh')</script>",
    )
    page = load_page(chromium, broken)
    assert sorted(page.broken) == ["chart", "empty", "far"]
    assert page.elsewhere == ["https://example.org/a.png"]
    assert "oh" in page.complaints
    with pytest.raises(AssertionError):
        page.check(1400)


@pytest.mark.parametrize("width", [1400, 800, 390])
@pytest.mark.parametrize("name", ["report", "rejected", "preview", "bank", "comparison"])
def test_no_card_is_alone_in_the_last_row(chromium, pages, name, width) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto(pages[name].as_uri())
    rows = page.locator(".tiles").evaluate_all(
        """all => all.map(grid => {
            const cards = [...grid.children].map(one => one.getBoundingClientRect());
            const tops = [...new Set(cards.map(one => Math.round(one.top)))].sort((a, b) => a - b);
            const last = cards.filter(one => Math.round(one.top) === tops[tops.length - 1]);
            const fills = last[0].width > 0.9 * grid.getBoundingClientRect().width;
            return tops.length > 1 && last.length === 1 && !fills;
        })"""
    )
    page.close()
    assert len(rows) >= 1
    assert not any(rows)
