"""Where the part is on photos of good parts, so that defects are painted on it only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.colour import to_lab
from synthgen.errors import ShapeError
from synthgen.geometry import grow_mask, mask_window, overlap

__all__ = ["Part", "PartFinder", "edge_band", "off_part_fraction", "short_side_px"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Field = NDArray[np.float32]

WORK_PX = 288  # long side that parts are looked for at
OUTLINE_PX = 512  # long side that their outlines are placed at
BAND_PX = 4  # of the working size: the frame where background is looked for
UNIT = 66.0  # of relative colour: 1 is about 1 CIELAB unit at mid lightness
DARKEST = -42.0  # lightness of the deepest shadow: about 0.15 of the light is left
FLOOR = np.array([1.5, 1.0, 1.0], np.float32)  # sensor noise and JPEG, in the same units
CERTAIN = 0.5  # of 0..1, for a photo by itself
SAMPLE = 40  # photos that are looked at to learn what a folder shows
ENOUGH = 6  # photos for a fixed camera
IS_OFF = 4.0  # deviations from the background, in its own spread


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Part:
    """Where the part is on a photo, and how sure that is.

    ``mask``: (H, W), None = defects may go anywhere. ``finding``: the part was found; the picture
    shows surface only; or there is background, but the part was not found.
    """

    mask: Mask | None
    finding: Literal["part", "surface", "unsure"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Ground:
    """A background: the colour (H, W, 3) that it has, or would have, everywhere; its spread (3)."""

    expected: Field
    spread: Field
    border_fraction: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Guess:
    mask: Mask
    certainty: float  # 0..1


def _shrink(image: Image) -> Image:
    scale = WORK_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(16, round(image.shape[1] * scale)), max(16, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _relative_colour(image: Image, blur_px: float = 1.0) -> Field:
    """Return lightness and chroma (H, W, 3) in which a shadow moves lightness only.

    Where light is scaled by s, CIELAB's L + 16, a and b are all scaled by the cube root of s, so
    ln(L + 16) is shifted by ln(s) / 3, and a / (L + 16), b / (L + 16) stay.
    """
    lab = cv2.GaussianBlur(to_lab(image), (0, 0), blur_px)
    light = lab[..., 0] + 16
    parts = [np.log(light / 66), lab[..., 1] / light, lab[..., 2] / light]
    return np.asarray(UNIT * np.stack(parts, axis=2), np.float32)


def _basis(size_hw: tuple[int, int], order: int) -> Field:
    """Return the polynomials (H, W, N) that light falls off by."""
    y, x = np.mgrid[-1 : 1 : size_hw[0] * 1j, -1 : 1 : size_hw[1] * 1j]
    terms = [np.ones_like(x), x, y, x * x, x * y, y * y][: 3 if order == 1 else 6]
    return np.asarray(np.stack(terms, axis=2), np.float32)


def _frame(size_hw: tuple[int, int]) -> Mask:
    frame = np.ones(size_hw, bool)
    frame[BAND_PX:-BAND_PX, BAND_PX:-BAND_PX] = False
    return frame


def _spread_of(residuals: Field) -> Field:
    """Return the standard deviation (3) of residuals (N, 3) by their median absolute deviation."""
    return np.maximum(1.4826 * np.median(np.abs(residuals), axis=0), FLOOR).astype(np.float32)


def _deviation(colour: Field, ground: _Ground) -> Field:
    return np.asarray(np.linalg.norm((colour - ground.expected) / ground.spread, axis=2))


def _solve(basis: Field, colour: Field) -> Field:
    """Return least-squares coefficients (N, 3) of colours (M, 3) over a basis (M, N)."""
    square = basis.T @ basis + 1e-3 * np.eye(basis.shape[1], dtype=np.float32)
    return np.asarray(np.linalg.solve(square, basis.T @ colour), np.float32)


def _fit_ground(colour: Field, seed: Mask) -> _Ground | None:
    """Fit a background that is like the pixels of ``seed`` on the frame, and what joins them."""
    sparse, sown = colour[::3, ::3], seed[::3, ::3]
    frame = _frame(colour.shape[:2])[::3, ::3]
    bases = {order: _basis(sparse.shape[:2], order) for order in (1, 2)}
    expected = np.broadcast_to(np.median(sparse[sown], axis=0), sparse.shape)
    spread = _spread_of(sparse[sown] - expected[sown])
    reach, order = 0.0, 1
    coefficients = np.zeros((3, 3), np.float32)
    for turn in range(5):
        off = np.linalg.norm((sparse - expected) / spread, axis=2)
        like = (off < IS_OFF).astype(np.uint8)
        solid = cv2.morphologyEx(like, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) | (like & frame)
        _, labels = cv2.connectedComponents(solid)
        at_frame = np.zeros(int(labels.max()) + 1, bool)
        np.put(at_frame, labels[frame], True)
        at_frame[0] = False
        taken = at_frame[labels] & ((off < 2) | frame if turn == 0 else True)
        if taken.sum() < 24:
            return None
        reach = float(taken[frame].mean())
        order = 2 if reach > 0.5 and turn > 1 else 1
        coefficients = _solve(bases[order][taken], sparse[taken])
        expected = (bases[order] @ coefficients).astype(np.float32)
        spread = _spread_of(sparse[taken] - expected[taken])
    whole = np.asarray(_basis(colour.shape[:2], order) @ coefficients, np.float32)
    return _Ground(expected=whole, spread=spread, border_fraction=reach)


def _guess_grounds(colour: Field) -> Iterator[_Ground]:
    """Yield the backgrounds that the whole frame, and each of its sides, may show."""
    frame = _frame(colour.shape[:2])
    middles: list[Field] = []
    found: list[_Ground] = []
    sides = [frame] + [np.zeros_like(frame) for _ in range(4)]
    sides[1][:BAND_PX] = sides[2][-BAND_PX:] = True
    sides[3][:, :BAND_PX] = sides[4][:, -BAND_PX:] = True
    for side in sides:
        middle = np.median(colour[side], axis=0)
        if any(np.linalg.norm(middle - other) < 8 for other in middles):
            continue
        middles.append(middle)
        ground = _fit_ground(colour, side & (np.linalg.norm(colour - middle, axis=2) < 12))
        if ground is None or any(np.abs(ground.expected - o.expected).mean() < 3 for o in found):
            continue
        found.append(ground)
        yield ground


def _components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the label of each pixel, 0 = none, and the area in px of each label."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return labels, areas


def _morph(mask: Mask, operation: int, radius_px: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1,) * 2)
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), operation, kernel) > 0)


def _find_texture(image: Image, plain: Mask) -> Mask:
    """Return where the surface is rougher than the background's, also where both look alike.

    Roughness is the logarithm of the curvature of relative lightness, which a shadow leaves as it
    is. What is as thin as an outline does not count: shadows have outlines.
    """
    light = np.ascontiguousarray(_relative_colour(image, 0.7)[..., 0])
    rough = np.log(cv2.blur(np.abs(cv2.Laplacian(light, cv2.CV_32F)), (5, 5)) + 0.2)
    known = rough[plain]
    if known.size < 50:
        return np.zeros(plain.shape, bool)
    middle = float(np.median(known))
    limit = middle + max(0.9, 5 * 1.4826 * float(np.median(np.abs(known - middle))))
    return _morph(_morph(np.asarray(rough > limit), cv2.MORPH_OPEN, 5), cv2.MORPH_ERODE, 2)


def _keep_hidden(textured: Mask, other: Mask) -> Mask:
    """Return the texture of pieces that hide in the background's colour; of no other piece.

    Where all of a piece stands out by colour, texture would only add its shadow's two outlines.
    """
    labels, areas = _components(_morph(textured | other, cv2.MORPH_CLOSE, 2))
    hidden = np.bincount(labels[_morph(textured & ~other, cv2.MORPH_OPEN, 1)], minlength=areas.size)
    return textured & (hidden > 0.1 * areas)[labels]


def _drop_seams(other: Mask) -> Mask:
    """Return the mask without thin pieces that reach the frame: seams, edges of trays."""
    labels, areas = _components(_morph(other, cv2.MORPH_CLOSE, 3))
    depth = cv2.distanceTransform(other.astype(np.uint8), cv2.DIST_L2, 3)
    thickest = np.zeros(areas.size)
    for label in np.unique(labels[_frame(other.shape)]):
        thickest[label] = depth[labels == label].max()
    at_frame = np.zeros(areas.size, bool)
    at_frame[labels[_frame(other.shape)]] = True
    gone = at_frame & (thickest < 5)
    gone[0] = False
    return other & ~gone[labels]


def _find_core(rest: Field, other: Mask, shadow_like: Mask) -> Mask:
    """Return what cannot be shadow: other chroma, lighter, too dark, or the darker of two modes.

    A piece that is shadow-like as a whole holds its part, too: no shadow is without one. What
    stands out far less than the rest of its piece is a reflection.
    """
    core = other & ~shadow_like
    labels, areas = _components(_morph(other, cv2.MORPH_CLOSE, 2))
    light, distance = rest[..., 0], np.linalg.norm(rest, axis=2)
    for label in np.flatnonzero(areas > 0.0005 * other.size):
        piece = other & (labels == label)
        certain = core & piece
        if certain.sum() >= 0.12 * piece.sum():
            weak = certain & (distance < 0.35 * np.percentile(distance[certain], 75))
            core &= ~_morph(weak, cv2.MORPH_OPEN, 1)
            continue
        values = light[piece & ~core]
        low, high = float(values.min()), float(values.max())
        scaled = (255 * (values - low) / max(high - low, 1e-3)).astype(np.uint8)
        cut, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_OTSU)
        darker, lighter = values[scaled <= cut], values[scaled > cut]
        two = darker.size > 0.15 * values.size and lighter.size > 0.03 * values.size
        two = two and darker.mean() < lighter.mean() - 2.5 * max(darker.std(), lighter.std(), 1.5)
        limit = low + (cut + 0.5) * (high - low) / 255 if two else np.inf
        core |= piece & (light <= limit)
    return core


def _settle(core: Mask, shadow_like: Mask) -> Mask:
    """Return what is shadow for sure: where a piece has much that cannot be shadow, the rest is."""
    labels, areas = _components(_morph(core | shadow_like, cv2.MORPH_CLOSE, 2))
    cores = np.bincount(labels[core], minlength=areas.size)
    shadows = np.bincount(labels[shadow_like], minlength=areas.size)
    is_settled = cores > 0.5 * shadows
    return shadow_like & is_settled[labels] & ~_morph(core, cv2.MORPH_CLOSE, 1)


def _cut(rest: Field, off: Field, core: Mask, shadow_like: Mask) -> Mask:
    """Return the part as GrabCut (Rother et al., 2004) sees it in colours less the background."""
    other = core | shadow_like
    settled = _settle(core, shadow_like)
    open_question = shadow_like & ~settled
    if not core.any() or other.mean() > 0.97 or open_question.sum() < 0.05 * core.sum():
        return core
    rows, columns = (np.flatnonzero(other.any(axis=axis)) for axis in (1, 0))
    top, left = max(0, rows[0] - 8), max(0, columns[0] - 8)
    window = np.s_[top : rows[-1] + 9, left : columns[-1] + 9]
    seeds = np.full(off.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[off < 2.5] = cv2.GC_BGD
    seeds[settled] = cv2.GC_BGD
    seeds[core] = cv2.GC_PR_FGD
    seeds[_morph(core, cv2.MORPH_ERODE, 1)] = cv2.GC_FGD
    seeds = np.ascontiguousarray(seeds[window])
    if not ((seeds & 1) == 0).any() or not ((seeds & 1) == 1).any():
        return core
    image = np.ascontiguousarray(np.clip(128 + 2 * rest, 0, 255).astype(np.uint8)[window])
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # its k-means starts at random
    cv2.grabCut(image, seeds, None, *models, 2, cv2.GC_INIT_WITH_MASK)
    mask = np.zeros(off.shape, bool)
    mask[window] = (seeds & 1) == 1
    return mask & other


def _tidy(mask: Mask) -> Mask:
    """Return the mask without specks and pin holes."""
    holes, areas = _components(~mask)
    mask = mask | (areas < 0.00015 * mask.size)[holes] & (holes > 0)
    mask = _morph(mask, cv2.MORPH_OPEN, 1)
    labels, areas = _components(mask)
    at_frame = np.zeros(areas.size, bool)
    at_frame[labels[_frame(mask.shape)]] = True
    least = np.where(at_frame, 0.5, 0.04) * float(areas.max())
    return mask & (areas >= np.maximum(0.0006 * mask.size, least))[labels]


def _separate(image: Image, colour: Field, ground: _Ground) -> _Guess:
    """Return the part that lies on a background, and how certain that is."""
    rest = colour - ground.expected
    off = np.asarray(np.linalg.norm(rest / ground.spread, axis=2), np.float32)
    other = _drop_seams(off > IS_OFF)
    textured = _keep_hidden(_find_texture(image, (off < 2.5) & ~grow_mask(other, 4)), other)
    dark = np.clip(np.exp(-colour[..., 0] / UNIT), 1, 3)  # where sensor noise takes more of chroma
    chroma_off = np.linalg.norm(rest[..., 1:] / np.maximum(3 * ground.spread[1:], 4), axis=2)
    shadow_like = other & (chroma_off < dark) & (rest[..., 0] < 0) & (rest[..., 0] > DARKEST)
    textured &= ~(shadow_like & grow_mask(_morph(off < 2.5, cv2.MORPH_OPEN, 2), 6))
    shadow_like &= ~textured
    core = _find_core(rest, other | textured, shadow_like)
    mask = _cut(rest, off, core | textured, shadow_like & ~core)
    mask = _tidy(mask)
    return _Guess(mask=mask, certainty=_judge(mask, rest, off, ground))


def _rise(value: float, low: float, high: float) -> float:
    """Return 0 up to ``low``, 1 from ``high`` on, and a line between.

    >>> _rise(3.0, 2.0, 4.0)
    0.5
    """
    return float(np.clip((value - low) / (high - low), 0, 1))


def _judge(mask: Mask, rest: Field, off: Field, ground: _Ground) -> float:
    """Return how certain it is, 0..1, that a mask is a part on a background.

    The outline is a step that the background has nowhere else, all around; nothing else stands
    out of the background; the part is not a speck and does not run along the frame.
    """
    area = float(mask.mean())
    plain = (off < 2.5) & ~grow_mask(mask, 5)
    if area < 0.001 or plain.mean() < 0.05:
        return 0.0
    slopes = [cv2.Sobel(rest, -1, *way) for way in ((1, 0), (0, 1))]
    steep = np.sqrt(np.sum(slopes[0] ** 2 + slopes[1] ** 2, axis=2)) / 8
    frame = grow_mask(_frame(mask.shape), 1)
    outline = grow_mask(mask, 1) & ~mask & ~frame
    if not outline.any():
        return 0.0
    steps = cv2.dilate(steep, np.ones((5, 5), np.uint8))[outline]
    usual, most = (float(v) for v in np.percentile(steep[plain], [90, 98]))
    stray = float(((off > IS_OFF) & ~grow_mask(mask, 8) & ~frame).sum() / mask.sum())
    solid = float(_morph(plain, cv2.MORPH_OPEN, 4).sum() / plain.sum())
    sides = [float(v.mean()) for v in (mask[1], mask[-2], mask[:, 1], mask[:, -2])]
    hugging = float((mask & grow_mask(_frame(mask.shape), 6)).sum() / mask.sum())
    around = sum(side > 0.1 for side in sides) > 2
    across = min(sides[:2]) > 0.02 or min(sides[2:]) > 0.02  # a stripe of the surface, or a cable
    certainty = (
        _rise(float(np.median(steps)) / max(usual, 0.3), 2, 6)
        * _rise(float((steps > max(most, 1.0)).mean()), 0.6, 0.95)
        * (1 - _rise(stray, 0.6, 1.4))
        * _rise(solid, 0.3, 0.7)
        * min(1.0, (area / 0.008) ** 0.7)
        * _rise(ground.border_fraction, 0.0, 0.3)
        * (1 - _rise(hugging, 0.35, 0.7))
        * (0.0 if around else 0.4 if across else 1.0)
    )
    return float(certainty)


def _guess_part(image: Image, colour: Field, camera: _Camera | None) -> _Guess:
    """Return the most certain part of a small photo; a mask without a pixel where there is none."""
    best = _Guess(mask=np.zeros(image.shape[:2], bool), certainty=0.0)
    table = None if camera is None else camera.fit(colour)
    if table is not None:
        best = _separate(image, colour, table)
        if best.certainty > CERTAIN:
            return best
    for ground in _guess_grounds(colour):
        guess = _separate(image, colour, ground)
        if guess.certainty > best.certainty:
            best = guess
        if best.certainty > 0.9:
            break
    return best


def _find_strips(image: Image) -> Mask:
    """Return black strips along the frame, beyond the edge of a part that fills the picture."""
    light = cv2.GaussianBlur(to_lab(image)[..., 0], (0, 0), 1)
    dark = light < max(12.0, 0.2 * float(np.median(light)))
    dark &= light < 0.35 * float(np.median(light))
    dark = _morph(dark, cv2.MORPH_OPEN, 2)
    labels, areas = _components(dark)
    keep = np.zeros(areas.size, bool)
    for row in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        reach = np.bincount(row, minlength=areas.size) / row.size
        keep |= reach > 0.5
    keep[0] = False
    strips = keep[labels]
    return strips if 0.015 < strips.mean() < 0.5 else np.zeros_like(strips)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Camera:
    """What a fixed camera's photos have in common: each pixel's middle relative colour."""

    middle: Field

    def fit(self, colour: Field) -> _Ground | None:
        """Return the empty table in the light of one photo, None where it shows another place."""
        if colour.shape != self.middle.shape:
            return None
        rest = colour - self.middle
        basis = _basis(colour.shape[:2], 1)
        shift = np.broadcast_to(np.median(rest, axis=(0, 1)), rest.shape)
        for _ in range(3):
            like = np.linalg.norm(rest - shift, axis=2) < 6
            if like.mean() < 0.4:
                return None
            shift = basis @ _solve(basis[like], rest[like])
        expected = np.asarray(self.middle + shift, np.float32)
        spread = _spread_of((rest - shift)[like])
        return _Ground(expected=expected, spread=spread, border_fraction=float(like.mean()))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Folder:
    """What photos that belong together taught: how often a part is found; table; place."""

    found_fraction: float
    camera: _Camera | None = None  # the part lies elsewhere on each photo
    standing: _Camera | None = None  # the part always lies at ``place``
    place: Mask | None = None


def _learn(photos: Sequence[Callable[[], Image]]) -> _Folder:
    """Look at up to 40 photos, spread over all of them."""
    chosen = np.unique(
        np.linspace(0, len(photos) - 1, min(len(photos), SAMPLE)).round().astype(int)
    )
    images = [_shrink(photos[index]()) for index in chosen]
    if not images:
        return _Folder(found_fraction=0.5)
    colours = [_relative_colour(image) for image in images]
    guesses = [_guess_part(i, c, None) for i, c in zip(images, colours, strict=True)]
    found = sum(guess.certainty > CERTAIN for guess in guesses)
    found_fraction = (found + 1) / (len(guesses) + 2)  # few photos say little
    sizes = [image.shape for image in images]
    usual = max(sorted(set(sizes)), key=sizes.count)
    alike = [n for n, size in enumerate(sizes) if size == usual]
    if len(alike) < ENOUGH:
        return _Folder(found_fraction=found_fraction)
    camera = _Camera(middle=np.median(np.stack([colours[n] for n in alike]), axis=0))
    fitted = [(n, camera.fit(colours[n])) for n in alike]
    tables = {n: table for n, table in fitted if table is not None}
    fitting = sorted(tables)
    if len(fitting) < max(ENOUGH, 0.6 * len(alike)):
        return _Folder(found_fraction=found_fraction)
    moved = [_separate(images[n], colours[n], tables[n]) for n in fitting]
    certain = [guess for guess in moved if guess.certainty > 0.5 * CERTAIN]
    often = np.mean([guess.mask for guess in certain], axis=0) if certain else np.ones(1)
    if len(certain) > 0.6 * len(fitting) and float(np.max(often)) < 0.75:
        share = len(certain) / len(fitting)
        return _Folder(found_fraction=max(found_fraction, share), camera=camera)
    masks = [guesses[n].mask for n in fitting if guesses[n].certainty > CERTAIN]
    if len(masks) < max(ENOUGH, 0.5 * len(fitting)):
        return _Folder(found_fraction=found_fraction)
    place = np.asarray(np.mean(masks, axis=0) > 0.5)
    if float(np.median([overlap(mask, place) for mask in masks])) < 0.85:
        return _Folder(found_fraction=found_fraction)
    return _Folder(found_fraction=found_fraction, standing=camera, place=place)


class PartFinder:
    """Finds parts on photos; a fixed camera's photos are used together.

    ``photos`` read (H, W, 3) uint8 RGB photos that belong together; up to 40 of them, spread over
    all, are read at the first ``find``.
    """

    def __init__(self, photos: Sequence[Callable[[], Image]]) -> None:
        self._photos = tuple(photos)
        self._folder: _Folder | None = None

    def find(self, image: Image) -> Part:
        """Return where the part is on an (H, W, 3) RGB photo; raises ShapeError."""
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 16:
            raise ShapeError(
                f"a photo is {image.shape}; parts are found on (height, width, 3) of 16 px or more"
            )
        if self._folder is None:
            self._folder = _learn(self._photos)
        folder = self._folder
        small = _shrink(image)
        colour = _relative_colour(small)
        guess = _guess_part(small, colour, folder.camera)
        if folder.standing is not None and folder.place is not None:
            is_there = (
                overlap(guess.mask, folder.place) > 0.6
                if guess.mask.shape == folder.place.shape
                else False
            )
            if not is_there and folder.standing.fit(colour) is not None:
                guess = _Guess(mask=_morph(folder.place, cv2.MORPH_ERODE, 3), certainty=1.0)
        return _decide(image, small, guess, folder.found_fraction)


def _decide(image: Image, small: Image, guess: _Guess, found_fraction: float) -> Part:
    """Return the finding: what is rare among the photos must be very clear."""
    needed, doubtful = CERTAIN, 0.25
    if found_fraction < 0.33:
        needed = 0.95 if guess.mask.mean() > 0.04 else 2.0
        doubtful = needed if found_fraction < 0.22 else CERTAIN
    elif found_fraction > 0.7:
        needed, doubtful = 0.3, 0.0
    if guess.certainty >= needed:
        mask = _place_outline(image, guess.mask)
        if mask.any():
            return Part(mask=mask, finding="part")
    strips = _find_strips(small)
    if strips.any() and found_fraction < 0.6:
        size_wh = image.shape[1::-1]
        rough = cv2.resize((~grow_mask(strips, 2)).astype(np.uint8), size_wh, interpolation=0)
        return Part(mask=rough > 0, finding="part")
    return Part(mask=None, finding="unsure" if guess.certainty >= doubtful else "surface")


def short_side_px(part: Part, size_hw: tuple[int, int]) -> float:
    """Return the short side of the largest piece's minimum-area rectangle, or the image's."""
    if part.mask is None or not part.mask.any():
        return float(min(size_hw))
    outlines, _ = cv2.findContours(
        part.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    largest = max(outlines, key=cv2.contourArea)
    return float(min(cv2.minAreaRect(largest)[1])) + 1.0  # pixel centres to pixel edges


def edge_band(mask: Mask, width_px: float) -> Mask:
    """Return the part's pixels within ``width_px`` of its outline, not of the image's border.

    >>> edge_band(np.array([[1, 1, 1, 1, 0]], dtype=bool), 2).astype(int).tolist()
    [[0, 0, 1, 1, 0]]
    """
    padded = np.pad(mask, 1, mode="edge").astype(np.uint8)  # the part goes on beyond the border
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return mask & (depth <= width_px) if not mask.all() else np.zeros_like(mask)


def off_part_fraction(source: Image, label: Mask, part: Part) -> float:
    """Return the share of a label's pixels that lie on background, by the look of the source.

    ``part.mask`` is not used: background is learned anew at the photo's frame. NaN where there is
    no background, or the label is empty.
    """
    if source.shape[:2] != label.shape:
        raise ShapeError(f"a label is {label.shape} but its source {source.shape[:2]}")
    if part.finding == "surface" or not label.any():
        return float("nan")
    small = _shrink(source)
    guess = _guess_part(small, _relative_colour(small), None)
    if guess.certainty < 0.25:
        return float("nan")
    tolerance_px = round(2 * max(1.0, max(label.shape) / OUTLINE_PX))
    on_part = grow_mask(
        _place_outline(source, _morph(guess.mask, cv2.MORPH_CLOSE, 3)), tolerance_px
    )
    return float(1 - on_part[label].mean())


def _place_outline(image: Image, rough: Mask) -> Mask:
    """Return the mask at the image's size, its outline where the colour is half the part's.

    Every pixel near the outline is compared with the mean colour of the part, and of what is not
    part, near it. One pixel is left off to keep to the inside.
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
    mask[window] = _halve(_to_linear(small[window]), soft[window] > 0.5, step)
    if scale < 1:
        mask = cv2.resize(mask, size_wh, interpolation=cv2.INTER_LINEAR)
    return _morph(np.asarray(mask > 0.6), cv2.MORPH_ERODE, max(1, round(0.7 / scale)))


def _to_linear(image: Image) -> Field:
    """Return linear light 0..1 of sRGB: lenses blur light, so half of its step is the outline."""
    table = (np.arange(256, dtype=np.float32) / 255) ** 2.2
    return np.asarray(table[image], np.float32)


def _halve(colour: Field, mask: Mask, step: float) -> Mask:
    """Return the mask with its outline moved, by 2 ``step`` at most, to half the colour's step."""
    colour = cv2.GaussianBlur(colour, (0, 0), 0.7)
    reach = 2 * step
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    side = 2 * int(2 * reach) + 1
    kernel = np.ones((side, side), np.uint8)
    part = inside > np.minimum(reach, 0.6 * cv2.dilate(inside, kernel))
    ground = outside > np.minimum(reach, 0.6 * cv2.dilate(outside, kernel))
    near = []
    for known in (part, ground):
        weight = cv2.blur(known.astype(np.float32), (side, side))
        total = cv2.blur(colour * known[..., None], (side, side))
        near.append(total / np.maximum(weight, 1e-6)[..., None])
    way = near[0] - near[1]
    along = np.sum((colour - near[1]) * way, axis=2) / np.maximum(np.sum(way * way, axis=2), 1e-6)
    return np.asarray(part | (~ground & (outside <= step) & (along > 0.5)))
