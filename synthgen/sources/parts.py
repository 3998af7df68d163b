"""Where the part is on photos of good parts, so that defects are painted on it only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from synthgen.errors import ShapeError, SynthgenError
from synthgen.imaging.geometry import grow_mask, mask_window, overlap
from synthgen.imaging.outline import depth_inside
from synthgen.progress import track
from synthgen.samples.arrays import Image, Map, Mask
from synthgen.samples.sample import Part
from synthgen.sources.background import (
    CERTAIN,
    BackgroundEstimate,
    FixedCamera,
    find_strips,
    guess_part,
    morph,
    relative_colour,
    separate,
    shrink,
)

__all__ = ["PartFinder", "edge_band", "off_part_fraction", "short_side_px"]


OUTLINE_PX = 512  # long side that their outlines are placed at
SAMPLE = 40  # photos that are looked at to learn what a folder shows
ENOUGH = 6  # photos for a fixed camera
RIM_PX = 2.0  # of a photo of OUTLINE_PX
MIN_GUESS, MAX_GUESS = 0.001, 0.9  # of the picture: a part of which nobody is sure
LOOKS_SURE = 0.25  # of 0..1, for a second opinion


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Folder:
    """What was learned of photos that belong together: how often a part is found; table; place."""

    found_fraction: float
    camera: FixedCamera | None = None  # set where the part lies elsewhere on each photo
    standing: FixedCamera | None = None  # set where the part always lies at ``place``
    place: Mask | None = None


def _learn(photos: Sequence[Callable[[], Image]]) -> _Folder:
    """Learn from up to 40 photos, spread over all of them.

    Where enough photos are alike, their median shows the table, if the part moves, or the part, if
    it always lies at one place.
    """
    chosen = np.unique(
        np.linspace(0, len(photos) - 1, min(len(photos), SAMPLE)).round().astype(int)
    )
    images = []
    for index in track(chosen, "learning what the photos show", unit="photos"):
        try:
            images.append(shrink(photos[index]()))
        except SynthgenError:  # a photo that cannot be read is told when it is painted on
            continue
    if not images:
        return _Folder(found_fraction=0.5)
    colours = [relative_colour(image) for image in images]
    guesses = [guess_part(i, c, None) for i, c in zip(images, colours, strict=True)]
    found = sum(guess.certainty > CERTAIN for guess in guesses)
    found_fraction = (found + 1) / (len(guesses) + 2)  # near 0.5 where there are few photos
    sizes = [image.shape for image in images]
    usual = max(sorted(set(sizes)), key=sizes.count)
    alike = [n for n, size in enumerate(sizes) if size == usual]
    if len(alike) < ENOUGH:
        return _Folder(found_fraction=found_fraction)
    camera = FixedCamera(middle=np.median(np.stack([colours[n] for n in alike]), axis=0))
    fitted = [(n, camera.fit(colours[n])) for n in alike]
    tables = {n: table for n, table in fitted if table is not None}
    fitting = sorted(tables)
    if len(fitting) < max(ENOUGH, 0.6 * len(alike)):
        return _Folder(found_fraction=found_fraction)
    moved = [separate(images[n], colours[n], tables[n]) for n in fitting]
    certain = [guess for guess in moved if guess.certainty > 0.5 * CERTAIN]
    often = np.mean([guess.mask for guess in certain], axis=0) if certain else np.ones(1)
    if len(certain) > 0.6 * len(fitting) and float(np.max(often)) < 0.75:
        fraction = len(certain) / len(fitting)
        return _Folder(found_fraction=max(found_fraction, fraction), camera=camera)
    masks = [guesses[n].mask for n in fitting if guesses[n].certainty > CERTAIN]
    if len(masks) < max(ENOUGH, 0.5 * len(fitting)):
        return _Folder(found_fraction=found_fraction)
    place = np.asarray(np.mean(masks, axis=0) > 0.5)
    if float(np.median([overlap(mask, place) for mask in masks])) < 0.85:
        return _Folder(found_fraction=found_fraction)
    return _Folder(found_fraction=found_fraction, standing=camera, place=place)


class PartFinder:
    """Finds parts on photos; the photos of a fixed camera are used together.

    ``photos`` are functions that read (H, W, 3) uint8 RGB photos that belong together. Up to 40 of
    them, spread over all, are called at the first ``find``.
    """

    def __init__(self, photos: Sequence[Callable[[], Image]]) -> None:
        self._photos = tuple(photos)
        self._folder: _Folder | None = None

    def find(self, image: Image) -> Part:
        """Return where the part is on an (H, W, 3) uint8 RGB photo of 16 px or more.

        Raises ShapeError for an array of another shape.
        """
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 16:
            raise ShapeError(
                f"a photo is {image.shape}; parts are found on (height, width, 3) of 16 px or more"
            )
        if self._folder is None:
            self._folder = _learn(self._photos)
        folder = self._folder
        small = shrink(image)
        colour = relative_colour(small)
        guess = guess_part(small, colour, folder.camera)
        if folder.standing is not None and folder.place is not None:
            is_there = (
                overlap(guess.mask, folder.place) > 0.6
                if guess.mask.shape == folder.place.shape
                else False
            )
            if not is_there and folder.standing.fit(colour) is not None:
                guess = BackgroundEstimate(
                    mask=morph(folder.place, cv2.MORPH_ERODE, 3), certainty=1.0
                )
        part = _decide(image, small, guess, folder.found_fraction)
        return part if part.finding == "surface" else replace(part, background=_look_again(image))


def _decide(image: Image, small: Image, guess: BackgroundEstimate, found_fraction: float) -> Part:
    """Return the finding. Where parts are rare among the photos, a part must be very clear."""
    needed, doubtful = CERTAIN, 0.25
    if found_fraction < 0.33:
        needed = 0.95 if guess.mask.mean() > 0.04 else 2.0
        doubtful = needed if found_fraction < 0.22 else CERTAIN
    elif found_fraction > 0.7:
        needed, doubtful = 0.3, 0.0
    if guess.certainty >= needed:
        mask = _keep_inside(_place_outline(image, guess.mask))
        if mask.any():
            return Part(mask=mask, finding="part")
    strips = find_strips(small)
    if strips.any() and found_fraction < 0.6:
        size_wh = image.shape[1::-1]
        rough = cv2.resize((~grow_mask(strips, 2)).astype(np.uint8), size_wh, interpolation=0)
        return Part(mask=rough > 0, finding="part")
    if guess.certainty < doubtful:
        return Part(finding="surface")
    # A guess is a better place for a defect than all of the picture, with its table.
    mask = _keep_inside(_place_outline(image, guess.mask))
    is_likely = MIN_GUESS < mask.mean() < MAX_GUESS
    return Part(finding="unsure", mask=mask if is_likely else None)


def _keep_inside(mask: Mask) -> Mask:
    """Return a mask without a rim of 2 px in 512, where shadow and blur mix with the part.

    Thin parts lose half of that, or nothing, so that at least 60 % of the mask is left.
    """
    depth = depth_inside(mask, cv2.DIST_MASK_PRECISE)
    reach = RIM_PX * max(mask.shape) / OUTLINE_PX
    for part in (1.0, 0.5):
        inner = np.asarray(mask & (depth > part * reach), bool)
        if inner.sum() >= 0.6 * mask.sum():
            return inner
    return mask


def short_side_px(mask: Mask | None, size_hw: tuple[int, int]) -> float:
    """Return the short side, in px, of the largest piece's minimum-area rectangle.

    Without a mask, or with an empty one, it is the short side of the image.
    """
    if mask is None or not mask.any():
        return float(min(size_hw))
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea)
    return float(min(cv2.minAreaRect(largest)[1])) + 1.0  # pixel centres to pixel edges


def edge_band(mask: Mask, width_px: float) -> Mask:
    """Return the part's pixels within ``width_px`` of its outline.

    The image's border is not outline; a mask that covers all has no edge.

    >>> edge_band(np.array([[1, 1, 1, 1, 0]], dtype=bool), 2).astype(int).tolist()
    [[0, 0, 1, 1, 0]]
    """
    depth = depth_inside(mask, cv2.DIST_MASK_PRECISE)
    return mask & (depth <= width_px) if not mask.all() else np.zeros_like(mask)


def off_part_fraction(label: Mask, part: Part) -> float:
    """Return the fraction of a label's pixels that look like background on the photo, 0..1.

    ``part.mask`` is not used. NaN where no background is seen, or the label is empty. Raises
    ShapeError where label and photo differ in size.
    """
    if part.background is None or not label.any():
        return float("nan")
    if part.background.shape != label.shape:
        raise ShapeError(f"a label is {label.shape} but its photo {part.background.shape}")
    return float(part.background[label].mean())


def _look_again(image: Image) -> Mask | None:
    """Return what looks like background on a photo by itself, learned again at its frame.

    It is a second opinion, free of the other photos and of the part's own mask. None where the
    photo alone does not tell.
    """
    small = shrink(image)
    guess = guess_part(small, relative_colour(small), None)
    if guess.certainty < LOOKS_SURE:
        return None
    tolerance_px = round(2 * max(1.0, max(image.shape[:2]) / OUTLINE_PX))
    closed = morph(guess.mask, cv2.MORPH_CLOSE, 3)
    return ~grow_mask(_place_outline(image, closed), tolerance_px)


def _place_outline(image: Image, rough: Mask) -> Mask:
    """Return the mask at the image's size, its outline where the colour is half the part's.

    Every pixel near the outline is compared with the mean colours of the part and of the background
    near it. The mask is then eroded by one pixel, so that it stays inside the part.
    """
    size_wh = image.shape[1::-1]
    scale = min(1.0, OUTLINE_PX / max(size_wh))
    fine_wh = (round(size_wh[0] * scale), round(size_wh[1] * scale))
    soft = cv2.resize(rough.astype(np.float32), fine_wh, interpolation=cv2.INTER_LINEAR)
    if not (soft > 0.5).any():
        return np.zeros(image.shape[:2], bool)
    step = max(1.0, max(fine_wh) / max(rough.shape))  # one pixel of the rough mask
    window = mask_window(np.asarray(soft > 0.5), round(6 * step))
    small = image if scale == 1 else cv2.resize(image, fine_wh, interpolation=cv2.INTER_AREA)
    mask = np.zeros(soft.shape, np.float32)
    # Lenses blur linear light, so that half of the step in linear light is the outline.
    linear = (np.arange(256, dtype=np.float32) / 255) ** 2.2  # of each sRGB level
    light = np.asarray(linear[small[window]], np.float32)
    mask[window] = _halve(light, soft[window] > 0.5, step)
    if scale < 1:
        mask = cv2.resize(mask, size_wh, interpolation=cv2.INTER_LINEAR)
    return morph(np.asarray(mask > 0.6), cv2.MORPH_ERODE, max(1, round(0.7 / scale)))


def _halve(colour: Map, mask: Mask, step: float) -> Mask:
    """Return the mask with its outline moved, by 2 ``step`` at most, to half the colour's step."""
    colour = cv2.GaussianBlur(colour, (0, 0), 0.7)
    reach = 2 * step
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    side = 2 * int(2 * reach) + 1
    kernel = np.ones((side, side), np.uint8)
    # Certain are pixels further than ``reach`` from the outline; where nothing near lies so deep,
    # as in thin parts, those of more than 0.6 of the greatest depth near them.
    part = inside > np.minimum(reach, 0.6 * cv2.dilate(inside, kernel))
    ground = outside > np.minimum(reach, 0.6 * cv2.dilate(outside, kernel))
    near = []  # the mean colours of part and background around each pixel
    for known in (part, ground):
        weight = cv2.blur(known.astype(np.float32), (side, side))
        total = cv2.blur(colour * known[..., None], (side, side))
        near.append(total / np.maximum(weight, 1e-6)[..., None])
    way = near[0] - near[1]
    # Where a colour lies on the line between the two: 0 = background, 1 = part.
    along = np.sum((colour - near[1]) * way, axis=2) / np.maximum(np.sum(way * way, axis=2), 1e-6)
    return np.asarray(part | (~ground & (outside <= step) & (along > 0.5)))
