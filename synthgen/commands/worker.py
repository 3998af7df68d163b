"""The worker of a run: makes samples and writes them, in this process or in another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from synthgen.backends.backend import LoadsAhead
from synthgen.config.build import Parts, build_parts
from synthgen.generation.executors.executor import TakingTurns
from synthgen.generation.generate import generate
from synthgen.runs.folder import RunFolder
from synthgen.samples.sample import Failure, Sample, SampleSpec, Status
from synthgen.sources import SourceIndex

__all__ = ["RunWorker", "make_worker"]


class RunWorker:
    """Makes samples and writes them into the run folder; one per process.

    Several threads may call it: what the backend paints is painted one batch at a time.
    """

    def __init__(self, config: DictConfig, location: str, parts: Parts) -> None:
        self.stages, self._info = parts.stages, parts.info
        self._shared = replace(self.stages, backend=TakingTurns(self.stages.backend))
        self._run = RunFolder(
            location, bool(config.label.ignore_border), config.run.get("storage", "files")
        )

    def __call__(self, specs: Sequence[SampleSpec]) -> list[Status]:
        """Make and write a batch; return the status of each sample, in order."""
        return self._write(list(generate(specs, self._shared)))

    def give_up(self, specs: Sequence[SampleSpec], reason: str) -> list[Status]:
        """Write samples that cannot be made as rejected, for one reason; return their statuses."""
        return self._write([Failure(spec, reason) for spec in specs])

    def _write(self, outcomes: list[Sample | Failure]) -> list[Status]:
        self._run.write(outcomes, self._info.name, self._info.checkpoint)
        return [outcome.status for outcome in outcomes]


def make_worker(config: Mapping[str, Any], location: str, index: SourceIndex) -> RunWorker:
    """Return a worker from a plain config, its model loaded; a process elsewhere can be sent this
    call."""
    made = OmegaConf.create(dict(config))
    parts = build_parts(made, index.sources)
    if isinstance(backend := parts.stages.backend, LoadsAhead):
        backend.load()  # so that a worker that says it is ready is
    return RunWorker(made, location, parts)
