"""Draw images/measures.png: a bad and a good case of each measure, with its number.

python docs/draw_measures.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.edges import canny_control
from synthgen.defects import Stain
from synthgen.planning.plan import DefectClass, draw_plan
from synthgen.quality.measures import measure, view_change
from synthgen.quality.near_duplicates import bits_between, perceptual_hash
from synthgen.quality.realised import realise_mask
from synthgen.samples.sample import Candidate, Condition
from synthgen.sources import ProceduralSources

Image = NDArray[np.uint8]
SHOWN_PX = 110


def draw_condition() -> Condition:
    sources = ProceduralSources(1, (160, 160), ["cast"], seed=4)
    shape = Stain(radius_px=(20, 20), contrast=(0.45, 0.45), raggedness=0.2)
    classes = {"stain": DefectClass(1, "stain", shape)}
    allowed = np.ones((160, 160), bool)
    specs = draw_plan(sources, classes, 12, 0, {"all": 1.0}, 13)
    conditioner = Conditioner(sources, classes, {"canny": canny_control()}, margin_px=8)
    condition = min(map(conditioner, specs), key=_off_centre)
    return replace(condition, allowed=allowed)


def _off_centre(condition: Condition) -> float:
    middle = np.argwhere(condition.defect_mask).mean(axis=0)
    return float(np.abs(middle - np.array(condition.defect_mask.shape) / 2).max())


def finish(condition: Condition, image: NDArray[np.generic]) -> Candidate:
    levels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    levels[~condition.repaint_mask] = condition.image[~condition.repaint_mask]
    realised = realise_mask(
        condition.image, levels, condition.repaint_mask, condition.defect_mask, 2
    )
    return Candidate(condition, levels, levels, realised)


def only(condition: Condition, keep: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(keep[..., None], condition.sketch, condition.image)


def shifted(condition: Condition, right: int) -> Candidate:
    change = np.roll(condition.sketch.astype(np.int16) - condition.image, right, axis=1)
    wide = np.roll(condition.repaint_mask, right, axis=1) | condition.repaint_mask
    return finish(replace(condition, repaint_mask=wide), condition.image + change)


def cases(c: Condition) -> dict[str, tuple[Candidate, Candidate]]:
    good = finish(c, c.sketch)
    rows, columns = np.indices(c.defect_mask.shape)
    middle = np.argwhere(c.defect_mask).mean(axis=0)
    away = np.hypot(rows - middle[0], columns - middle[1])
    faint = c.image + 0.27 * (c.sketch.astype(np.float32) - c.image)
    lifted = c.sketch.astype(np.float32) + 14 * c.repaint_mask[..., None]
    blurred = cv2.GaussianBlur(c.sketch, (0, 0), 2)
    white = np.where((good.realised_mask & (away < 14))[..., None], 255, c.sketch)
    half = replace(c, allowed=columns < middle[1])
    inside = (good.realised_mask & c.defect_mask)[..., None]
    rough = c.sketch + inside * np.random.default_rng(0).normal(0, 30, c.sketch.shape)
    return {
        "area_px": (finish(c, only(c, away < 2)), good),
        "fill_fraction": (finish(c, only(c, columns < middle[1] - 6)), good),
        "leak_fraction": (shifted(c, 14), good),
        "mask_iou": (shifted(c, 14), good),
        "size_ratio": (finish(c, only(c, away < 9)), good),
        "off_object_fraction": (finish(half, c.sketch), good),
        "change_delta_e": (finish(c, faint), good),
        "contrast_delta_e": (finish(c, faint), good),
        "clipped_fraction": (finish(c, white), good),
        "black_fraction": (finish(c, np.zeros_like(c.image)), good),
        "seam_delta_e": (finish(c, lifted), good),
        "grain_ratio": (finish(c, rough), good),
        "range_fraction": (finish(c, white), good),
        "edge_width_ratio": cases_of_edges(c),
        "sharpness_ratio": (finish(c, np.where(c.defect_mask[..., None], c.sketch, blurred)), good),
    }


def cases_of_edges(c: Condition) -> tuple[Candidate, Candidate]:
    """Return a hard and a fitting edge on a photo that is soft."""
    photo = cv2.GaussianBlur(c.image, (0, 0), 2).astype(np.float32)
    tone = -40.0 * c.defect_mask[..., None]
    soft = replace(c, image=photo.astype(np.uint8))
    fitting = cv2.GaussianBlur(tone, (0, 0), 1)[..., None]
    return finish(soft, photo + tone), finish(soft, photo + fitting)


def number(name: str) -> Callable[[Candidate], float]:
    return lambda k: {m.name: m.value for m in measure(k, view_change(k))}[name]


def main() -> None:
    condition = draw_condition()
    rows = cases(condition)
    figure = Figure(figsize=(9.5, 9.6), layout="constrained")
    grid = figure.subplots(6, 6)
    for axes in grid.flat:
        axes.axis("off")
    for place, (name, pair) in enumerate(rows.items()):
        for side, (word, candidate) in enumerate(zip(("bad", "good"), pair, strict=True)):
            axes = grid.flat[2 * place + side]
            axes.imshow(_window(candidate))
            axes.set_title(f"{name}\n{word}: {number(name)(candidate):.2f}", fontsize=8)
    first, other = rows["area_px"][1], rows["leak_fraction"][0]
    pair = [("bad", first), ("good", other)]
    hashes = [perceptual_hash(k.image, k.realised_mask) for k in (first, other)]
    for side, (word, candidate) in enumerate(pair):
        axes = grid.flat[2 * len(rows) + side]
        axes.imshow(_window(candidate))
        axes.set_title(
            f"near_duplicate_bits\n{word}: {bits_between(hashes[0], hashes[side])}", fontsize=8
        )
    figure.savefig(Path(__file__).parent / "images" / "measures.png", dpi=110)


def _window(candidate: Candidate) -> Image:
    """Return the middle of the image, the label's outline in yellow, the asked one in cyan."""
    marked = candidate.image.copy()
    asked = candidate.condition.defect_mask
    for mask, colour in ((asked, (0, 200, 255)), (candidate.realised_mask, (255, 214, 0))):
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(marked, lines, -1, colour, 1)
    row, column = np.argwhere(asked).mean(axis=0).astype(int)
    top = int(np.clip(row - SHOWN_PX // 2, 0, len(marked) - SHOWN_PX))
    left = int(np.clip(column - SHOWN_PX // 2, 0, marked.shape[1] - SHOWN_PX))
    return marked[top : top + SHOWN_PX, left : left + SHOWN_PX]


if __name__ == "__main__":
    main()
