"""One random stream per sample and purpose; there is no global randomness anywhere."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from synthgen.samples.sample import Attempt, SampleSpec

__all__ = ["revise", "rng_for", "seeded_torch", "stream", "torch_seed_for"]

TORCH = threading.Lock()  # torch's own generators are one per process, not one per thread


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
    """Return the generator for one purpose of one sample; another placement starts it again.

    Tries of one placement share its stream, so that a retry with other noise keeps the shapes.
    """
    return stream(spec.seed, attempt.placement, purpose)


def torch_seed_for(spec: SampleSpec, attempt: Attempt) -> int:
    """Return the seed (0..2**63-1) of the noise that this attempt's painting starts from."""
    drawn = stream(spec.seed, attempt.number, "paint", attempt.variant)
    return int(drawn.integers(2**63 - 1))


def revise(spec: SampleSpec, revision: int) -> SampleSpec:
    """Return a planned sample as it is made again; revision 0 is the plan's own.

    All is drawn from another seed. Source, class, prompt and severity stay as planned.
    """
    if not revision:
        return spec
    seed = int(stream(spec.seed, "revision", revision).integers(2**63 - 1))
    return replace(spec, seed=seed, revision=revision)


@contextmanager
def seeded_torch(seed: int, device: Any = None) -> Iterator[None]:
    """Let other people's code draw from torch's own generators, seeded; one thread at a time.

    ``device``: the torch.device that it works on; on CUDA its generator is seeded, too. They are
    put back as they were, and those of other devices are never touched.
    """
    import torch

    gpus: list[int] = []
    if device is not None and device.type == "cuda":
        gpus.append(torch.cuda.current_device() if device.index is None else device.index)
    with TORCH, torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        yield
