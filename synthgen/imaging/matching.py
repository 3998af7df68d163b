"""Give what any backend painted the optics of its photo: its sharpness, levels and grain."""

from __future__ import annotations

import cv2
import numpy as np

from synthgen.imaging.geometry import mask_window
from synthgen.imaging.optics import Optics, draw_grain
from synthgen.imaging.outline import IMMERKAER, depth_inside, disc, measure_blur
from synthgen.samples.arrays import Image, Map, Mask

__all__ = ["match_optics"]


AS_SOFT = 0.95  # of the kernel: a change as soft as that is left alone
BLACK_LEVEL = 1  # and below: black, after scaling
BLACKED_OUT = 0.25  # of what may be repainted
MAX_GAIN = 1.6  # of what the blur takes from a thin line
AROUND_PX = 12
BORDER_PX = 2.0  # over which the change ends, inside what may be repainted
FEWEST_PX = 24


def match_optics(
    source: Image, painted: Image, repaint: Mask, label: Mask, optics: Optics, seed: int
) -> Image:
    """Return the painted picture (H, W, 3) with the optics of its source.

    What is softened is the *change* alone, by as much as it is sharper than the photo: a blur of
    the picture would also take the photo's own texture. ``label`` (H, W): where the defect was
    asked for; nothing outside ``repaint`` (H, W) changes.
    """
    if not label.any():
        return painted
    # What a safety checker blacked out must stay so, to be seen.
    new, old = painted[repaint].max(axis=1), source[repaint].max(axis=1)
    if ((new <= BLACK_LEVEL) & (old > BLACK_LEVEL)).mean() > BLACKED_OUT:
        return painted
    window = mask_window(repaint, AROUND_PX)
    before = source[window].astype(np.float32)
    change = painted[window].astype(np.float32) - before
    inside, where = repaint[window], label[window]
    blur_px = measure_blur(_grey(change), where, optics.kernel_px)
    if not blur_px >= AS_SOFT * optics.kernel_px:  # NaN, too: nothing says that it is soft
        sharp = 0.5 * optics.kernel_px if np.isnan(blur_px) else blur_px
        missing = float(np.sqrt(optics.kernel_px**2 - sharp**2))
        soft = cv2.GaussianBlur(change, (0, 0), max(missing, 0.2))
        # As strong within the label as it was.
        before_blur = max(float(np.abs(change[where]).mean()), 1e-3)
        kept = float(np.abs(soft[where]).mean()) / before_blur
        change = np.asarray(soft * np.clip(1 / max(kept, 1e-3), 1, MAX_GAIN), np.float32)
    within = depth_inside(inside, cv2.DIST_MASK_3)
    weight = (np.clip(within / (BORDER_PX + 1), 0, 1) * inside)[..., None]
    low, high = np.minimum(before, optics.gloom_level), np.maximum(before, optics.glint_level)
    after = np.clip(before + weight * change, low, high)
    after = after + weight * _missing_grain(before, after, where, optics, seed)
    result = painted.copy()
    result[window] = np.where(
        inside[..., None], np.clip(np.rint(after), 0, 255).astype(np.uint8), source[window]
    )
    return result


def _missing_grain(before: Map, after: Map, label: Mask, optics: Optics, seed: int) -> Map:
    """Return the grain (H, W, 3) that the photo has at these levels and the painted defect lacks.

    What is left of it is measured (Immerkaer 1996) away from the label's edge, which is fine
    structure itself.
    """
    inside = cv2.erode(label.astype(np.uint8), disc(1), borderValue=0) > 0
    if inside.sum() < FEWEST_PX:
        return np.zeros_like(after)
    levels = np.clip(_grey(after), 0, 255)
    fine = cv2.filter2D(_grey(after), cv2.CV_32F, IMMERKAER)
    seen = float(np.median(np.abs(fine[inside]))) / 0.6745 / 6
    wanted = float(optics.grain_at(levels[inside]).mean())
    lost = np.sqrt(max(wanted**2 - seen**2, 0.0)) / max(wanted, 1e-3)
    fraction = cv2.GaussianBlur(label.astype(np.float32), (0, 0), max(optics.kernel_px, 0.5))
    grain = draw_grain(np.random.default_rng(seed), optics, levels)
    return np.asarray(lost * fraction[..., None] * grain, np.float32)


def _grey(image: Map) -> Map:
    return np.asarray(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)
