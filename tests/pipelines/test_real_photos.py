"""Real photographs, where they lie beside the checkout; none of them is part of the project."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from synthgen.imaging.images import read_image
from tests.cli import run_well

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDERS = [DATA / "magnetic_tile" / "images" / "good", DATA / "textures_skimage" / "images"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.parts[-2])
def test_photos_are_painted_and_their_background_is_theirs(folder: Path, tmp_path: Path) -> None:
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not here")
    command = ["generate", "source=folder", f"source.path={folder}", "backend.hardware.threads=1"]
    options = ["run.count=6", "run.batch_size=6", f"run.folder={tmp_path / 'run'}"]
    run_well(*command, *options)
    manifest = pd.read_parquet(tmp_path / "run" / "manifest.parquet")
    assert (manifest["status"] == "accepted").sum() >= 4
    for _, row in manifest[manifest["defect_class"] != ""].iterrows():
        image = read_image(tmp_path / "run" / row["image"])
        source = read_image(Path(row["source_path"]))
        assert image.shape == source.shape
        label = read_image(tmp_path / "run" / row["mask"]) > 0
        changed = (image != source).reshape(*image.shape[:2], -1).any(axis=2)
        assert (label & ~changed).sum() <= 0.1 * label.sum() + 2  # closed gaps only
        asked = read_image(tmp_path / "run" / row["requested"])
        assert not changed[cv2.dilate(asked, np.ones((11, 11), np.uint8)) == 0].any()
