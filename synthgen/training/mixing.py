"""How synthetic images are mixed in beside real ones: how many, in which order, with which label.

``MixingSampler`` mixes whole images; ``Mixing`` says it of crops (``DefectCrops``, and the arms of
``synthgen evaluate utility``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from synthgen.errors import ConfigError
from synthgen.samples.seeds import stream

__all__ = ["IGNORED", "Mixing", "MixingSampler", "mark_border"]

IGNORED = -1.0  # the truth of a pixel that teaches nothing


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Mixing:
    """How synthetic defects are mixed in beside real ones.

    ``synthetic_fraction``: of the defects, over the whole training; None = as the training says.
    ``order``: ``mixed`` = that fraction at every step; ``synthetic_first`` = synthetic defects
    alone for that fraction of the training, then real ones alone.
    ``border``: what the labels of synthetic defects say within ``border_px`` of their edge. They
    are measured, not drawn by a person. ``hard`` = what was measured, ``soft`` = the fraction of
    defect pixels around (0..1), ``ignored`` = nothing.
    ``drop_least_real``: the fraction of each class's synthetic images that is left out: those that
    a probe most surely tells from the real defects.
    """

    synthetic_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    order: Literal["mixed", "synthetic_first"] = "mixed"
    border: Literal["hard", "soft", "ignored"] = "hard"
    border_px: Annotated[int, Field(ge=1)] = 2
    drop_least_real: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def fraction_at(self, progress: float, usual: float = 0.5) -> float:
        """Return which fraction of the defects is synthetic when ``progress`` (0..1) is trained.

        ``usual`` stands in for a ``synthetic_fraction`` of None.

        >>> Mixing(synthetic_fraction=0.25, order="synthetic_first").fraction_at(0.2)
        1.0
        """
        fraction = usual if self.synthetic_fraction is None else self.synthetic_fraction
        return fraction if self.order == "mixed" else float(progress < fraction)


def mark_border(truth: NDArray[np.float32], mixing: Mixing) -> NDArray[np.float32]:
    """Return the label (H, W) of a synthetic defect with its border as the mixing says.

    ``truth`` is 1 on a defect, else 0. What is returned is 0..1, and IGNORED where nothing is said.
    """
    if mixing.border == "hard":
        return truth
    side = 2 * mixing.border_px + 1
    around = cv2.blur(truth, (side, side), borderType=cv2.BORDER_REFLECT_101)
    if mixing.border == "soft":
        return np.asarray(around, np.float32)
    is_border = (around > 1e-4) & (around < 1 - 1e-4)
    return np.where(is_border, np.float32(IGNORED), truth).astype(np.float32)


class MixingSampler(DistributedSampler[int]):
    """Yields ``synthetic_per_real`` synthetic indices after each real one, e.g. R S S R S S for 2.

    Each kind is gone through in shuffled order before any of it comes again, over epochs, too: an
    epoch goes on where the one before ended. What an epoch yields depends on ``seed`` and
    ``set_epoch`` alone (Lightning calls it), so that a training which goes on sees what it would
    have seen.

    ``real_last``: the fraction of ``epochs``, the last ones, that show real images alone, as many.

    ``length``: indices an epoch and over all processes, rounded up to whole shares; None = each
    real image once. With ``world_size`` processes each gets its own share in the same ratio. Being
    a DistributedSampler, it is left alone by Lightning. Raises ConfigError where a kind that the
    ratio asks for is missing.
    """

    def __init__(
        self,
        is_synthetic: Sequence[bool],
        synthetic_per_real: float,
        seed: int = 0,
        length: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        real_last: float = 0.0,
        epochs: int | None = None,
    ) -> None:
        flags = np.asarray(is_synthetic, bool)
        real, synthetic = np.flatnonzero(~flags), np.flatnonzero(flags)
        if not 0 <= synthetic_per_real < float("inf"):
            raise ConfigError(f"synthetic_per_real={synthetic_per_real} must be 0 or more")
        if length is not None and length < 1:
            raise ConfigError(f"length={length} must be 1 or more")
        if not len(real):
            raise ConfigError(
                f"none of the {len(synthetic)} images is real, so there is nothing to mix; leave "
                "synthetic_per_real out"
            )
        if synthetic_per_real > 0 and not len(synthetic):
            raise ConfigError(
                f"synthetic_per_real={synthetic_per_real} but all {len(real)} images are real; add "
                "synthetic ones, or leave it out"
            )
        if not 0 <= real_last <= 1:
            raise ConfigError(f"real_last={real_last} must be 0..1")
        if real_last and not (epochs and epochs > 0):
            raise ConfigError(f"real_last={real_last} needs epochs: how many there will be")
        ratio = Fraction(float(synthetic_per_real)).limit_denominator(10_000)
        wanted = int(len(real) * (1 + ratio)) if length is None else length
        super().__init__(_Length(wanted), num_replicas=world_size, rank=rank, seed=seed)
        self._kinds = real, synthetic
        self._ratio = ratio
        mixed = epochs - round(epochs * real_last) if epochs and real_last else None
        self._mixed = None if mixed is None else mixed * self.total_size  # indices before real ones

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of this process's share of the epoch that ``set_epoch`` has set."""
        start = self.epoch * self.total_size + self.rank * self.num_samples
        places = range(start, start + self.num_samples + 1)
        # How many of all indices before each place, over all epochs, are real, and how many not.
        part, whole = self._ratio.denominator, (1 + self._ratio).numerator
        end = places[-1] if self._mixed is None else self._mixed
        real = np.array([-(-min(at, end) * part // whole) + max(0, at - end) for at in places])
        synthetic = np.array(places) - real
        mixed = np.empty(self.num_samples, np.int64)
        for kind, before in enumerate((real, synthetic)):
            own, first, end = self._kinds[kind], int(before[0]), int(before[-1])
            if first == end:
                continue
            # Entries ``first`` to ``end`` of the kind's shuffled rounds, one after another.
            rounds = range(first // len(own), (end - 1) // len(own) + 1)
            order = np.concatenate(
                [stream(self.seed, "mixing", kind, n).permutation(own) for n in rounds]
            )
            skipped = rounds[0] * len(own)
            mixed[np.diff(before) == 1] = order[first - skipped : end - skipped]
        yield from mixed.tolist()


class _Length(Dataset[int]):
    """All that DistributedSampler wants to know of a dataset: its length."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length
