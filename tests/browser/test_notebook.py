"""What a notebook shows of a run and of a sample, opened in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

import synthgen

ROOT = Path(__file__).resolve().parents[2]
SHOTS = os.environ.get("SYNTHGEN_SCREENSHOTS")  # =1 writes that of docs/
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> synthgen.Run:
    """A run of somebody who calls classes, samples and reasons by HTML."""
    place = tmp_path_factory.mktemp("notebook") / "run"
    settings = {"run.folder": place, "run.count": 12, "defect": ["pit", "scratch"]}
    synthgen.generate("debug=smoke", "backend=sketch", settings, quiet=True)
    for name in ("manifest", "instances"):
        table = pd.read_parquet(place / f"{name}.parquet")
        for column in ("sample_id", "defect_class"):
            table[column] = table[column].str.replace("pit", HOSTILE)
        if name == "manifest":
            table["reasons"] = HOSTILE
        table.to_parquet(place / f"{name}.parquet")
    record = yaml.safe_load((place / "run.yaml").read_text(encoding="utf-8"))
    classes = record["config"]["defect"]
    classes[HOSTILE] = classes.pop("pit")
    (place / "run.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")
    return synthgen.open_run(place)


def show(chromium, path: Path, html: str) -> tuple[str, int]:
    """Return the text that is seen and the number of pictures, all of them loaded."""
    path.write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    page = chromium.new_page(viewport={"width": 900, "height": 600})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith("data:image/jpeg")] == [path.as_uri()]
    pictures = page.locator("img")
    sizes = pictures.evaluate_all("all => all.map(one => one.complete && one.naturalWidth)")
    assert all(size > 0 for size in sizes)
    assert page.locator("script, style, link").count() == 0  # a notebook is one page
    text = page.locator("body").inner_text()
    page.close()
    return text, len(sizes)


def test_a_run_shows_itself(chromium, run, tmp_path) -> None:
    html = run._repr_html_()
    text, pictures = show(chromium, tmp_path / "run.html", html)
    assert pictures == min(12, run.accepted) > 4
    assert f"{run.accepted} accepted, {run.rejected} rejected" in text
    assert HOSTILE in text  # as it is written, not as a picture
    assert len(html) < 200e3


def test_a_sample_shows_itself(chromium, run, tmp_path) -> None:
    own = [s for s in run.samples if s.defect_class == HOSTILE and s.status == "accepted"]
    text, pictures = show(chromium, tmp_path / "sample.html", own[0]._repr_html_())
    assert pictures == 3
    assert own[0].sample_id in text
    assert "contrast_delta_e" in text


@pytest.mark.skipif(not SHOTS, reason="screenshots are written with SYNTHGEN_SCREENSHOTS=1")
def test_screenshot_of_the_docs(chromium, tmp_path) -> None:
    settings = {"run.folder": tmp_path / "parts", "run.count": 36}
    html = synthgen.generate(settings, quiet=True)._repr_html_()
    html = html.replace(str(tmp_path / "parts"), "runs/parts")
    (tmp_path / "run.html").write_text(
        "<!doctype html><meta charset=utf-8><style>body {font-family: sans-serif; font-size: 13px}"
        f"</style>{html}"
    )
    page = chromium.new_page(viewport={"width": 1020, "height": 400})
    page.goto((tmp_path / "run.html").as_uri())
    path = ROOT / "docs" / "images" / "notebook.jpg"
    page.screenshot(path=path, quality=86, full_page=True)
    assert path.stat().st_size < 300e3
