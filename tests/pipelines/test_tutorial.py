"""The tutorial's code runs in its order, and its pictures can be drawn again from what it made."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from synthgen.imaging.images import read_image

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "start" / "tutorial.md"
NAMES = re.findall(r"\]\(\.\./images/tutorial/([\w.]+)\)", PAGE.read_text(encoding="utf-8"))
SMALL = ("run.count=12", "run.good_fraction=0.5", "backend=sketch")


@pytest.fixture
def drawing() -> ModuleType:
    """docs/draw_tutorial.py as a module."""
    spec = importlib.util.spec_from_file_location("draw_tutorial", DOCS / "draw_tutorial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_code_runs_and_its_pictures_are_drawn(drawing, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawing.run_page(SMALL, steps=2)
    assert (tmp_path / "runs" / "plates" / "preview.html").exists()
    assert (tmp_path / "dataset" / "yolo" / "data.yaml").exists()
    drawing.draw(tmp_path, tmp_path / "images", SMALL)
    drawn = {path.name for path in (tmp_path / "images").iterdir()}
    assert drawn == set(NAMES)


def test_every_stage_has_a_picture_and_they_are_small() -> None:
    page = PAGE.read_text(encoding="utf-8")
    stages = re.split(r"^## \d", page, flags=re.MULTILINE)[1:]
    assert len(stages) == 9
    assert all("](../images/tutorial/" in stage for stage in stages)
    files = [DOCS / "images" / "tutorial" / name for name in NAMES]
    assert sum(path.stat().st_size for path in files) < 1.5e6
    for path in files:
        picture = read_image(path)
        assert 600 <= picture.shape[1] <= 1200, path.name
        assert np.std(picture) > 10, path.name
