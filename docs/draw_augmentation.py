"""Draw images/augmentation.jpg: the same samples under each choice of ``augment``, nothing chosen.

python docs/draw_augmentation.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.config.build import build_parts, set_up
from synthgen.config.compose import compose
from synthgen.generation.generate import generate
from synthgen.imaging.images import encode_jpeg
from synthgen.samples.sample import Sample

CHOICES = ("none", "turns", "lighting", "sensor", "camera", "torchvision")
SIZE_PX, ROWS = 128, 5
LABEL = np.array([255, 220, 0])  # yellow
WANTED = (
    *("backend=sketch", "run.retries=[]", "run.good_fraction=0", "run.folder=x"),
    *(f"run.count={ROWS}", f"source.size_hw=[{SIZE_PX},{SIZE_PX}]"),
    "defect=[dent,scratch,stain,crack,pit]",
)


def draw_column(choice: str) -> NDArray[np.uint8]:
    """Return a column of samples: the image, and beside it the image with its label."""
    config = compose("generate", [*WANTED, f"augment={choice}"])
    cells = [draw_title(choice)]
    for outcome in generate(set_up(config).specs, build_parts(config).stages):
        assert isinstance(outcome, Sample)
        image = outcome.candidate.image
        marked = image.copy()
        mask = outcome.class_map() > 0
        marked[mask] = (0.4 * image[mask] + 0.6 * LABEL).astype(np.uint8)
        cells.append(np.hstack([image, marked]))
    return np.pad(np.vstack(cells), ((0, 0), (3, 3), (0, 0)), constant_values=255)


def draw_title(text: str) -> NDArray[np.uint8]:
    title = np.full((20, 2 * SIZE_PX, 3), 255, np.uint8)
    cv2.putText(title, text, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return title


def main() -> None:
    sheet = np.hstack([draw_column(choice) for choice in CHOICES])
    path = Path(__file__).parent / "images" / "augmentation.jpg"
    path.write_bytes(encode_jpeg(np.ascontiguousarray(sheet), 78))


if __name__ == "__main__":
    main()
