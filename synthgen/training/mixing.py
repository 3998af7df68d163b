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
        ratio = Fraction(float(synthetic_per_real)).limit_denominator(10_000)
        wanted = int(len(real) * (1 + ratio)) if length is None else length
        super().__init__(_Length(wanted), num_replicas=world_size, rank=rank, seed=seed)
        self._kinds = real, synthetic
        self._ratio = ratio

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of this process's share of the epoch that ``set_epoch`` has set."""
        start = self.epoch * self.total_size + self.rank * self.num_samples
        places = range(start, start + self.num_samples + 1)
        # How many of all indices before each place, over all epochs, are real, and how many not.
        part, whole = self._ratio.denominator, (1 + self._ratio).numerator
        real = np.array([-(-place * part // whole) for place in places])
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
