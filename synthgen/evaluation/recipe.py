"""The choice of a recipe: which way of painting is nearest to real defects that were held back.

Taught defects are laid on the surfaces of those held back and painted in each of a few ways. The
way that is nearest to the real ones, on pretrained features, is taken. Nothing but the defects that
were given is looked at, and nothing is scored on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthgen.evaluation.fidelity.distance import measure_kid, measure_kid_of_subsets
from synthgen.evaluation.realism.measure import read_features
from synthgen.imaging.images import LUMA, to_levels
from synthgen.progress import track
from synthgen.samples.arrays import Image, Mask
from synthgen.samples.seeds import stream
from synthgen.training.adaptation.crops import (
    Augmentation,
    RealExample,
    by_class,
    draw_real_crop,
)
from synthgen.training.adaptation.recipe import Paint, Recipe, Trial, plan_recipe
from synthgen.training.crops import Crop
from synthgen.training.features import has_features

__all__ = ["choose_recipe"]

CROPS, SIDE_PX, BATCH = 48, 64, 16
STRENGTHS = (0.35, 0.5, 0.75)
DEFAULT_STRENGTH, DEFAULT_TEXTURE = 0.5, 0.5
SURE = 2.0  # deviations of its lead, from which on another way is taken


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
    by more than two deviations; another strength only where the default one's defects are not as
    strong as real ones. An adapter whose defects are never that strong is left out. Nothing is
    tried without ``painters``, or where ``how`` is defaults.
    """
    examples = list({id(one): one for one in (*taught, *held)}.values())
    if how == "defaults" or not painters:
        why = "adapt.choose asks for these" if painters else "nothing is tried with low ranks"
        return plan_recipe(examples, f"the defaults, since {why}")
    if not (has_features() and find_spec("torchmetrics")):
        extras = "pip install 'synthgen-inspection[features,evaluate]'"
        return plan_recipe(examples, f"the defaults, since trying needs {extras}")
    real = read_features(_cut_real(held, seed))
    again = read_features(_cut_real(taught, seed + 1))
    floor = measure_kid(again, real, reference=real)[0]
    trials: list[Trial] = []
    laid = {texture: _lay(taught, held, texture, seed) for texture in (0.0, 1.0)}
    ways = [(is_adapted, s) for is_adapted in painters for s in STRENGTHS]
    for is_adapted, strength in track(ways, "trying ways to paint", unit="ways"):
        trials += _try(laid, painters[is_adapted], real, is_adapted, strength)
    trials += _try(laid, _paste, real, False, 0.0)
    return _decide(plan_recipe(examples, ""), trials, floor)


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
    usual = _find(painted, is_adapted=keeps_adapter)
    best, reason = usual, "no other way is nearer to the real defects by more than chance"
    for is_adapted in (keeps_adapter, not keeps_adapter):
        rivals = [one for one in strong if one.is_adapted == is_adapted]
        if not rivals:
            continue
        nearest = min(rivals, key=lambda one: one.distance)
        lead, chance = nearest.lead_over(best)
        if not best.is_as_strong or lead > SURE * chance:
            best, reason = nearest, "it is nearest to the real defects that were held back"
    if not keeps_adapter:
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


def _find(trials: Sequence[Trial], *, is_adapted: bool) -> Trial:
    """Return the trial of the defaults."""
    wanted = (is_adapted, DEFAULT_STRENGTH, DEFAULT_TEXTURE)
    return next(t for t in trials if (t.is_adapted, t.strength, t.own_texture) == wanted)


def _try(
    laid: Mapping[float, Sequence[Crop]],
    paint: Paint,
    real: NDArray[np.float64],
    is_adapted: bool,
    strength: float,
) -> list[Trial]:
    """Return the trials of one way, with the new surface's texture, its own, and half of each."""
    seen, strong = {}, {}
    for texture, crops in laid.items():
        batches = [crops[at : at + BATCH] for at in range(0, len(crops), BATCH)]
        images = [image for batch in batches for image in paint(batch, strength)]
        seen[texture] = read_features(images)
        strong[texture] = np.array([_strength(c, i) for c, i in zip(crops, images, strict=True)])
    half = CROPS // 2
    for sides in (seen, strong):
        sides[0.5] = np.concatenate([sides[0.0][:half], sides[1.0][half:]])
    found = []
    for texture in (0.0, 0.5, 1.0):
        found.append(
            Trial(
                is_adapted=is_adapted,
                strength=strength,
                own_texture=texture,
                distances=measure_kid_of_subsets(seen[texture], real, reference=real),
                contrast=float(np.median(strong[texture])),
            )
        )
    return found


def _paste(crops: Sequence[Crop], strength: float) -> list[NDArray[np.uint8]]:
    """Return the crops with their defects as they were laid; ``strength`` is not used."""
    return [crop.defective for crop in crops]


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
) -> list[Crop]:
    """Return crops of taught defects laid on the surfaces of ``held``, which are their sketches."""
    kinds, surfaces = by_class(taught), [one.removed for one in held]
    vary = Augmentation(transplant=1, gain=(1, 1), contrast=(1, 1), own_texture=texture)
    crops = []
    for number in range(CROPS):
        kind = kinds[number % len(kinds)]
        example = kind[number // len(kinds) % len(kind)]
        rng = stream(seed, "recipe", number)
        crops.append(draw_real_crop(rng, example, surfaces, SIDE_PX, vary, _lay_whole))
    return crops


def _lay_whole(
    rng: np.random.Generator, source: Image, change: NDArray[np.float32], mask: Mask
) -> Image:
    return to_levels(source + change)


def _cut_real(examples: Sequence[RealExample], seed: int) -> list[Image]:
    """Return crops (64, 64, 3) around real defects, as they are."""
    kinds = by_class(examples)
    vary = Augmentation(transplant=0, gain=(1, 1), contrast=(1, 1))
    crops = []
    for number in range(CROPS):
        kind = kinds[number % len(kinds)]
        example = kind[number // len(kinds) % len(kind)]
        rng = stream(seed, "real", number)
        crops.append(draw_real_crop(rng, example, (), SIDE_PX, vary).defective)
    return crops
