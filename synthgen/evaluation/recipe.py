"""The choice of a recipe: which way of painting is nearest to real defects that were held back.

Taught defects are laid near where those held back were, and painted in each of a few ways. The way
that is nearest to the real ones, on pretrained features, is taken. Before that the adapter is
tested: is a held-back defect that it paints about as strong as the real one? Nothing but the
defects that were given is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthgen.evaluation.fidelity.distance import (
    measure_kid,
    measure_kid_of_subsets,
    read_random_features,
)
from synthgen.evaluation.realism.measure import read_features
from synthgen.imaging.geometry import mask_window
from synthgen.imaging.images import LUMA, to_levels
from synthgen.imaging.matching import match_optics
from synthgen.imaging.optics import estimate_optics
from synthgen.progress import stage, tell, track
from synthgen.samples.arrays import Image, Mask
from synthgen.samples.optics import Optics
from synthgen.samples.seeds import stream
from synthgen.training.adaptation.crops import (
    Augmentation,
    RealExample,
    by_class,
    draw_real_crop,
)
from synthgen.training.adaptation.recipe import (
    DEFAULT_STRENGTH,
    DEFAULT_TEXTURE,
    Paint,
    Recipe,
    Trial,
    is_as_strong,
    plan_recipe,
)
from synthgen.training.crops import Crop
from synthgen.training.features import has_features

__all__ = ["choose_recipe"]

CROPS, SIDE_PX, BATCH = 48, 64, 16
STRENGTHS = (0.35, 0.5, 0.75)
NEAR_PX = 32  # around a held-back defect: places of the same kind
FOLDS = 3  # of the photos held back, at most: a way must be nearer in each
MIN_FOLD = 8  # crops
PRETRAINED, RANDOM = "pretrained features", "random features"
EXTRAS = "pip install 'synthgen-inspection[features,evaluate]'"
Features = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """A defect laid on another surface, and the optics of that photo."""

    crop: Crop
    optics: Optics


def choose_recipe(
    taught: Sequence[RealExample],
    held: Sequence[RealExample],
    painters: Mapping[bool, Paint],
    seed: int,
    how: Literal["realism", "defaults"] = "realism",
) -> Recipe:
    """Return the recipe that paints most like the defects of ``held``.

    ``painters``: with (True) and without (False) the adapter; each paints crops (64, 64) from
    their sketches at a strength. Something else than the defaults is taken only where it is nearer
    by more than two deviations, in every fold of the photos held back; another strength only where
    the default one's defects are not as strong as real ones. An adapter whose defects are not that
    strong is left out. Nothing is tried without ``painters``, where ``how`` is defaults, or where
    ``held`` has no part of its own.
    """
    plain = plan_recipe(list({id(one): one for one in (*taught, *held)}.values()), "")
    if how == "defaults" or not painters:
        why = "adapt.choose asks for these" if painters else "nothing is tried with low ranks"
        return replace(plain, reason=f"the defaults, since {why}")
    if {one.group for one in held} <= {one.group for one in taught}:
        return replace(plain, reason="the defaults, since no part could be held back")
    with stage("testing the adapter on what is held back"):
        plain = replace(plain, own_contrast=_measure_own(held, painters[True], seed))
    is_weak = not is_as_strong(plain.own_contrast)
    read, features = _pick_reader()
    if read is None:
        reason = f"the defaults, since trying needs {EXTRAS}"
        reason += _tell_left_out(plain) if is_weak else ""
        return replace(plain, use_adapter=not is_weak, reason=reason)
    classes = {one.defect_class for one in held}
    alike = [one for one in taught if one.defect_class in classes]
    crops, folds = _cut_real(held, seed)
    real = read(crops)
    parts = [real[folds == fold] for fold in np.unique(folds)]
    again = read(_cut_real(alike, seed + 1)[0])
    floor = float(np.mean([measure_kid(again, part, reference=real)[0] for part in parts]))
    laid = {texture: _lay(alike, held, texture, seed) for texture in (0.0, 1.0)}
    ways = [(name, s) for name in painters if not (name and is_weak) for s in STRENGTHS]
    trials: list[Trial] = []
    for is_adapted, strength in track(ways, "trying ways to paint", unit="ways"):
        images = {key: _paint(own, painters[is_adapted], strength) for key, own in laid.items()}
        trials += _compare(laid, images, read, parts, is_adapted, strength)
    pasted = {key: [one.crop.defective for one in own] for key, own in laid.items()}
    trials += _compare(laid, pasted, read, parts, False, 0.0)
    found = _decide(replace(plain, features=features), trials, floor)
    tell(_summarise(found))
    return found


def _pick_reader() -> tuple[Callable[[Sequence[Image]], Features] | None, str]:
    """Return what reads features of crops, and its name; None where no package does."""
    if find_spec("torchmetrics") is None:
        return None, ""
    if has_features():
        return read_features, PRETRAINED
    return (read_random_features, RANDOM) if find_spec("torchvision") else (None, "")


def _tell_left_out(recipe: Recipe) -> str:
    return (
        "; the adapter is left out, as a held-back defect that it paints is "
        f"{recipe.own_contrast:.2f} times as strong as the real one"
    )


def _summarise(recipe: Recipe) -> str:
    """Return a sentence of the figures: the chosen way beside the others."""
    pasted = min(one.distance for one in recipe.trials if one.strength == 0)
    chosen = _find(recipe.trials, recipe.use_adapter, recipe.strength, recipe.own_texture)
    return (
        f"tried {len(recipe.trials)} ways: distance to the defects held back (KID, "
        f"{recipe.features}) {chosen.distance:.2f} of the chosen one, crop-paste {pasted:.2f}, "
        f"the taught real ones {recipe.floor:.2f}"
    )


def _decide(plain: Recipe, trials: Sequence[Trial], floor: float) -> Recipe:
    """Return the nearest way that paints as strongly as real defects, or else the defaults.

    Less strength is nearer by its nature, up to crop-paste, and served detectors worse
    (docs/measured/adaptation.md). So another strength is taken only where no defect of the default
    one is as strong as real ones.
    """
    painted = [one for one in trials if one.strength > 0]
    strong = [one for one in painted if one.is_as_strong]
    strong = [one for one in strong if one.strength == DEFAULT_STRENGTH] or strong
    keeps_adapter = any(one.is_adapted for one in strong)
    usual = _find(painted, keeps_adapter, DEFAULT_STRENGTH, DEFAULT_TEXTURE)
    best, reason = usual, "no other way is nearer to the real defects by more than chance"
    for is_adapted in (keeps_adapter, not keeps_adapter):
        rivals = [one for one in strong if one.is_adapted == is_adapted]
        nearer = [one for one in rivals if not best.is_as_strong or one.is_nearer_than(best)]
        if nearer:
            best = min(nearer, key=lambda one: one.distance)
            reason = "it is nearest to the real defects that were held back"
    if not any(one.is_adapted for one in painted):
        reason += _tell_left_out(plain)
    elif not keeps_adapter:
        reason += "; the adapter is left out, as its defects were never as strong as the real ones"
    elif not best.is_adapted:
        reason += "; the adapter is left out, as without it they are nearer"
    return replace(
        plain,
        use_adapter=best.is_adapted,
        strength=best.strength,
        own_texture=best.own_texture,
        reason=reason,
        trials=tuple(trials),
        usual=usual,
        floor=floor,
    )


def _find(
    trials: Sequence[Trial], is_adapted: bool, strength: float | None, texture: float | None
) -> Trial:
    wanted = (is_adapted, strength, texture)
    return next(t for t in trials if (t.is_adapted, t.strength, t.own_texture) == wanted)


def _measure_own(held: Sequence[RealExample], paint: Paint, seed: int) -> float:
    """Return how strong held-back defects are that are painted where they were, over real ones."""
    vary = Augmentation(transplant=0, gain=(1, 1), contrast=(1, 1))
    crops = [
        draw_real_crop(stream(seed, "own", n), held[n % len(held)], (), SIDE_PX, vary, _lay_whole)
        for n in range(BATCH)
    ]
    images = paint(crops, DEFAULT_STRENGTH)
    return float(np.median([_strength(c, i) for c, i in zip(crops, images, strict=True)]))


def _paint(laid: Sequence[_Laid], paint: Paint, strength: float) -> list[Image]:
    """Return the crops painted, with the optics of their photos, as generate does."""
    crops = [one.crop for one in laid]
    images = [
        image
        for at in range(0, len(crops), BATCH)
        for image in paint(crops[at : at + BATCH], strength)
    ]
    return [
        match_optics(c.source, image, c.repaint_mask, c.defect_mask, one.optics, number)
        for number, (one, c, image) in enumerate(zip(laid, crops, images, strict=True))
    ]


def _compare(
    laid: Mapping[float, Sequence[_Laid]],
    images: Mapping[float, Sequence[Image]],
    read: Callable[[Sequence[Image]], Features],
    parts: Sequence[Features],
    is_adapted: bool,
    strength: float,
) -> list[Trial]:
    """Return the trials of one way, with the new surface's texture, its own, and half of each.

    ``parts``: features of the real crops, fold by fold.
    """
    real = np.concatenate(parts)
    seen = {texture: read(own) for texture, own in images.items()}
    strong = {
        texture: np.array([_strength(o.crop, i) for o, i in zip(laid[texture], own, strict=True)])
        for texture, own in images.items()
    }
    half = CROPS // 2
    for sides in (seen, strong):
        sides[0.5] = np.concatenate([sides[0.0][:half], sides[1.0][half:]])
    return [
        Trial(
            is_adapted=is_adapted,
            strength=strength,
            own_texture=texture,
            distances=np.stack(
                [measure_kid_of_subsets(seen[texture], part, reference=real) for part in parts]
            ),
            contrast=float(np.median(strong[texture])),
        )
        for texture in (0.0, 0.5, 1.0)
    ]


def _strength(crop: Crop, image: NDArray[np.uint8]) -> float:
    """Return the mean change of grey inside the mask, over that of the defect laid there."""
    own, laid = (
        np.abs((one.astype(np.float32) - crop.source)[crop.defect_mask] @ LUMA).mean()
        if crop.defect_mask.any()
        else 0.0
        for one in (image, crop.defective)
    )
    return float(own / max(laid, 1.0))


def _lay(
    taught: Sequence[RealExample], held: Sequence[RealExample], texture: float, seed: int
) -> list[_Laid]:
    """Return crops of taught defects laid near where a held-back one of their class was.

    That is their sketch, too.
    """
    kinds = by_class(taught)
    spots = {kind[0].defect_class: kind for kind in by_class(held)}
    optics = {one.image_id: estimate_optics(one.removed) for one in held}
    vary = Augmentation(transplant=1, gain=(1, 1), contrast=(1, 1), own_texture=texture)
    laid = []
    for number in range(CROPS):
        kind, turn = kinds[number % len(kinds)], number // len(kinds)
        own = spots[kind[0].defect_class]
        # Every defect meets every place, as far as there are crops.
        spot = own[(turn + turn // len(kind)) % len(own)]
        surface = spot.removed[mask_window(spot.mask, NEAR_PX)]
        rng = stream(seed, "recipe", number)
        crop = draw_real_crop(rng, kind[turn % len(kind)], [surface], SIDE_PX, vary, _lay_whole)
        laid.append(_Laid(crop, optics[spot.image_id]))
    return laid


def _lay_whole(
    rng: np.random.Generator, source: Image, change: NDArray[np.float32], mask: Mask
) -> Image:
    return to_levels(source + change)


def _cut_real(examples: Sequence[RealExample], seed: int) -> tuple[list[Image], NDArray[np.int64]]:
    """Return crops (64, 64, 3) around real defects, as they are, and the fold of each.

    A physical part is in one fold. There is one fold where more would hold too few crops.
    """
    kinds = by_class(examples)
    groups = sorted({one.group for one in examples})
    vary = Augmentation(transplant=0, gain=(1, 1), contrast=(1, 1))
    crops, folds = [], []
    for number in range(CROPS):
        kind = kinds[number % len(kinds)]
        example = kind[number // len(kinds) % len(kind)]
        rng = stream(seed, "real", number)
        crops.append(draw_real_crop(rng, example, (), SIDE_PX, vary).defective)
        folds.append(groups.index(example.group) % FOLDS)
    place = np.array(folds, np.int64)
    is_small = np.unique(place, return_counts=True)[1].min() < MIN_FOLD
    return crops, np.zeros_like(place) if is_small else place
