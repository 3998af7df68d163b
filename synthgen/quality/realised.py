"""The realised mask: where the finished image visibly differs from its source. The label."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.colour import to_lab
from synthgen.imaging.geometry import grow_mask, mask_window
from synthgen.samples.arrays import Image, Mask

__all__ = ["change_noise", "close_gaps", "delta_e", "realise_mask", "soft_border", "to_lab"]


# Just over 2.3, the just noticeable difference on even patches (Mahy et al. 1994).
LOW_DELTA_E = 2.5
HIGH_DELTA_E = 5.0  # that a connected piece must reach somewhere
EDGE_FRACTION = 0.45  # of the strongest change within EDGE_PX: where a soft edge is cut
EDGE_PX = 3
# To that rule a weaker part beside a strong one, as a burr beside its groove, is a soft edge. Two
# limits to the cut keep it: no person leaves PLAIN out, and the asked mask tells parts from edges.
PLAIN_DELTA_E = 14.0
KEEPS_TO = 0.9  # of the change lies within a pixel of the asked mask, ...
FILLS = 0.5  # ... and it is this share of its area, or more: then it was painted as asked
FAINT_DELTA_E = 2.3  # just noticeable; FAINT_FRACTION of a label may be fainter: bridged gaps
FAINT_FRACTION = 0.05
MIN_PART_PX = 4
MIN_BAND_PX = 24
WINDOW_PX = 16  # around the repaint mask; nothing is looked at beyond


def delta_e(one: Image, other: Image) -> NDArray[np.float32]:
    """Return the CIELAB difference of two RGB images per pixel (CIE 1976), (H, W) float32."""
    return np.asarray(np.linalg.norm(to_lab(one) - to_lab(other), axis=2), np.float32)


def change_noise(
    source_lab: NDArray[np.float32],
    change: NDArray[np.float32],
    repaint_mask: Mask,
    asked_mask: Mask,
) -> float:
    """Return the Delta E that grain alone makes: 0 for a backend that keeps the source's grain.

    A backend that paints its own grain changes pixels where no defect was asked for. Their median
    change around its mean is the noise, as far as the source's own (its fine structure within 15
    px) explains it. A shift of them all does not count as grain: it is a visible change.
    """
    band = repaint_mask & ~grow_mask(asked_mask, 2)
    if band.sum() < MIN_BAND_PX:
        return 0.0
    fine = source_lab - cv2.GaussianBlur(source_lab, (0, 0), 1.5)
    power = cv2.blur((fine**2).sum(axis=2), (15, 15))  # its running sums may end just below 0
    own = np.sqrt(np.maximum(power, 0))
    beside = change[band]
    seen = float(np.median(np.linalg.norm(beside - np.median(beside, axis=0), axis=1)))
    return min(seen, 1.5 * float(np.median(own[repaint_mask])))


def realise_mask(
    source: Image,
    finished: Image,
    repaint_mask: Mask,
    asked_mask: Mask,
    close_px: int = 0,
) -> Mask:
    """Return the label: the (H, W) mask of visible change, inside the repaint mask only.

    Hysteresis (Canny 1986, III.D): connected pixels that differ by 2.5 (Delta E), where at least
    one of them differs by 5. A soft edge ends where the change falls under 45 % of the strongest
    within 3 px, as a person would draw it; but a change of 14 is label everywhere, and one of 5
    inside the asked mask, if the defect was painted as asked. Where the backend painted its own
    grain, the change is smoothed and the thresholds rise with that noise. Parts under 4 px are
    dropped. Gaps of up to ``close_px`` are bridged, those of the fewest invisible pixels first, as
    long as no more than 5 % of the label are invisible. Other holes stay.
    """
    mask = np.zeros(repaint_mask.shape, bool)
    if not repaint_mask.any():
        return mask
    window = mask_window(repaint_mask, WINDOW_PX)
    repaint, asked = repaint_mask[window], asked_mask[window]
    difference, noise = _change(source[window], finished[window], repaint, asked)
    is_strong = repaint & (difference >= max(HIGH_DELTA_E, 4.5 * noise))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE_PX + 1,) * 2)
    cut = np.minimum(EDGE_FRACTION * cv2.dilate(difference, disc), PLAIN_DELTA_E)
    least = max(LOW_DELTA_E, 3 * noise)
    seen = _keep_connected(repaint & (difference >= np.maximum(least, cut)), is_strong)
    area, inside = int(seen.sum()), int((seen & grow_mask(asked, 1)).sum())
    if area >= FILLS * int(asked.sum()) and inside >= KEEPS_TO * area:  # painted as asked
        cut[asked] = np.minimum(cut[asked], HIGH_DELTA_E)
        seen = _keep_connected(repaint & (difference >= np.maximum(least, cut)), is_strong)
    mask[window] = _bridge(seen, close_gaps(seen, close_px) & repaint, difference)
    return mask


def _bridge(seen: Mask, closed: Mask, difference: NDArray[np.float32]) -> Mask:
    """Return what is seen with the gaps that were closed, as far as few of the pixels are faint."""
    gaps = closed & ~seen
    if not gaps.any():
        return seen
    count, pieces = cv2.connectedComponents(gaps.astype(np.uint8), connectivity=8)
    areas = np.bincount(pieces.ravel(), minlength=count)
    faint = np.bincount(pieces[difference < FAINT_DELTA_E], minlength=count)
    order = 1 + np.argsort(faint[1:], kind="stable")
    fraction = np.cumsum(faint[order]) / (seen.sum() + np.cumsum(areas[order]))
    kept = order[fraction <= FAINT_FRACTION]
    return seen | np.isin(pieces, kept)


def soft_border(
    source: Image, finished: Image, realised: Mask, repaint_mask: Mask, asked_mask: Mask
) -> Mask:
    """Return the pixels beside the realised mask that visibly changed as well, (H, W).

    They are neither defect nor good surface, as an ignore index for training. Connected to the
    mask, by 2.5 (Delta E) or more and over the grain, inside the repaint mask.
    """
    border = np.zeros(realised.shape, bool)
    if not realised.any():
        return border
    window = mask_window(repaint_mask, WINDOW_PX)
    inside, repaint = realised[window], repaint_mask[window]
    difference, noise = _change(source[window], finished[window], repaint, asked_mask[window])
    seen = (difference >= max(LOW_DELTA_E, 3 * noise)) & repaint
    border[window] = _keep_connected(seen | inside, inside) & ~inside
    return border


def _change(
    source: Image, finished: Image, repaint: Mask, asked: Mask
) -> tuple[NDArray[np.float32], float]:
    """Return the difference (Delta E) per pixel, smoothed where there is noise, and the noise."""
    source_lab = to_lab(source)
    change = to_lab(finished) - source_lab
    noise = change_noise(source_lab, change, repaint, asked)
    if noise > 1:
        blur_px = 0.8 if noise < 4 else 1.1
        change = cv2.GaussianBlur(change, (0, 0), blur_px)
        noise *= 0.36 / blur_px  # what a Gaussian leaves of white noise: 1 / (2 sqrt(pi) sigma)
    return np.asarray(np.linalg.norm(change, axis=2), np.float32), noise


def _keep_connected(weak: Mask, strong: Mask) -> Mask:
    """Return the parts of ``weak``, 4 px or larger, that hold a pixel of ``strong``."""
    count, labels = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    keep = np.bincount(labels.ravel(), minlength=count) >= MIN_PART_PX
    has_strong = np.zeros(count, bool)
    has_strong[labels[weak & strong]] = True
    keep &= has_strong
    keep[0] = False
    return np.asarray(keep[labels], bool)


def close_gaps(mask: Mask, close_px: int) -> Mask:
    """Return a mask (H, W) whose gaps of up to ``close_px`` to either side are filled."""
    if not close_px or not mask.any():
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * close_px + 1,) * 2)
    padded = np.pad(mask.astype(np.uint8), close_px + 1)  # so that the border does not erode
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
    inner = slice(close_px + 1, -close_px - 1)
    return np.asarray(closed[inner, inner] > 0)
