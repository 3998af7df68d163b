"""Real and synthetic images in a stated ratio, batch after batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from synthgen.errors import ConfigError
from synthgen.samples.seeds import stream

__all__ = ["MixingSampler"]


class MixingSampler(DistributedSampler[int]):
    """Yields ``synthetic_per_real`` synthetic indices after each real one, e.g. R S S R S S for 2.

    Each kind is gone through in shuffled order before any of it comes again, over epochs, too: an
    epoch goes on where the one before ended. What an epoch yields depends on ``seed`` and
    ``set_epoch`` alone (Lightning calls it), so that a training which goes on sees what it would
    have seen.

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
    ) -> None:
        flags = np.asarray(is_synthetic, bool)
        kinds = np.flatnonzero(~flags), np.flatnonzero(flags)
        _check(len(kinds[0]), len(kinds[1]), synthetic_per_real, length)
        ratio = Fraction(float(synthetic_per_real)).limit_denominator(10_000)
        wanted = int(len(kinds[0]) * (1 + ratio)) if length is None else length
        super().__init__(_Length(wanted), num_replicas=world_size, rank=rank, seed=seed)
        self._kinds = kinds
        self._ratio = ratio

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.total_size + self.rank * self.num_samples
        places = range(first, first + self.num_samples + 1)
        real = np.array([self._real_before(place) for place in places])
        synthetic = np.array(places) - real
        mixed = np.empty(self.num_samples, np.int64)
        for number, before in enumerate((real, synthetic)):
            mixed[np.diff(before) == 1] = self._draw(number, int(before[0]), int(before[-1]))
        yield from mixed.tolist()

    def _real_before(self, place: int) -> int:
        """Return how many of the first ``place`` indices of all epochs are real."""
        return -(-place * self._ratio.denominator // (1 + self._ratio).numerator)

    def _draw(self, kind: int, first: int, end: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return entries ``first`` to ``end`` of one kind's shuffled rounds, one after another."""
        own = self._kinds[kind]
        if first == end:
            return own[:0]
        rounds = range(first // len(own), (end - 1) // len(own) + 1)
        order = np.concatenate(
            [stream(self.seed, "mixing", kind, n).permutation(own) for n in rounds]
        )
        skipped = rounds[0] * len(own)
        return order[first - skipped : end - skipped]


class _Length(Dataset[int]):
    """All that DistributedSampler wants to know of a dataset: its length."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


def _check(real: int, synthetic: int, per_real: float, length: int | None) -> None:
    if not 0 <= per_real < float("inf"):
        raise ConfigError(f"synthetic_per_real={per_real} must be 0 or more")
    if length is not None and length < 1:
        raise ConfigError(f"length={length} must be 1 or more")
    if real == 0:
        raise ConfigError(
            f"none of the {synthetic} images is real, so there is nothing to mix; leave "
            "synthetic_per_real out"
        )
    if per_real > 0 and synthetic == 0:
        raise ConfigError(
            f"synthetic_per_real={per_real} but all {real} images are real; add synthetic ones, or "
            "leave it out"
        )
