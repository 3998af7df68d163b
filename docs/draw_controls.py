"""Draw images/controls.png: what each control without weights makes of one drawn source and stain.

python docs/draw_controls.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.annotators import aux_control
from synthgen.conditioning.control.controls import Control
from synthgen.conditioning.control.dense import DenseControl, MaskControl
from synthgen.conditioning.control.edges import canny_control
from synthgen.defects import Stain
from synthgen.imaging.images import tile, write_png
from synthgen.planning.plan import DefectClass, draw_plan
from synthgen.samples.sample import Condition
from synthgen.sources import ProceduralSources

Image = NDArray[np.uint8]
SHOWN_PX = 210


def relief(image: Image) -> Image:
    """Return the slopes of the brightness as a normal map: the example of how-to/control.md."""
    height = cv2.GaussianBlur(image.mean(axis=2), (0, 0), 1.5)
    right, down = (cv2.Sobel(height, cv2.CV_64F, *order) / 8 for order in ((1, 0), (0, 1)))
    normal = np.dstack([-right, -down, np.full_like(right, 8.0)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return np.rint(127.5 + 127.5 * normal).astype(np.uint8)


def draw_condition() -> Condition:
    sources = ProceduralSources(1, (160, 160), ["wood"], seed=4)
    shape = Stain(radius_px=(30, 30), contrast=(70, 70), raggedness=0.4)
    classes = {"stain": DefectClass(1, "stain", shape)}
    controls: dict[str, Control] = {
        "canny": canny_control(),
        "canny, low 20, high 60": canny_control(low=20, high=60),
        "lineart_standard": aux_control("lineart_standard"),
        "mask": MaskControl(),
        "callable (relief)": DenseControl(relief),
    }
    spec = draw_plan(sources, classes, 1, 0, {"all": 1.0}, 13)[0]
    return Conditioner(sources, classes, controls, margin_px=8)(spec)


def caption(image: Image, text: str) -> Image:
    shown = cv2.resize(image, (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_NEAREST)
    cell = cv2.copyMakeBorder(shown, 4, 24, 4, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    at = (6, SHOWN_PX + 20)
    cv2.putText(cell, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(cell, np.uint8)


def main() -> None:
    condition = draw_condition()
    pictures = {"source": condition.image, "sketch": condition.sketch, **condition.controls}
    cells = [caption(image, name) for name, image in pictures.items()]
    write_png(Path(__file__).parent / "images" / "controls.png", tile(cells, 4))


if __name__ == "__main__":
    main()
