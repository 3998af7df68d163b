"""Does what is painted without any real defect belong to its photos? Size, contrast, edges, grain.

python benchmarks/belonging.py runs/cells cells/MANIFEST.csv crack=crack:3 inclusion=cross_crack:2

The first is a run painted on the good photos of a product; the second a table of real defects of
that product (image, mask, class), which are measured only. Each pair names a class of the run, one
of the table, and the value of its masks (none: all that is not 0). Both sides are measured alike:
each connected label of 12 px or more, its area over the square of the picture's short side, and
how much darker or brighter its pixels are than the median of the ring around it, in grey levels.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.images import read_image
from synthgen.runs.reader import read_run

MIN_PX = 12
HARD = ("crack", "scratch", "pit", "chip", "fibre", "inclusion", "spatter")


def measure(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Iterator[tuple[float, float]]:
    """Yield area over short side squared, and contrast in grey levels, of each connected label."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] < MIN_PX:
            continue
        own = (parts == number).astype(np.uint8)
        near = cv2.dilate(own, np.ones((15, 15), np.uint8)) > cv2.dilate(own, np.ones((5, 5)))
        if not near.any():
            continue
        change = float(grey[own > 0].mean()) - float(np.median(grey[near]))
        yield float(own.sum()) / min(grey.shape) ** 2, abs(change)


def measure_real(table: Path, name: str, value: str) -> NDArray[np.float64]:
    """Return area and contrast (N, 2) of the real defects of a class."""
    found: list[tuple[float, float]] = []
    with table.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if not row["mask"] or name not in row["class"].split("+") or row["split"] != "train":
                continue
            image = read_image(table.parent / row["image"])
            mask = cv2.imread(str(table.parent / row["mask"]), cv2.IMREAD_UNCHANGED)
            mask = mask if mask.ndim == 2 else mask.max(axis=2)
            if mask.shape != image.shape[:2]:
                mask = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            found += measure(image, mask == int(value) if value else mask > 0)
    return np.array(found)


def main(folder: str, table: str, *pairs: str) -> None:
    run = read_run(folder)
    rows = run.manifest[run.manifest["status"] == "accepted"]
    print("class        n   edge width / kernel     within .7-1.6   grain inside / around")
    for name, own in rows.groupby("defect_class"):
        edges = own["edge_width_ratio"].dropna().to_numpy(float)
        grain = own["grain_ratio"].dropna().to_numpy(float)
        within = ((edges >= 0.7) & (edges <= 1.6)).mean() if len(edges) else float("nan")
        hard = "*" if name in HARD else " "
        print(f"{name:<10}{hard}{len(own):>4}   {spread(edges)}   {within:>6.0%}   {spread(grain)}")
    hard_rows = rows[rows["defect_class"].isin(HARD)]
    edges = hard_rows["edge_width_ratio"].dropna().to_numpy(float)
    grain = rows["grain_ratio"].dropna().to_numpy(float)
    within = ((edges >= 0.7) & (edges <= 1.6)).mean()
    print(
        f"hard edges{len(hard_rows):>5}   {spread(edges)}   {within:>6.0%}   {spread(grain)} (all)"
    )
    for pair in pairs:
        drawn, _, real = pair.partition("=")
        name, _, value = real.partition(":")
        truth = measure_real(Path(table), name, value)
        found: list[tuple[float, float]] = []
        for _, row in rows[rows["defect_class"] == drawn].iterrows():
            image = cv2.imdecode(np.frombuffer(run.read(row["image"]), np.uint8), cv2.IMREAD_COLOR)
            mask = cv2.imdecode(np.frombuffer(run.read(row["mask"]), np.uint8), -1)
            found += measure(np.asarray(image[..., ::-1], np.uint8), mask > 0)
        painted = np.array(found)
        ratio = np.median(painted, axis=0) / np.median(truth, axis=0)
        print(
            f"{drawn} against real {name}: area {np.median(painted[:, 0]):.5f} / "
            f"{np.median(truth[:, 0]):.5f} = {ratio[0]:.2f}, contrast "
            f"{np.median(painted[:, 1]):.1f} / {np.median(truth[:, 1]):.1f} levels = {ratio[1]:.2f}"
        )


def spread(values: NDArray[np.float64]) -> str:
    if not len(values):
        return "   -                "
    low, middle, high = np.percentile(values, (5, 50, 95))
    return f"{middle:5.2f} ({low:.2f} .. {high:.2f})"


if __name__ == "__main__":
    main(*sys.argv[1:])
