"""The recipe that an adaptation ends with: what generate is told, and what was tried for it."""

from __future__ import annotations

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

__all__ = ["BANK", "RECIPE", "Choose", "Paint", "Recipe", "Trial", "plan_recipe", "write_recipe"]

RECIPE = "experiment/recipe.yaml"  # below the adapter's folder, where experiment=<folder> finds it
AS_STRONG = (0.6, 1.6)  # times the strength of the real defects that were laid there
BANK = "bank"  # below the adapter's folder: the bank of the same defects
PER_IMAGE, LEAST, MOST = 40, 200, 1000  # images of a run for each real one, and at least, at most

Paint = Callable[[Sequence[Crop], float], list[NDArray[np.uint8]]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trial:
    """One way of painting. ``distances``: KID to the held-back defects, of subsets that all share.

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

    def lead_over(self, other: Trial) -> tuple[float, float]:
        """Return by how much it is nearer than another, and the deviation of that."""
        gain = other.distances - self.distances
        return float(gain.mean()), float(gain.std())

    @property
    def is_as_strong(self) -> bool:
        """Whether a painted defect is about as strong as the real one."""
        return AS_STRONG[0] <= self.contrast <= AS_STRONG[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What ``synthgen generate experiment=<folder>`` is told. ``reason``: one sentence.

    ``trials`` is empty where nothing was tried; ``usual`` is that of the defaults. ``floor``: KID
    of the taught defects to those held back.
    """

    use_adapter: bool
    strength: float | None
    own_texture: float | None
    count: int
    reason: str
    trials: Sequence[Trial] = ()
    usual: Trial | None = None
    floor: float = float("nan")


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


def write_recipe(folder: Path, recipe: Recipe, nouns: Mapping[str, str]) -> None:
    """Write the recipe below an adapter's ``folder``: an experiment that says what was tried.

    It names the bank in ``folder``. ``nouns``: what prompts call a class where the adapter is left
    out, whose own words the model does not know.
    """
    bank: dict[str, Any] = {"path": str((folder / BANK).absolute())}
    node: dict[str, Any] = {
        "defaults": [{"override /defect": []}],  # the bank's classes alone
        "run": {"count": recipe.count},
        "splits": {"train": 1},
        "bank": bank,
    }
    if recipe.own_texture is not None:
        bank["own_texture"] = recipe.own_texture
    backend: dict[str, Any] = {}
    if recipe.use_adapter:
        backend["model"] = {"adapter": str(folder.absolute())}
    else:
        bank["words"] = dict(nouns)
    if recipe.strength is not None:
        backend["painting"] = {"strength": recipe.strength}
    if backend:
        node["backend"] = backend
    body = yaml.safe_dump(node, sort_keys=False, allow_unicode=True)
    lines = ["# @package _global_", "# Written by synthgen adapt.", *_comment(recipe)]
    write_text(folder / RECIPE, "\n".join([*lines, body]))


def _comment(recipe: Recipe) -> list[str]:
    lines = [f"# Chosen: {recipe.reason}."]
    if recipe.usual is None:
        return lines
    lines += [
        "#",
        "# What was tried. Distance: KID to the held-back defects, on pretrained features; that of",
        f"# the taught ones is {recipe.floor:.2f}. Nearer: than the defaults. Contrast: over that",
        "# of the real defects.",
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
