"""Workers that make nothing, and misbehave where they are told to: as real processes do."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from synthgen.errors import ModelError
from synthgen.generation.executors.executor import Batch, Worker
from synthgen.samples.sample import SampleSpec, Status
from tests.specs import make_spec


@dataclass
class PlainWorker:
    """Says that samples were accepted.

    ``errors``: samples that a model cannot paint; ``killers``: samples over which the process
    dies. Each batch takes ``duration_s``, so that several are under way at once. What was begun
    and given up is appended to files in ``folder``.
    """

    folder: Path
    errors: Sequence[str] = ()
    killers: Sequence[str] = ()
    bugs: Sequence[str] = ()
    ends: Sequence[str] = ()
    duration_s: float = 0.0
    made: list[str] = field(default_factory=list)

    def __call__(self, specs: Batch) -> list[Status]:
        for spec in specs:
            note(self.folder / "begun.txt", spec.sample_id)
        time.sleep(self.duration_s)
        for spec in specs:
            if spec.sample_id in self.killers:
                os.kill(os.getpid(), signal.SIGKILL)
            if spec.sample_id in self.errors:
                raise ModelError(f"{spec.sample_id} is too much for this model; take another")
            if spec.sample_id in self.bugs:
                raise ZeroDivisionError(spec.sample_id)
            if spec.sample_id in self.ends:
                raise SystemExit(spec.sample_id)
        return [Status.ACCEPTED for _ in specs]

    def give_up(self, specs: Batch, reason: str) -> list[Status]:
        for spec in specs:
            note(self.folder / "given_up.txt", spec.sample_id)
        return [Status.REJECTED for _ in specs]


def make_plain(folder: Path, **settings: object) -> Callable[[], Worker]:
    return partial(PlainWorker, folder, **settings)  # type: ignore[arg-type]


@dataclass
class TorchWorker(PlainWorker):
    """Imports torch with its first batch, and notes how many threads torch then has."""

    def __call__(self, specs: Batch) -> list[Status]:
        note(self.folder / "begun.txt", f"imported={'torch' in sys.modules}")
        import torch

        note(self.folder / "begun.txt", f"threads={torch.get_num_threads()}")
        return [Status.ACCEPTED for _ in specs]


def fail_to_load(folder: Path) -> Worker:
    raise ModelError(f"the checkpoint in {folder} is incomplete; copy it again")


def die_while_loading(folder: Path) -> Worker:
    note(folder / "begun.txt", "loading")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def make_batches(count: int, size: int) -> list[list[SampleSpec]]:
    specs = [make_spec(sample_id=f"s{number:03d}", index=number) for number in range(count)]
    return [specs[start : start + size] for start in range(0, count, size)]


def note(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def noted(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split() if path.exists() else []
