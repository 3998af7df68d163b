"""Defects whose true mask is known to the pixel, to measure labels on.

Three kinds, each on a drawn surface, at contrasts from invisible to strong:

* *blend*: a defect's shape filled with one colour step, its edge half a pixel soft. True where it
  covers half of a pixel.
* *sketch*: what ``backend=sketch`` paints. True on the drawn mask, where the change is visible.
* *perlin*: another surface blended into thresholded noise, as anomalib and DRAEM do (Zavrtanik et
  al. 2021, https://arxiv.org/abs/2108.07610, section 3.1). True where the change is visible.

The surface may bear traces of JPEG and sensor noise, and half of the finished images come from a
backend that paints its own grain inside the repaint mask. A third of them were asked for otherwise
than they were painted: shifted, and larger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from synthgen.defects import Scene, lay_on
from synthgen.imaging.geometry import grow_mask
from synthgen.imaging.images import composite, compress_jpeg, to_levels
from synthgen.imaging.optics import estimate_optics
from synthgen.planning.plan import DefectClass
from synthgen.quality.realised import delta_e, realise_mask, to_lab
from synthgen.samples.arrays import Image, Mask
from synthgen.samples.sample import Candidate, Condition, SampleSpec, SourceImage
from synthgen.samples.seeds import stream
from synthgen.sources.surfaces import draw_surface
from synthgen.sources.surfaces.noise import fractal_noise, white_noise

__all__ = ["JUST_NOTICEABLE", "KINDS", "Case", "draw_case"]

Rng = np.random.Generator

KINDS = ("blend", "blend", "sketch", "perlin")
JUST_NOTICEABLE = 2.3  # Delta E (Mahy et al. 1994)
CONTRAST = (1.0, 45.0)  # Delta E


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Case:
    """One finished image and its truth (H, W). ``contrast``: mean true change in it, Delta E."""

    kind: str
    candidate: Candidate
    truth: Mask
    contrast: float
    grain: float  # deviation, in grey levels, of the grain that the backend painted again
    jpeg_quality: int | None
    is_obeyed: bool  # False: it was asked for elsewhere, and larger


def draw_case(
    seed: int, number: int, classes: Mapping[str, DefectClass], size_px: int = 160
) -> Case:
    """Draw a case of one of the classes; one seed and number give the same case everywhere.

    Images are ``size_px`` a side. Kinds take turns, as ``KINDS`` says, and every class is as likely
    as any other. The truth has 4 px or more; a drawing with less is drawn again.
    """
    rng = stream(seed, "known truth", number)
    kind = KINDS[number % len(KINDS)]
    while True:
        surface = draw_surface(rng, (size_px, size_px)).image
        quality = int(rng.integers(40, 96)) if rng.random() < 0.4 else None
        if quality is not None:
            surface = compress_jpeg(surface, quality)
        defect_class = str(rng.choice(sorted(classes)))
        draw = {"blend": _blend, "sketch": _sketch, "perlin": _perlin}[kind]
        marked, asked, truth = draw(rng, surface, classes[defect_class])
        if truth.sum() >= 4:
            break
    contrast = float(delta_e(surface, marked)[truth].mean())
    repaint = grow_mask(asked, int(rng.integers(3, 8)))
    is_obeyed = bool(rng.random() < 2 / 3)
    if not is_obeyed:  # asked for up to 5 px beside it, and up to 3 px larger
        down, right = rng.integers(-5, 6, 2)
        move = np.array([[1, 0, right], [0, 1, down]], np.float32)
        moved = cv2.warpAffine(asked.astype(np.uint8), move, asked.shape[::-1])
        asked = grow_mask(moved > 0, int(rng.integers(0, 4)))
        repaint |= grow_mask(asked, 3)
    grain = float(rng.uniform(0.5, 5)) if rng.random() < 0.5 else 0.0
    if grain:
        shared, own = (white_noise(rng, asked.shape)[..., None] * grain for _ in range(2))
        source = to_levels(surface + shared)
        painted = to_levels(marked + own)
    else:
        source, painted = surface, marked
    image = composite(source, (0, 255), source, painted, repaint).astype(np.uint8)
    close_px = classes[defect_class].close_px
    condition = _condition(source, asked, repaint, defect_class, close_px)
    realised = realise_mask(source, image, repaint, asked, condition.label_close_px)
    candidate = Candidate(condition, image, image, realised)
    return Case(
        kind=kind,
        candidate=candidate,
        truth=truth,
        contrast=contrast,
        grain=grain,
        jpeg_quality=quality,
        is_obeyed=is_obeyed,
    )


def _blend(rng: Rng, surface: Image, kind: DefectClass) -> tuple[Image, Mask, Mask]:
    """Return the marked surface, what was asked for and the truth, as the other kinds do."""
    asked = _place(rng, surface, kind)[1]
    cover = cv2.GaussianBlur(asked.astype(np.float32), (0, 0), 0.6)
    lab = to_lab(surface)
    step = rng.normal(0, 1, 3) * (1, 0.35, 0.35)
    is_dark = bool(asked.any()) and lab[asked][:, 0].mean() < 50
    step[0] = abs(step[0]) if is_dark else -abs(step[0])
    low, high = np.log(CONTRAST)
    step *= np.exp(rng.uniform(low, high)) / np.linalg.norm(step)
    shifted = (lab + cover[..., None] * step).astype(np.float32)
    marked = to_levels(cv2.cvtColor(shifted, cv2.COLOR_LAB2RGB) * 255)
    marked[cover == 0] = surface[cover == 0]  # no rounding where nothing is
    return _as_seen(surface, marked), asked, cover >= 0.5


def _sketch(rng: Rng, surface: Image, kind: DefectClass) -> tuple[Image, Mask, Mask]:
    drawn, asked = _place(rng, surface, kind)
    sketch = _as_seen(surface, drawn)
    return sketch, asked, asked & (delta_e(surface, sketch) >= JUST_NOTICEABLE)


def _perlin(rng: Rng, surface: Image, kind: DefectClass) -> tuple[Image, Mask, Mask]:
    noise = fractal_noise(rng, surface.shape[:2], rng.uniform(25, 60), octaves=3)
    asked = noise > rng.uniform(1.2, 1.9)
    other = draw_surface(rng, surface.shape[:2]).image
    fraction = rng.uniform(0.15, 1)
    mixed = to_levels(surface + fraction * asked[..., None] * (other.astype(np.float32) - surface))
    mixed = _as_seen(surface, mixed)
    return mixed, asked, asked & (delta_e(surface, mixed) >= JUST_NOTICEABLE)


def _as_seen(surface: Image, marked: Image) -> Image:
    """Return the defect without colour where the camera of the surface sees none."""
    everywhere = np.ones(surface.shape[:2], bool)
    return composite(surface, (0, 255), surface, marked, everywhere).astype(np.uint8)


def _place(rng: Rng, surface: Image, kind: DefectClass) -> tuple[Image, Mask]:
    assert kind.shape is not None  # the classes of ``defect`` have one
    size_px = len(surface)
    optics = replace(estimate_optics(surface), light_deg=float(rng.uniform(0, 360)))
    drawing = kind.shape.draw(rng, float(rng.random()), Scene(short_side_px=size_px, optics=optics))
    middle = np.argwhere(drawing.mask).mean(axis=0) if drawing.mask.any() else np.zeros(2)
    at = rng.integers(size_px // 4, size_px - size_px // 4, 2)
    corner = int(at[0] - middle[0]), int(at[1] - middle[1])
    return lay_on(surface, drawing, corner, optics)


def _condition(
    source: Image, asked: Mask, repaint: Mask, defect_class: str, close_px: int
) -> Condition:
    spec = SampleSpec(
        sample_id="known-truth",
        index=0,
        seed=0,
        defect_class=defect_class,
        class_id=1,
        source_id="drawn",
        group="drawn",
        split="all",
        prompt="",
        negative_prompt="",
        instances=1,
        severity=0.5,
    )
    return Condition(
        spec=spec,
        source=SourceImage(
            source_id="drawn",
            group="drawn",
            pixels=source,
            window=(0.0, 255.0),
            path=None,
            surface="surface",
        ),
        image=source,
        defect_mask=asked,
        repaint_mask=repaint,
        instance_map=asked.astype(np.uint8),
        sketch=source,
        controls={"canny": np.zeros_like(source)},
        label_close_px=close_px,
    )
