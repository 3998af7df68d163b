"""One random stream per sample and purpose; there is no global randomness anywhere."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from synthgen.sample import Attempt, SampleSpec

__all__ = ["revise", "rng_for", "stream", "torch_seed_for"]


def stream(seed: int, *path: int | str) -> np.random.Generator:
    """Return the generator for one place in a run; no other draw can shift its stream.

    A last 0 counts as if it were not there: (7, "plan") and (7, "plan", 0) are one stream. So a
    purpose always has as many numbers after it.

    >>> stream(7, "plan", 3).integers(100) == stream(7, "plan", 3).integers(100)
    np.True_
    """
    return np.random.default_rng(
        [seed, *(zlib.crc32(p.encode()) if isinstance(p, str) else p for p in path)]
    )


def rng_for(spec: SampleSpec, attempt: Attempt, purpose: str) -> np.random.Generator:
    """Return the generator for one purpose of one sample; another placement starts it anew."""
    return stream(spec.seed, attempt.placement, purpose)


def torch_seed_for(spec: SampleSpec, attempt: Attempt) -> int:
    """Return the seed (0..2**63-1) of the noise that this attempt's painting starts from."""
    drawn = stream(spec.seed, attempt.number, "paint", attempt.variant)
    return int(drawn.integers(2**63 - 1))


def revise(spec: SampleSpec, revision: int) -> SampleSpec:
    """Return a planned sample as it is made anew: all is drawn from another seed, and the source,
    class, prompt and severity of the plan stay. Revision 0 is the plan's own.
    """
    if not revision:
        return spec
    seed = int(stream(spec.seed, "revision", revision).integers(2**63 - 1))
    return replace(spec, seed=seed, revision=revision)
