"""What is varied: *source*, a good picture before a defect is drawn on it, or *finish*, an image.

A finish takes the finished image, its clean partner and all their masks alike, as one camera would
see them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthgen.conditioning.augment import Augment
from synthgen.errors import ConfigError, SourceError
from synthgen.imaging.geometry import grow_mask
from synthgen.imaging.images import to_rgb8
from synthgen.samples.sample import Candidate, SourceImage
from synthgen.samples.seeds import stream

__all__ = ["SPREAD_PX", "check_finish", "finish_candidate", "vary_source"]

SPREAD_PX = 32  # as far as a finish may carry a change: a JPEG's block is 16 px, a blur's core less
PROBES = 16  # draws that are looked at before a run
PROBE_PX = 160


def vary_source(
    augment: Augment, source: SourceImage, region: NDArray[np.bool_] | None, seed: int
) -> tuple[SourceImage, NDArray[np.bool_] | None]:
    """Return a source, and the region where defects may go, as this sample sees them.

    ``seed`` is the sample's own; every try sees the same. The grey window stays the photo's.
    """
    masks = [] if region is None else [region]
    (pixels,), moved = augment(stream(seed, "augment source"), [source.pixels], masks)
    allowed = next(iter(moved), None)
    opaque = None if source.opaque is None else allowed  # which is opaque, wherever it has moved
    return replace(source, pixels=pixels, is_augmented=True, opaque=opaque), allowed


def finish_candidate(
    augment: Augment, candidate: Candidate, owners: NDArray[np.uint8]
) -> Candidate:
    """Return a composited image as the camera sees it, with its clean partner and its masks.

    ``owners``: the number of the defect that each pixel belongs to. The label is that of before,
    moved along. Every try of a sample is finished alike. Raises SourceError.
    """
    condition = candidate.condition
    maps = {
        "realised": candidate.realised_mask,
        "owners": owners,
        "defect": condition.defect_mask,
        "repaint": condition.repaint_mask,
        "instances": condition.instance_map,
        "sketch": condition.sketch,
        **{f"control {name}": control for name, control in condition.controls.items()},
    }
    if condition.allowed is not None:
        maps["allowed"] = condition.allowed
    rng = stream(condition.spec.seed, "augment finish")
    pictures = [candidate.pixels, condition.source.pixels]
    (pixels, clean), after = augment(rng, pictures, list(maps.values()))
    moved = dict(zip(maps, after, strict=True))
    window = condition.source.window
    seen = replace(
        condition,
        source=replace(condition.source, pixels=clean, is_augmented=True),
        image=to_rgb8(clean, window),
        defect_mask=moved["defect"],
        repaint_mask=moved["repaint"],
        instance_map=moved["instances"],
        sketch=moved["sketch"],
        controls={name: moved[f"control {name}"] for name in condition.controls},
        allowed=moved.get("allowed"),
        spread_px=SPREAD_PX,
    )
    image = to_rgb8(pixels, window)
    return Candidate(seen, pixels, image, moved["realised"], moved["owners"])


def check_finish(augment: Augment) -> None:
    """Raise ConfigError where a finish would treat an image and its clean partner differently.

    Noise that depends on the picture, or a stretch of its own levels, changes pixels far from the
    defect in the one and not in the other. Some draws are tried on a picture with a bright patch.
    """
    rng = np.random.default_rng(0)
    clean = rng.integers(60, 180, (PROBE_PX, PROBE_PX, 3), np.uint8)
    patch = np.zeros(clean.shape[:2], bool)
    patch[PROBE_PX // 2 - 8 : PROBE_PX // 2 + 8, PROBE_PX // 2 - 8 : PROBE_PX // 2 + 8] = True
    marked = np.where(patch[..., None], 255, clean).astype(np.uint8)
    try:
        draws = [
            augment(np.random.default_rng(n), [marked, clean], [grow_mask(patch, SPREAD_PX)])
            for n in range(PROBES)
        ]
    except SourceError:
        return  # of this size or in colour; the sources may be of another kind
    if any(np.any((a != b).any(axis=2) & ~near) for (a, b), (near,) in draws):
        raise ConfigError(
            "transforms change an image and its clean partner differently, even far from the "
            "defect (noise or contrast that depends on the picture, as ShotNoise, ISONoise, "
            "Equalize, CLAHE do); use them in augment.source, or GaussNoise and such"
        )
