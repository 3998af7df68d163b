"""What a run is made of, built from its config and checked before anything is painted."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, Field
from pydantic import dataclasses as checked

from synthgen.backends.backend import Backend
from synthgen.condition import Conditioner
from synthgen.config import build, check_value, to_plain
from synthgen.generate import Retry, Stages, generate
from synthgen.plan import DefectClass, draw_plan
from synthgen.quality.bank import DefectBank, RealDefects
from synthgen.quality.limits import read_limits
from synthgen.runs.executor import TakingTurns
from synthgen.runs.folder import RunFolder
from synthgen.sample import Failure, Sample, SampleSpec, Status
from synthgen.sources import Sources

__all__ = [
    "Job",
    "MaskSettings",
    "Parts",
    "RunWorker",
    "build_classes",
    "build_parts",
    "collect_facts",
    "make_worker",
    "set_up",
]

RECORDED = (
    "synthgen-inspection",
    "torch",
    "diffusers",
    "transformers",
    "numpy",
    "opencv-python-headless",
)


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RunSettings:
    """The ``run`` part of the config."""

    folder: str = Field(min_length=1)
    count: int = Field(ge=1, le=10_000_000)
    good_fraction: float = Field(ge=0, le=100)
    batch_size: int = Field(ge=1, le=4096)
    retries: list[Retry] = Field(max_length=100)
    candidates: int = Field(ge=1, le=64)
    storage: Literal["files", "tar"] = "files"


@dataclass(frozen=True, slots=True)
class Parts:
    """What every process of a run is made of."""

    settings: RunSettings
    sources: Sources
    classes: Mapping[str, DefectClass]
    stages: Stages


@dataclass(frozen=True, slots=True)
class Job:
    """A run, ready to go. ``skipped``: a sentence per source file that is left out."""

    specs: list[SampleSpec]
    backend: Backend
    skipped: Sequence[str]
    batch_size: int


def set_up(config: DictConfig) -> Job:
    """Build every part of a run and draw its plan; raises ConfigError, SourceError, ModelError."""
    plain = to_plain(config)
    parts = build_parts(config)
    seed = check_value(Seed, {"seed": plain["seed"]}, "").seed
    splits = check_value(dict[str, float], plain["splits"], "splits")
    run = parts.settings
    specs = draw_plan(
        parts.sources,
        parts.classes,
        run.count,
        run.good_fraction,
        splits,
        seed,
        str(plain["prompt"]["negative"] or ""),
    )
    return Job(specs, parts.stages.backend, list(parts.sources.skipped), run.batch_size)


def build_parts(config: DictConfig) -> Parts:
    """Build what a worker needs; the model is loaded when it first paints."""
    plain = to_plain(config)
    run = check_value(RunSettings, plain["run"], "run")
    check_value(LabelSettings, plain["label"], "label")
    margin_px = check_value(MaskSettings, plain["mask"], "mask").margin_px
    classes = build_classes(plain["defect"])
    limits = read_limits(plain["quality"], classes)
    sources = build(config.source, "source")
    control = build(config.control, "control")
    backend = build(config.backend, "backend")
    real = check_value(RealDefects | None, plain["bank"], "bank")  # type: ignore[arg-type]
    bank = None if real is None else DefectBank(real)
    conditioner = Conditioner(sources, classes, control, margin_px, backend.cell_px)
    stages = Stages(conditioner, backend, limits, run.batch_size, run.retries, run.candidates, bank)
    return Parts(run, sources, classes, stages)


class RunWorker:
    """Makes samples and writes them into the run folder; one per process."""

    def __init__(self, config: DictConfig, location: str) -> None:
        self.stages = build_parts(config).stages
        self._shared = replace(self.stages, backend=TakingTurns(self.stages.backend))
        self._run = RunFolder(
            location, bool(config.label.ignore_border), config.run.get("storage", "files")
        )

    def __call__(self, specs: Sequence[SampleSpec]) -> list[Status]:
        return self._write(list(generate(specs, self._shared)))

    def give_up(self, specs: Sequence[SampleSpec], reason: str) -> list[Status]:
        return self._write([Failure(spec, reason) for spec in specs])

    def _write(self, outcomes: list[Sample | Failure]) -> list[Status]:
        self._run.write(outcomes, self.stages.backend.name, self.stages.backend.checkpoint)
        return [outcome.status for outcome in outcomes]


def make_worker(config: Mapping[str, Any], location: str) -> RunWorker:
    """Return a worker from a plain config; a process elsewhere can be sent this call."""
    return RunWorker(OmegaConf.create(dict(config)), location)


@checked.dataclass(frozen=True)
class Seed:
    """The run's seed."""

    seed: int = Field(ge=0, lt=2**63)


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MaskSettings:
    """The ``mask`` part of the config."""

    margin_px: int = Field(ge=0, le=64)


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LabelSettings:
    """The ``label`` part of the config."""

    ignore_border: bool


def build_classes(nodes: Mapping[str, Any] | None) -> dict[str, DefectClass]:
    """Build the defect classes of a config by name; raises ConfigError that names the key."""
    classes = {}
    for name, node in (nodes or {}).items():
        shape = build(node["shape"], f"defect.{name}.shape")
        classes[name] = check_value(DefectClass, {**node, "shape": shape}, f"defect.{name}")
    return classes


def collect_facts(job: Job) -> dict[str, Any]:
    """Return what else decides how pixels come out: versions, backend, checkpoint, machine."""
    versions = {"python": platform.python_version()}
    for package in RECORDED:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "backend": job.backend.name,
        "checkpoint": job.backend.checkpoint,
    }
