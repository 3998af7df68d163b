"""The recipe that an adaptation ends with: what generate is told, and what was tried for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from synthgen.storage.files import write_text
from synthgen.training.adaptation.crops import RealExample
from synthgen.training.crops import Crop

__all__ = [
    "BANK",
    "DEFAULT_STRENGTH",
    "DEFAULT_TEXTURE",
    "RECIPE",
    "TRIED",
    "Choose",
    "Paint",
    "Recipe",
    "TaughtBackend",
    "Trial",
    "is_as_strong",
    "plan_recipe",
    "write_recipe",
]

RECIPE = "experiment/recipe.yaml"  # below the adapter's folder, where experiment=<folder> finds it
AS_STRONG = (0.6, 1.6)  # times the strength of the real defects that were laid there
TRIED = "recipe.json"  # below the adapter's folder: what was tried, for programs
DEFAULT_STRENGTH, DEFAULT_TEXTURE = 0.5, 0.5  # what generate does without a recipe
EMBEDDED = "embedded"
BANK = "bank"  # below the adapter's folder: the bank of the same defects
SURE = 2.0  # deviations of its lead, from which on another way is taken
PER_IMAGE, LEAST, MOST = 40, 200, 1000  # images of a run for each real one, and at least, at most

Paint = Callable[[Sequence[Crop], float], list[NDArray[np.uint8]]]


def is_as_strong(contrast: float) -> bool:
    """Say whether a contrast, over that of real defects, is about theirs."""
    return AS_STRONG[0] <= contrast <= AS_STRONG[1]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trial:
    """One way of painting. ``distances`` (folds, subsets): KID to the held-back defects.

    A fold has photos of its own; all ways share the subsets.
    ``strength`` 0..1 is that of painting, 0 = the defect as it was laid (crop-paste).
    ``own_texture`` as of the bank. ``contrast``: change inside the mask over that of the defect
    that was laid there.
    """

    is_adapted: bool
    strength: float
    own_texture: float
    distances: NDArray[np.float64]
    contrast: float

    @property
    def distance(self) -> float:
        """The mean KID."""
        return float(self.distances.mean())

    def is_nearer_than(self, other: Trial) -> bool:
        """Say whether it is nearer in every fold, by more than two deviations of its lead."""
        gain = other.distances - self.distances
        return bool((gain.mean(axis=-1) > SURE * gain.std(axis=-1)).all())

    def lead_over(self, other: Trial) -> tuple[float, float]:
        """Return by how much it is nearer than another, and the deviation of that."""
        gain = other.distances - self.distances
        return float(gain.mean()), float(gain.std())

    @property
    def is_as_strong(self) -> bool:
        """Whether a painted defect is about as strong as the real one."""
        return is_as_strong(self.contrast)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What ``synthgen generate experiment=<folder>`` is told. ``reason``: one sentence.

    ``trials`` is empty where nothing was tried; ``usual`` is that of the defaults. ``floor``: KID
    of the taught defects to those held back. ``own_contrast``: that of held-back defects painted
    with the adapter where they were, NaN where that was not tested. ``own_lines``: whether most of
    the bank's images hold a line, None where that was not counted.
    """

    use_adapter: bool
    strength: float | None
    own_texture: float | None
    count: int
    reason: str
    trials: Sequence[Trial] = ()
    usual: Trial | None = None
    floor: float = float("nan")
    own_contrast: float = float("nan")
    features: str = ""
    own_lines: bool | None = None


Choose = Callable[[Sequence[RealExample], Sequence[RealExample], Mapping[bool, Paint], int], Recipe]


def plan_recipe(examples: Sequence[RealExample], reason: str) -> Recipe:
    """Return the recipe of the defaults, with the adapter; ``reason``: why nothing was tried."""
    images = len({example.image_id for example in examples})
    return Recipe(
        use_adapter=True,
        strength=None,
        own_texture=None,
        count=int(np.clip(PER_IMAGE * images, LEAST, MOST)),
        reason=reason,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtBackend:
    """What the adapter was made for: the backend's name, its checkpoint, and words of prompts.

    ``nouns``: what prompts call a class where the adapter is left out, whose own words the model
    does not know. ``splits``: those that the defects are of. ``material``: None = as the source
    says.
    """

    backend: str
    checkpoint: str
    revision: str | None
    nouns: Mapping[str, str]
    splits: Sequence[str]
    material: str | None


def write_recipe(folder: Path, recipe: Recipe, taught: TaughtBackend) -> None:
    """Write the recipe below an adapter's ``folder``: an experiment that says what was tried.

    It names the bank in ``folder``. Beside it recipe.json has the same for programs.
    """
    bank: dict[str, Any] = {"path": str((folder / BANK).absolute())}
    choices: list[dict[str, Any]] = [{"override /defect": []}]  # the bank's classes alone
    model: dict[str, Any] = {}
    if taught.backend != EMBEDDED:
        choices.append({"override /backend": taught.backend})
    if taught.checkpoint != EMBEDDED:
        model["checkpoint"] = taught.checkpoint
    if taught.revision is not None:
        model["revision"] = taught.revision
    node: dict[str, Any] = {
        "defaults": choices,
        "run": {"count": recipe.count},
        "splits": {"train": 1},
        "bank": bank,
    }
    if tuple(taught.splits) != ("train",):
        bank["splits"] = list(taught.splits)
    if recipe.own_texture is not None:
        bank["own_texture"] = recipe.own_texture
    if recipe.own_lines is not None:
        bank["own_lines"] = recipe.own_lines
    if recipe.use_adapter:
        model["adapter"] = str(folder.absolute())
    else:
        bank["words"] = dict(taught.nouns)
    if taught.material is not None:
        node["prompt"] = {"material": taught.material}
    backend: dict[str, Any] = {"model": model} if model else {}
    if recipe.strength is not None:
        backend["painting"] = {"strength": recipe.strength}
    if backend:
        node["backend"] = backend
    body = yaml.safe_dump(node, sort_keys=False, allow_unicode=True)
    lines = ["# @package _global_", "# Written by synthgen adapt.", *_comment(recipe)]
    write_text(folder / TRIED, json.dumps(_tabulate(recipe), indent=2) + "\n")
    write_text(folder / RECIPE, "\n".join([*lines, body]))


def _tabulate(recipe: Recipe) -> dict[str, Any]:
    """Return what was chosen and tried; a measure that was not taken is None."""
    trials = [
        {
            "adapter": one.is_adapted,
            "strength": one.strength or None,  # None = crop-paste
            "own_texture": one.own_texture,
            "distance": round(one.distance, 4),
            "deviation": round(float(one.distances.std()), 4),
            "contrast": round(one.contrast, 4),
        }
        for one in recipe.trials
    ]
    chosen = {name: getattr(recipe, name) for name in ("strength", "own_texture", "own_lines")}
    measures = {"taught_distance": recipe.floor, "held_back_contrast": recipe.own_contrast}
    return {
        "chosen": {"adapter": recipe.use_adapter, **chosen, "count": recipe.count},
        "reason": recipe.reason,
        "features": recipe.features or None,
        **{name: None if np.isnan(value) else round(value, 4) for name, value in measures.items()},
        "trials": trials,
    }


def _comment(recipe: Recipe) -> list[str]:
    lines = [f"# Chosen: {recipe.reason}."]
    if not np.isnan(recipe.own_contrast):
        lines += [
            "#",
            "# A held-back defect painted with the adapter where it was is "
            f"{recipe.own_contrast:.2f} times as strong",
            f"# as the real one. Outside of {AS_STRONG[0]} to {AS_STRONG[1]} it is left out.",
        ]
    if recipe.usual is None:
        return lines
    lines += [
        "#",
        f"# What was tried. Distance: KID to the held-back defects, on {recipe.features};",
        f"# that of the taught ones is {recipe.floor:.2f}. Nearer: than the defaults.",
        "# Contrast: over that of the real defects.",
        "#",
        "# adapter    strength  own_texture  distance  nearer          contrast",
    ]
    for one in sorted(recipe.trials, key=lambda one: one.distance):
        name = "crop-paste" if one.strength == 0 else "yes" if one.is_adapted else "no"
        strength = "" if one.strength == 0 else f"{one.strength:g}"
        lead, chance = one.lead_over(recipe.usual)
        lines.append(
            f"# {name:<10} {strength:<9} {one.own_texture:<12g} {one.distance:<9.2f} "
            f"{lead:+.2f} ± {chance:.2f}   {one.contrast:.2f}"
        )
    return lines
