"""Photos of parts that were cut out: what lies under transparent pixels is no surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthgen.imaging.images import read_image
from synthgen.runs.reader import read_run
from synthgen.sources import FolderSources
from tests.cli import run_well

SIZE = (160, 200)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]
PART = (ROWS - 80) ** 2 + (COLUMNS - 100) ** 2 < 45**2


def draw(seed: int) -> np.ndarray:
    """Return a round part with noise for what was cut off."""
    rng = np.random.default_rng(seed)
    picture = np.clip(rng.normal(120, 4, (*SIZE, 1)), 0, 255).repeat(3, 2).astype(np.uint8)
    picture[~PART] = rng.integers(0, 256, (int((~PART).sum()), 3))
    return picture


def save_cut_out(path: Path, seed: int, mode: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture, alpha = draw(seed), (PART * 255).astype(np.uint8)
    if mode == "LA":
        image = Image.fromarray(np.dstack([picture[..., 0], alpha]), "LA")
    elif mode == "P":
        indices = np.where(PART, 1 + picture[..., 0] % 8, 0).astype(np.uint8)
        image = Image.fromarray(indices, "P")
        image.putpalette([255, 0, 255, *(level for n in range(8) for level in (110 + n,) * 3)])
        image.save(path, transparency=0)
        return path
    else:
        image = Image.fromarray(np.dstack([picture, alpha]))
    image.save(path)
    return path


@pytest.mark.parametrize("foreground", ["auto", "all"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_the_part_is_what_is_opaque(tmp_path, mode, foreground) -> None:
    save_cut_out(tmp_path / "cut.png", 0, mode)
    sources = FolderSources(str(tmp_path), foreground=foreground)
    source = sources.read("cut")
    part = sources.part(source)
    assert source.pixels.ndim == (2 if mode == "LA" else 3)
    assert np.array_equal(part.allowed, PART)
    assert part.finding == "given"


def test_own_masks_count_on_opaque_pixels_alone(tmp_path) -> None:
    save_cut_out(tmp_path / "photos" / "cut.png", 0, "RGBA")
    right = np.where(COLUMNS > 100, 255, 0).astype(np.uint8)
    (tmp_path / "masks").mkdir()
    Image.fromarray(right).save(tmp_path / "masks" / "cut.png")
    for kind, wanted in (("legal", PART & (right > 0)), ("illegal", PART & (right == 0))):
        sources = FolderSources(str(tmp_path / "photos"), **{kind: str(tmp_path / "masks")})
        assert np.array_equal(sources.part(sources.read("cut")).allowed, wanted)


def test_nothing_is_painted_or_labelled_on_transparent_pixels(tmp_path) -> None:
    for seed in range(2):
        save_cut_out(tmp_path / "photos" / f"cut{seed}.png", seed, "RGBA")
    run_well(
        "generate",
        "backend=sketch",
        "source=folder",
        f"source.path={tmp_path}/photos",
        "defect=[pit,scratch,chip]",
        "run.count=9",
        f"run.folder={tmp_path}/run",
        "quality=off",
    )
    run = read_run(tmp_path / "run")
    rows = run.manifest[run.manifest["image"] != ""]
    changed = np.zeros(SIZE, int)
    for row in rows.to_dict("records"):
        image = read_image(run.stored(row["image"]))
        source = read_image(Path(row["source_path"]))
        is_changed = (image != source).any(axis=2)
        changed += is_changed
        assert not is_changed[~PART].any()
        assert not (read_image(run.stored(row["mask"])) > 0)[~PART].any()
    assert changed[PART].any()
