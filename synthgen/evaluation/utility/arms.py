"""Arms: what an inspection model is trained with. Synthetic defects, on the fly or from a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as checked

from synthgen.defects import DEFECTS
from synthgen.errors import ConfigError, RunError
from synthgen.evaluation.utility.pastes import (
    Patch,
    blend_nsa,
    blend_perlin,
    draw_sketch,
    paste_defect,
)
from synthgen.exporting.labels import LabelledImage, LabelledSet, read_labels
from synthgen.training.mixing import Mixing
from synthgen.training.pictures import Picture, read_picture

__all__ = [
    "Arm",
    "Draw",
    "Recipe",
    "RunPictures",
    "Synthesis",
    "cut_patch",
    "digest_runs",
    "make_synthesis",
]

Rng = np.random.Generator
Sift = Callable[[Sequence[Picture]], Sequence[int]]  # numbers of the pictures that are kept
RunPath = Annotated[str, Field(min_length=1)]
Recipe = Literal["paste", "poisson", "perlin", "nsa", "sketch"]
NEEDS_REAL = ("paste", "poisson")
REGION = 1.5  # of the crop's side: the good surface that a defect is painted on
PATCH_MARGIN_PX = 8
TRIES = 50  # until a recipe leaves a mark
HELD_OUT = 10  # every tenth image of a run sets the threshold and is not learned from


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Arm:
    """What one model learns from, beside good images.

    ``real``: the real defects of the budget. ``classical``: all crops are varied. ``synthetic``:
    defects painted on the fly; ``run``: those of a synthgen run, or of several; all of these lend
    equal shares. In a path ``@budget`` and ``@seed`` stand for the draw that the run's model was
    adapted to. ``mixing``: how synthetic defects come beside the real ones; None = the default.
    """

    real: bool = True
    classical: bool = True
    synthetic: Recipe | None = None
    run: RunPath | tuple[RunPath, ...] = ()
    kinds: tuple[str, ...] = ()  # sketch: of synthgen's defect classes; () = all of them
    mixing: Mixing | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, given: Any) -> Any:
        """Let ``adapted: runs/adapted`` stand for ``adapted: {run: runs/adapted}``, lists too."""
        return {"run": given} if isinstance(given, str | list | tuple) else given

    def __post_init__(self) -> None:
        if not (self.real or self.synthetic or self.run):
            raise ValueError("an arm without real defects needs synthetic or run")
        if unknown := sorted(set(self.kinds) - set(DEFECTS)):
            raise ValueError(f"kinds has {unknown[0]!r}; choose from {', '.join(sorted(DEFECTS))}")
        if self.mixing is not None and not self.is_synthetic:
            raise ValueError("an arm with mixing needs synthetic or run")
        if self.mixes.drop_least_real and not self.run:
            raise ValueError("mixing.drop_least_real needs run")

    @property
    def mixes(self) -> Mixing:
        """How its synthetic defects come beside the real ones."""
        return self.mixing or Mixing()

    @property
    def is_synthetic(self) -> bool:
        """Whether any of its defects are synthetic, of a recipe or a run."""
        return self.synthetic is not None or bool(self.run)

    def can_learn(self, budget: int | None) -> bool:
        """Whether there is any defect to learn from at this budget."""
        if budget == 0:
            needs_real = self.synthetic in NEEDS_REAL or self.mixes.drop_least_real > 0
            return self.is_synthetic and not needs_real
        return True

    def runs_at(self, budget: str, seed: int) -> tuple[str, ...]:
        """Return the runs' paths for one draw; () = none. ``budget`` is a number or ``all``."""
        paths = (self.run,) if isinstance(self.run, str) else self.run
        return tuple(p.replace("@budget", budget).replace("@seed", str(seed)) for p in paths)


@dataclass(frozen=True, eq=False)
class Draw:
    """What one seed and budget give all arms alike."""

    defects: Sequence[Picture]  # the budget's real defects
    good: Sequence[Picture]
    validation: Sequence[Picture]  # of other groups; never learned from


class RunPictures:
    """The accepted defects of a run, read when they are first asked for.

    Every tenth of them sets the threshold and is not learned from.
    """

    def __init__(self, labels: LabelledSet, is_grey: bool, closed: set[Path]) -> None:
        """``closed``: photos that must not have been painted on; what was is left out."""
        self._names, self._grey = labels.names, is_grey
        self.images: list[LabelledImage] = []
        for image in labels:
            source = str(image.facts.get("photo") or image.facts.get("source_path") or "")
            if image.defects and Path(source).resolve() not in closed:
                self.images.append(image)
        self._kept = [number for number in range(len(self.images)) if number % HELD_OUT]
        self._read: dict[str, Picture] = {}

    def sift(self, keep: Sift) -> None:
        """Learn from those alone that ``keep`` chooses; it gets all that may be learned from."""
        chosen = keep([self.picture(number) for number in self._kept])
        self._kept = [self._kept[at] for at in chosen]

    def piece(self, rng: Rng) -> Picture:
        """Return one to learn from; the run's weights say how often each class comes."""
        return self.picture(self._kept[int(rng.integers(len(self._kept)))])

    def whole(self, rng: Rng, number: int) -> Picture:
        """Return the n-th to set the threshold on, the first again after the last."""
        held = range(0, len(self.images), HELD_OUT)
        return self.picture(held[number % len(held)])

    def picture(self, number: int) -> Picture:
        """Return one of ``images``, grey where the real ones are; classes by their names."""
        image = self.images[number]
        if image.sample_id in self._read:
            return self._read[image.sample_id]
        self._read[image.sample_id] = read_picture(image, self._names, is_grey=self._grey)
        return self._read[image.sample_id]


def digest_runs(runs: Sequence[str]) -> str:
    """Return what changes when one of the runs is made again: a digest of their manifests.

    16 hexadecimal digits of SHA-256; "" without runs, or where a manifest cannot be read.
    """
    digest = hashlib.sha256()
    for run in runs:
        try:
            digest.update(Path(run, "manifest.parquet").read_bytes())
        except OSError:
            return ""  # read_labels says what is wrong, or it lies elsewhere
    return digest.hexdigest()[:16] if runs else ""


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Where synthetic defects come from: pieces to learn from, whole images for a threshold."""

    piece: Callable[[Rng], Picture]
    whole: Callable[[Rng, int], Picture]  # the n-th


def make_synthesis(
    arm: Arm, draw: Draw, runs: Sequence[str], side: int, keep: Sift | None = None
) -> Synthesis:
    """Return the source of an arm's synthetic defects; ``side`` is the crop's, in pixels.

    ``keep`` chooses which pictures of a run are learned from; None = all.

    The recipe and every run take turns at random, each as often as the others. Raises ConfigError
    for a recipe that needs real defects without any, RunError for a run with under 10 defects.
    """
    closed = {one.path.resolve() for one in draw.validation if one.path is not None}
    is_grey = draw.good[0].pixels.shape[2] == 1
    each = []
    for run in runs:
        pictures = RunPictures(read_labels(run), is_grey, closed)
        if len(pictures.images) < HELD_OUT:
            raise RunError(
                f"{run} holds {len(pictures.images)} accepted defects on photos to learn from; "
                f"{HELD_OUT} are needed"
            )
        if keep is not None:
            pictures.sift(keep)
        each.append(Synthesis(pictures.piece, pictures.whole))
    if arm.synthetic:
        painter = _Painter(arm, draw, side)
        each.append(Synthesis(painter.piece, painter.whole))
    if len(each) == 1:
        return each[0]
    return Synthesis(
        lambda rng: each[int(rng.integers(len(each)))].piece(rng),
        lambda rng, number: each[number % len(each)].whole(rng, number // len(each)),
    )


def _any(rng: Rng, pictures: Sequence[Picture]) -> Picture:
    return pictures[int(rng.integers(len(pictures)))]


class _Painter:
    """Paints one recipe's defects on good pictures."""

    def __init__(self, arm: Arm, draw: Draw, side: int) -> None:
        self._arm, self._draw, self._reach = arm, draw, round(REGION * side)
        self._kinds = arm.kinds or tuple(sorted(DEFECTS))
        classes = sorted({name for one in draw.defects for name in one.masks})
        self._references = [
            (name, [one for one in draw.defects if name in one.masks]) for name in classes
        ]
        if arm.synthetic in NEEDS_REAL and not self._references:
            raise ConfigError(f"synthetic={arm.synthetic} needs real defects to paste")

    def piece(self, rng: Rng) -> Picture:
        """Paint on a part of a good picture, 1.5 times the crop's side or as large as it allows."""
        pixels, side = _any(rng, self._draw.good).pixels, self._reach
        top, left = (int(rng.integers(max(1, length - side + 1))) for length in pixels.shape[:2])
        return self.paint(rng, np.ascontiguousarray(pixels[top : top + side, left : left + side]))

    def whole(self, rng: Rng, number: int) -> Picture:
        """Paint on a whole good picture of the validation part."""
        good = [picture for picture in self._draw.validation if not picture.masks]
        return self.paint(rng, _any(rng, good).pixels)

    def paint(self, rng: Rng, pixels: NDArray[np.uint8]) -> Picture:
        """Paint one defect; raises ConfigError where 50 tries leave no mark."""
        recipe = self._arm.synthetic
        for _ in range(TRIES):
            name = str(recipe)
            if recipe == "sketch":
                painted, mask = draw_sketch(rng, pixels, self._kinds)
            elif recipe == "perlin":
                painted, mask = blend_perlin(rng, pixels, _any(rng, self._draw.good).pixels)
            elif recipe == "nsa":
                painted, mask = blend_nsa(rng, pixels, _any(rng, self._draw.good).pixels)
            else:
                name, references = self._references[int(rng.integers(len(self._references)))]
                patch = cut_patch(rng, _any(rng, references), name, min(pixels.shape[:2]) // 2)
                painted, mask = paste_defect(rng, pixels, patch, is_poisson=recipe == "poisson")
            if mask.any():
                return Picture(name="", group="", pixels=painted, masks={name: mask})
        raise ConfigError(f"synthetic={recipe} left no mark in {TRIES} tries; leave this arm out")


def cut_patch(rng: Rng, picture: Picture, name: str, reach: int) -> Patch:
    """Cut out a connected defect, or of a large one what lies within ``reach`` px of a place."""
    regions = picture.regions[name]
    places = regions[int(rng.integers(len(regions)))]
    middle = places[int(rng.integers(len(places)))]
    near = places[(np.abs(places - middle) <= reach).all(axis=1)]
    low = np.maximum(near.min(axis=0) - PATCH_MARGIN_PX, 0)
    high = near.max(axis=0) + 1 + PATCH_MARGIN_PX
    own = (slice(low[0], high[0]), slice(low[1], high[1]))
    mask = np.zeros(picture.mask.shape, bool)
    mask[near[:, 0], near[:, 1]] = True
    return np.ascontiguousarray(picture.pixels[own]), mask[own]
