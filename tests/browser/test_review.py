"""The whole loop on real parts: generate, review in the App, repaint what was rejected, export."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from synthgen.review.service.database import find_mongod
from synthgen.runs.reader import read_run
from synthgen.runs.reviews.verdicts import read_verdicts
from tests.browser.review_page import (
    Review,
    advertisements,
    close_sample,
    fractions_shown,
    open_app,
    pictures,
    press,
    tick,
    watch_open_sample,
)
from tests.cli import run_well

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "images" / "review.jpg"
CLOSE_UP = ROOT / "synthgen" / "review" / "app" / "close_up.js"
SHOTS = os.environ.get("SYNTHGEN_SCREENSHOTS")  # =1 writes that of docs/
COUNT = 60 if SHOTS else 24
BAD = (1, 4, 6, 9, 12, 15, 20) if SHOTS else (1, 4, 6)
RUN = ("backend=sketch", "quality=off", f"run.count={COUNT}", "run.good_fraction=0", "seed=4")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("fiftyone") is None or not find_mongod(),
    reason="FiftyOne or its database server is not installed",
)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}


def assert_own_address_only(address: str) -> None:
    """A foreign name that leads to this machine is not answered, whatever is asked for."""
    port = urlsplit(address).port
    for path in ("/", "/fiftyone", f"/media?filepath={__file__}"):
        codes = {}
        for host in (f"127.0.0.1:{port}", f"evil.example:{port}"):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", path, headers={"Host": host})
            codes[host] = connection.getresponse().status
            connection.close()
        assert list(codes.values()) == [200, 421]


def test_generate_review_repaint_review_export(tmp_path, chromium) -> None:
    folder, database = tmp_path / "run", tmp_path / "database"
    run_well("generate", f"run.folder={folder}", *RUN)
    before = stamps(folder)

    with Review(folder, database) as review, open_app(chromium, review.address) as page:
        assert_own_address_only(review.address)
        assert advertisements(page) == []
        assert page.locator("[data-cy=entry-counts]").inner_text() == f"{COUNT} samples"
        assert 0 < np.median(fractions_shown(page)) < 0.6  # close to the defects
        tick(page, *BAD)
        press(page, "Reject", f"reject: {len(BAD)} samples (label is wrong)")
        page.get_by_text(f"{len(BAD)} of {COUNT} reviewed").wait_for()
        page.get_by_title("verdict: reject").first.wait_for()
        tick(page, 0)
        for key, asked in (("Alt+Shift+R", "Why?"), ("Alt+C", "Class")):
            page.keyboard.press(key)
            dialog = page.get_by_role("dialog")
            dialog.get_by_text(asked, exact=True).wait_for()
            dialog.get_by_role("button", name="Cancel").click()
            dialog.wait_for(state="detached")
        page.keyboard.press("Alt+A")
        page.get_by_text("accept: 1 samples").wait_for()
        page.get_by_text(f"{len(BAD) + 1} of {COUNT} reviewed").wait_for()
        if SHOTS:
            page.wait_for_timeout(6000)  # until what was said fades
            page.screenshot(path=PICTURE, type="jpeg", quality=85)
        assert "undefined" not in page.inner_text("body")
        said = review.end()
    assert f"{len(BAD) + 1} verdicts and 0 changed labels are new" in said
    verdicts = read_verdicts(folder)
    assert Counter(verdict.verdict for verdict in verdicts) == {"reject": len(BAD), "accept": 1}
    assert {(one.reviewer, one.revision) for one in verdicts} == {("ann", 0)}
    rejected = {one.sample_id for one in verdicts if one.verdict == "reject"}

    run_well("generate", f"run.folder={folder}", *RUN)
    after = stamps(folder)
    assert {name: after[name] for name in before} == before  # nothing is painted over
    assert after.keys() - before.keys() == {f"{name}~1.png" for name in rejected}

    with Review(folder, database) as review, open_app(chromium, review.address) as page:
        assert f"{len(BAD) + 1} new" in review.said  # the repainted, the verdict
        page.get_by_text(f"1 of {COUNT} reviewed").wait_for()
        watch_open_sample(page)
        pictures(page).nth(2).click()
        page.wait_for_function("window.opened")  # it is cropped to its labels, as the grid is
        name = page.locator('[data-cy="sidebar-entry-synthgen_id"]')
        opened = name.inner_text()
        page.keyboard.press("Alt+A")
        page.get_by_text("accept: 1 samples").wait_for()
        name.get_by_text(opened).wait_for(state="detached")  # the next one follows
        close_sample(page)
        press(page, "Accept all unreviewed in view", f"accept: {COUNT - 2} samples")
        page.get_by_text(f"{COUNT} of {COUNT} reviewed").wait_for()
        page.goto(f"{review.address.partition('?')[0]}?view=accepted-by-people")
        counts = page.locator("[data-cy=entry-counts]")
        counts.get_by_text(f"{COUNT} samples", exact=True).wait_for()  # not groups with a slice
        assert f"{COUNT} accepted, 0 rejected, 0 in conflict" in review.end()

    run_well(
        "export", f"run.folder={folder}", "include=reviewed", "format=[coco]", f"out={tmp_path}/out"
    )
    written = [
        json.loads(path.read_text()) for path in (tmp_path / "out").rglob("instances_*.json")
    ]
    assert sum(len(one["images"]) for one in written) == COUNT
    manifest = read_run(folder).manifest
    assert set(manifest.loc[manifest["revision"] == 1, "sample_id"]) == rejected


@pytest.mark.parametrize(
    ("boxes", "size", "shown"),
    [
        ([], [400, 300], [[0, 0], [1, 1]]),  # good
        ([[0.45, 0.45, 0.1, 0.1]], [1000, 1000], [[0.375, 0.375], [0.625, 0.625]]),  # 2.5 sides
        ([[0.5, 0.5, 0.001, 0.001]], [960, 960], [[0.4755, 0.4755], [0.5255, 0.5255]]),  # 48 px
        ([[0, 0.9, 0.1, 0.1]], [1000, 1000], [[0, 0.75], [0.25, 1]]),  # at the border
        ([[0.1, 0.1, 0.8, 0.02]], [1000, 500], [[0, 0], [1, 1]]),  # long
        ([[0.4, 0.5, 0, 0], [0.6, 0.5, 0, 0]], [1000, 1000], [[0.25, 0.25], [0.75, 0.75]]),
    ],
)
def test_a_close_up_holds_the_labels_and_what_is_around_them(chromium, boxes, size, shown) -> None:
    page = chromium.new_page()
    page.add_script_tag(path=CLOSE_UP)
    overlays = [{"label": {"bounding_box": box}} for box in boxes] + [{"label": {"mask": 1}}, {}]
    asked = f"window.synthgenCloseUp({json.dumps(overlays)}, {{dimensions: {size}}})"
    assert np.allclose(page.evaluate(asked), shown)
    page.close()
