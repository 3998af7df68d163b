"""Drawn photos of parts, for whoever has no photos at hand: notebooks and tutorial begin with them.

python -m synthgen.sources.examples photos          # 12 good parts
python -m synthgen.sources.examples bad bad-masks   # 8 parts with a gouge, and their masks

The parts are metal plates on a dark mat. The gouges are drawn by other code than the defects that
synthgen paints, and stand in for the real ones of a production line.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.errors import SourceError
from synthgen.imaging.images import write_png
from synthgen.samples.arrays import Image, Map, Mask
from synthgen.samples.seeds import stream
from synthgen.sources.surfaces import draw_surface

__all__ = ["draw_plate", "write_defect_photos", "write_good_photos"]

Rng = np.random.Generator
SIZE_HW = (256, 320)
PLATE_WH, CORNER_PX, HOLE_PX = (210.0, 150.0), 14, 11
LENGTH_PX, WIDTH_PX = (28.0, 80.0), (2.0, 4.5)  # of a gouge
FINE = 4  # subpixels a side that edges are drawn with


def write_good_photos(folder: Path | str, count: int = 12, *, first: int = 0) -> Path:
    """Write ``count`` photos of good plates into a new folder, and return it.

    Photo number n is the same in every call; ``first`` is the number of the first. Raises
    SourceError where the folder exists.
    """
    (place,) = _make_folders(folder)
    for number in range(first, first + count):
        image, _ = draw_plate(stream(0, "example", number), has_gouge=False)
        write_png(place / f"plate-{number:03d}.png", image)
    return place


def write_defect_photos(
    folder: Path | str, masks: Path | str, count: int = 8, *, first: int = 0
) -> Path:
    """Write ``count`` photos of plates with a gouge, and its masks under the same names.

    White = the gouge. Otherwise as ``write_good_photos``; no plate is in both.
    """
    place, marked = _make_folders(folder, masks)
    for number in range(first, first + count):
        image, gouge = draw_plate(stream(1, "example", number), has_gouge=True)
        write_png(place / f"gouge-{number:03d}.png", image)
        write_png(marked / f"gouge-{number:03d}.png", gouge.astype(np.uint8) * 255)
    return place


def draw_plate(rng: Rng, *, has_gouge: bool) -> tuple[Image, Mask]:
    """Return a photo (H, W, 3) of a plate on a mat, and where its gouge is, (H, W)."""
    height, width = SIZE_HW
    centre = width / 2 + rng.uniform(-14, 14), height / 2 + rng.uniform(-10, 10)
    pose = cv2.getRotationMatrix2D((0, 0), float(rng.uniform(-7, 7)), 1.0)
    pose[:, 2] += centre
    cover = _draw_cover(pose)
    mat = draw_surface(rng, SIZE_HW, "cast").image.astype(np.float32)
    mat = 34 + 0.12 * (mat - mat.mean())
    light = 1 + 0.12 * np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    brushed = draw_surface(rng, SIZE_HW, "brushed").image.mean(axis=2).astype(np.float32)
    grain = 0.5 * (brushed - cv2.GaussianBlur(brushed, (0, 0), 20))
    metal = cv2.warpAffine(grain, pose - [[0, 0, 160], [0, 0, 128]], (width, height), borderMode=2)
    plate = np.repeat((168 + metal + _draw_bevel(cover))[..., None], 3, axis=2)
    gouge = np.zeros(SIZE_HW, bool)
    if has_gouge:
        depth, lip = _draw_gouge(rng, pose)
        strength = rng.uniform(0.25, 0.6)
        plate = plate * (1 - strength * depth[..., None]) + 90 * strength * lip[..., None]
        gouge = (depth > 0.35) & (cover > 0.5)
    shadow = cv2.GaussianBlur(np.roll(cover, (5, 6), (0, 1)), (0, 0), 4)[..., None]
    photo = cover[..., None] * plate + (1 - cover[..., None]) * mat * (1 - 0.6 * shadow)
    photo = cv2.GaussianBlur(photo * light * rng.uniform(0.93, 1.07), (0, 0), 0.7)
    photo += rng.normal(0, 1.8, photo.shape)
    return np.clip(photo, 0, 255).astype(np.uint8), gouge


def _draw_cover(pose: NDArray[np.float64]) -> Map:
    """Return how much of each pixel the plate covers, 0..1, less its two holes."""
    half = np.array(PLATE_WH) / 2
    inner = half - CORNER_PX
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * inner
    fine = np.zeros((SIZE_HW[0] * FINE, SIZE_HW[1] * FINE), np.uint8)
    points = _place(corners, pose)
    cv2.fillPoly(fine, [points], 255)
    cv2.polylines(fine, [points], True, 255, 2 * CORNER_PX * FINE)
    for hole in _place(np.array([[-0.78, 0.0], [0.78, 0.0]]) * half, pose):
        cv2.circle(fine, (int(hole[0]), int(hole[1])), HOLE_PX * FINE, 0, -1)
    small = cv2.resize(fine, SIZE_HW[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _draw_bevel(cover: Map) -> Map:
    """Return the grey levels that the plate's rounded edge adds: bright above, dark below."""
    height = cv2.GaussianBlur(cover, (0, 0), 2.0)
    slope = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    return np.asarray(330 * slope, np.float32)


def _draw_gouge(rng: Rng, pose: NDArray[np.float64]) -> tuple[Map, Map]:
    """Return a bent groove that tapers, and the bright lip beside it, 0..1 each."""
    length, width = rng.uniform(*LENGTH_PX), rng.uniform(*WIDTH_PX)
    start = np.array([rng.uniform(-60, 60), rng.uniform(-45, 45)])
    turn = np.arctan2(-start[1], -start[0]) + rng.uniform(-1.2, 1.2)  # it stays on the plate
    along = np.linspace(0, 1, 40)
    bend = turn + rng.uniform(-0.9, 0.9) * along
    steps = np.stack([np.cos(bend), np.sin(bend)], 1) * length / len(along)
    path = start + np.cumsum(steps, axis=0)
    fine = np.zeros((SIZE_HW[0] * FINE, SIZE_HW[1] * FINE), np.uint8)
    for point, share in zip(_place(path, pose), along, strict=True):
        radius = FINE * width / 2 * (0.35 + 0.65 * np.sin(np.pi * share) ** 0.7)
        cv2.circle(fine, (int(point[0]), int(point[1])), max(1, round(radius)), 255, -1)
    small = cv2.resize(fine, SIZE_HW[::-1], interpolation=cv2.INTER_AREA)
    depth = small.astype(np.float32) / 255
    lip = np.clip(np.roll(depth, (2, 1), (0, 1)) - depth, 0, 1)
    return depth, lip


def _place(points: NDArray[np.float64], pose: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return points on the plate (x, y from its centre, px) as points of the fine drawing."""
    return np.rint((points @ pose[:, :2].T + pose[:, 2]) * FINE).astype(np.int32)


def _make_folders(*folders: Path | str) -> list[Path]:
    """Make new folders, all or none."""
    places = [Path(folder) for folder in folders]
    for place in places:
        if place.exists():
            raise SourceError(f"{place} exists; give a new folder for drawn photos")
    for place in places:
        place.mkdir(parents=True)
    return places


def main(arguments: list[str]) -> None:
    """Write photos into the folder that is named, with a second one defects and masks."""
    if len(arguments) == 1:
        write_good_photos(arguments[0])
    elif len(arguments) == 2:
        write_defect_photos(arguments[0], arguments[1])
    else:
        sys.exit("synthgen: give a folder for photos, or a folder for photos and one for masks")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SourceError as error:
        sys.exit(f"synthgen: {error}")
