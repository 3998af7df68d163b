"""A sheet for eyes: real defects and painted ones, mixed; the key is written beside it.

python benchmarks/reader_sheet.py OUT.png SEED KIND...

KIND is run,class,table,real_class[,mask_value]: of each, as many real close-ups as painted ones,
24 in all. Each is cut at one and a half times the defect, at least 64 px, and enlarged alike.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.images import read_image
from synthgen.runs.reader import read_run

COUNT, SIDE_PX, COLUMNS = 24, 240, 6


def close_up(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
    """Return a square around the largest piece of a mask, None where it is hardly there."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return None
    x, y, width, height, area = (int(v) for v in stats[1 + int(stats[1:, 4].argmax())])
    if area < 12:
        return None
    side = int(np.clip(1.5 * max(width, height), 64, min(mask.shape)))
    top = int(np.clip(y + height // 2 - side // 2, 0, mask.shape[0] - side))
    left = int(np.clip(x + width // 2 - side // 2, 0, mask.shape[1] - side))
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cut = grey[top : top + side, left : left + side]
    return np.asarray(cv2.resize(cut, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC), np.uint8)


def painted(folder: str, name: str) -> list[NDArray[np.uint8]]:
    run, found = read_run(folder), []
    rows = run.manifest
    for _, row in rows[(rows.status == "accepted") & (rows.defect_class == name)].iterrows():
        image, mask = (
            cv2.imdecode(np.frombuffer(run.read(row[key]), np.uint8), cv2.IMREAD_UNCHANGED)
            for key in ("image", "mask")
        )
        image = image if image.ndim == 2 else image[..., ::-1]
        found.append(close_up(np.ascontiguousarray(image), mask > 0))
    return [one for one in found if one is not None]


def real(table: str, name: str, value: str) -> list[NDArray[np.uint8]]:
    found, root, groups = [], Path(table).parent, set()
    with open(table, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if not row["mask"] or name not in row["class"].split("+") or row["group"] in groups:
                continue
            groups.add(row["group"])
            mask = cv2.imread(str(root / row["mask"]), cv2.IMREAD_UNCHANGED)
            image = read_image(root / row["image"])
            if mask.shape[:2] != image.shape[:2]:
                continue
            found.append(close_up(image, mask == int(value) if value else mask > 0))
    return [one for one in found if one is not None]


def main(out: str, seed: str, *kinds: str) -> None:
    rng = np.random.default_rng(int(seed))
    each = COUNT // 2 // len(kinds)
    cells: list[tuple[NDArray[np.uint8], str]] = []
    for kind in kinds:
        folder, name, table, real_name, *value = kind.split(",")
        for side, pool in (
            ("painted", painted(folder, name)),
            ("real", real(table, real_name, value[0] if value else "")),
        ):
            for index in rng.permutation(len(pool))[:each]:
                cells.append((pool[int(index)], f"{side} {real_name}"))
    cells = [cells[int(n)] for n in rng.permutation(len(cells))]
    for number, (picture, _) in enumerate(cells, start=1):
        cv2.putText(picture, str(number), (4, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 0, 4)
        cv2.putText(picture, str(number), (4, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    rows = [
        np.hstack([np.pad(p, 3, constant_values=255) for p, _ in cells[at : at + COLUMNS]])
        for at in range(0, len(cells), COLUMNS)
    ]
    cv2.imwrite(out, np.vstack(rows))
    key = "\n".join(f"{number} {what}" for number, (_, what) in enumerate(cells, start=1))
    Path(out).with_suffix(".key.txt").write_text(key + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
