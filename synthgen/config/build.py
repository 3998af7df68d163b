"""What a run is made of, built from its config and checked before anything is painted."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from omegaconf import DictConfig

from synthgen.backends.backend import Backend, BackendInfo
from synthgen.conditioning.augment import Augment
from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.controls import Control
from synthgen.conditioning.variation import check_finish
from synthgen.config.advice import advise
from synthgen.config.objects import build, check_value, to_plain
from synthgen.config.settings import (
    AugmentSettings,
    LabelSettings,
    MaskSettings,
    Mode,
    RunSettings,
    Seed,
)
from synthgen.defects import DEFECTS
from synthgen.defects.drawing.lines import Line
from synthgen.errors import ConfigError
from synthgen.generation.generate import Stages
from synthgen.planning.missed import MissedDefect, MissedSettings, read_missed
from synthgen.planning.plan import DefectClass, draw_plan
from synthgen.planning.prompts import PromptSettings, PromptWriter, read_prompt_table
from synthgen.quality.bank import DefectBank
from synthgen.quality.limits import read_limits
from synthgen.references.lending import BankSettings, References, load_references
from synthgen.samples.sample import SampleSpec
from synthgen.sources import Sources
from synthgen.sources.findings import describe_parts
from synthgen.storage.files import check_name

__all__ = [
    "Job",
    "Parts",
    "add_references",
    "build_augment",
    "build_classes",
    "build_controls",
    "build_missed",
    "build_parts",
    "build_prompts",
    "check_controlnets",
    "collect_facts",
    "set_up",
]

CONTROL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # a part of file names
SPLITS = {"train": 0.7, "val": 0.15, "test": 0.15}  # where none are asked for
RECORDED = (  # packages whose versions a run records
    *("synthgen-inspection", "torch", "diffusers", "transformers", "numpy"),
    *("opencv-python-headless", "albumentations", "torchvision"),
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What every process of a run is made of."""

    settings: RunSettings
    sources: Sources
    classes: Mapping[str, DefectClass]
    stages: Stages
    info: BackendInfo  # what the backend says of itself
    references: References | None = None  # the bank's defects; None = no bank


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run, ready to go. ``skipped``: a sentence per source file that is left out.

    ``notes``: sentences on what will not come out as it was asked for. ``bank_classes``: ids of
    the classes that only the bank has. ``is_varied``: whether it paints good images only.
    ``parts``: what it is made of.
    """

    specs: list[SampleSpec]
    backend: BackendInfo
    skipped: Sequence[str]
    batch_size: int
    parts: Parts
    notes: Sequence[str] = ()
    bank_classes: Mapping[str, int] = field(default_factory=dict)
    is_varied: bool = False


def set_up(config: DictConfig) -> Job:
    """Build every part of a run and draw its plan; no model is loaded.

    The same config and the same source images give the same plan. Raises ConfigError that names the
    key, SourceError for unusable photos, ModelError for a checkpoint that cannot be used.
    """
    plain = to_plain(config)
    parts = build_parts(config)
    seed = check_value(Seed, {"seed": plain["seed"]}, "").seed
    asked = SPLITS if plain["splits"] is None else plain["splits"]  # a dict would be merged
    splits = check_value(dict[str, float], asked, "splits")
    for name in splits:
        check_name(name, "split")
    run, is_varied = parts.settings, read_mode(plain) == "vary"
    specs = draw_plan(
        parts.sources,
        parts.classes,
        0 if is_varied else run.count,
        run.count if is_varied else round(run.count * run.good_fraction),
        splits,
        seed,
        build_prompts(plain["prompt"], parts.classes),
        *build_missed(plain.get("missed"), parts.classes),
        parts.references,
    )
    notes = advise(parts.info, parts.classes, parts.references, parts.sources, specs, splits)
    if not is_varied:
        notes = [*describe_parts(parts.sources), *notes]
    added = {
        name: kind.class_id
        for name, kind in parts.classes.items()
        if name not in (plain["defect"] or {})
    }
    skipped = list(parts.sources.skipped)
    return Job(
        specs=specs,
        backend=parts.info,
        skipped=skipped,
        batch_size=run.batch_size,
        parts=parts,
        notes=notes,
        bank_classes=added,
        is_varied=is_varied,
    )


def build_parts(config: DictConfig, sources: Sources | None = None) -> Parts:
    """Build what a worker needs; the model is loaded when it first paints.

    ``sources`` that another process has built of that config are used as they are. Raises as
    ``set_up``.
    """
    plain = to_plain(config)
    run = check_value(RunSettings, plain["run"], "run")
    check_value(LabelSettings, plain["label"], "label")
    margin_px = check_value(MaskSettings, plain["mask"], "mask").margin_px
    references = load_references(check_value(BankSettings, plain.get("bank") or {}, "bank"))
    classes = add_references(build_classes(plain["defect"]), references)
    limits = read_limits(plain["quality"], classes)
    sources = build(config.source, "source", ("read", "part")) if sources is None else sources
    controls = build_controls(config.control)
    backend: Backend = build(config.backend, "backend", ("paint", "describe"))
    info = backend.describe()
    check_controlnets(info.reads, controls)
    bank = None
    if references is not None:
        bank = DefectBank([*references.items.values(), *references.joined()])
    augment = check_value(AugmentSettings, plain.get("augment") or {}, "augment")
    varied = build_augment(augment.source, "augment.source")
    finish = build_augment(augment.finish, "augment.finish")
    is_varied = read_mode(plain) == "vary"
    if is_varied and info.why_not_whole:
        raise ConfigError(f"mode=vary: backend={info.name} cannot do it: {info.why_not_whole}")
    conditioner = Conditioner(
        sources,
        classes,
        controls,
        margin_px,
        info.cell_px,
        augment=varied,
        is_varied=is_varied,
        references=references,
    )
    stages = Stages(
        condition=conditioner,
        backend=backend,
        limits=limits,
        batch_size=run.batch_size,
        retries=run.retries,
        candidates=run.candidates,
        bank=bank,
        finish=finish,
    )
    return Parts(run, sources, classes, stages, info, references)


def read_mode(plain: Mapping[str, Any]) -> str:
    """Return ``mode`` of a config; raises ConfigError."""
    return check_value(Mode, {"mode": plain.get("mode", "defects")}, "").mode


def build_augment(node: Mapping[str, Any] | None, key: str) -> Augment | None:
    """Build what varies pictures, None where nothing does; raises ConfigError that names the key.

    A finish is also tried on a picture and its clean partner.
    """
    if node is None:
        return None
    try:
        augment: Augment = build(dict(node), key)
        if key.endswith("finish"):
            check_finish(augment)
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if text.startswith(key) else f"{key}: {text}") from error
    return augment


def build_classes(nodes: Mapping[str, Any] | None) -> dict[str, DefectClass]:
    """Build the defect classes of a config by name; raises ConfigError that names the key."""
    classes = {}
    for name, node in (nodes or {}).items():
        check_name(name, "a defect class")
        if not isinstance(node, Mapping) or "shape" not in node:
            raise ConfigError(
                f"defect.{name}={str(node)[:100]} is not a class of defects: it needs class_id, "
                "noun and shape, see conf/defect"
            )
        shape = build(node["shape"], f"defect.{name}.shape")
        classes[name] = check_value(DefectClass, {**node, "shape": shape}, f"defect.{name}")
    return classes


def add_references(
    classes: Mapping[str, DefectClass], references: References | None
) -> dict[str, DefectClass]:
    """Return the classes and those that only the bank has, by name; None = no bank.

    A class of the bank alone gets the id after the highest.
    """
    added = dict(classes)
    if references is None:
        return added
    weight = references.settings.weight
    for name in references.classes:
        if name not in added:
            class_id = max((kind.class_id for kind in added.values()), default=0) + 1
            added[name] = DefectClass(class_id, references.noun(name), None, severity=(0.0, 1.0))
        added[name] = replace(added[name], weight=weight or added[name].weight)
    return added | _weigh_lines(
        {n: k for n, k in added.items() if n not in references.classes}, references
    )


def _weigh_lines(
    drawn: Mapping[str, DefectClass], references: References
) -> dict[str, DefectClass]:
    """Return the classes that are only drawn, as many of them lines as of the bank's defects."""
    fraction = references.line_fraction
    total = sum(kind.weight for kind in drawn.values())
    lines = sum(kind.weight for kind in drawn.values() if isinstance(kind.shape, Line))
    if not fraction or lines in (0, total):
        return dict(drawn)
    gains = (1 - fraction) * total / (total - lines), fraction * total / lines
    return {
        name: replace(kind, weight=kind.weight * gains[isinstance(kind.shape, Line)])
        for name, kind in drawn.items()
    }


def build_missed(
    node: Any, classes: Mapping[str, DefectClass]
) -> tuple[Sequence[MissedDefect], float]:
    """Return what a detector missed, and the fraction 0..1 of the samples that ask for it.

    ``node``: the ``missed`` part of a config; without a path nothing was missed, and it is 0.
    """
    settings = check_value(MissedSettings, {} if node is None else node, "missed")
    if settings.path is None:
        return (), 0.0
    return read_missed(settings.path, classes), settings.fraction


def build_prompts(node: Any, classes: Mapping[str, DefectClass]) -> PromptWriter:
    """Build what writes the prompts of a run; raises ConfigError that names key or line."""
    settings = check_value(PromptSettings, node, "prompt")
    if settings.table is None:
        return PromptWriter(settings)
    return PromptWriter(settings, read_prompt_table(settings.table, {*classes, *DEFECTS}))


def build_controls(nodes: Mapping[str, Any] | None) -> dict[str, Control]:
    """Build the control images of a config by name, in order; raises ConfigError."""
    if not nodes:
        raise ConfigError("control names no control image; give at least one, e.g. control=canny")
    controls = {}
    for name, node in nodes.items():
        if not CONTROL_NAME.fullmatch(str(name)) or not isinstance(node, Mapping):
            raise ConfigError(
                f"control.{name} is not a control image; give them by name, e.g. "
                "control=[canny,mask], names of letters, digits, - and _"
            )
        controls[name] = build(node, f"control.{name}", ("draw",))
    return controls


def check_controlnets(reads: Sequence[str], controls: Mapping[str, Control]) -> None:
    """Raise ConfigError where a ControlNet reads a control image that is not drawn."""
    for name in reads:
        if name not in controls:
            raise ConfigError(
                f"backend.model.controlnets.{name} reads the control image {name!r}, but control "
                f"makes {', '.join(controls)}; give control=[{','.join([*controls, name])}]"
            )


def collect_facts(job: Job) -> dict[str, Any]:
    """Return what else decides how pixels come out: versions, backend, models with digests.

    They stand in ``run.yaml`` beside the config.
    """
    versions = {"python": platform.python_version()}
    for package in RECORDED:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    backend = job.backend
    checker = backend.safety_checker
    return {
        "versions": versions,
        "backend": backend.name,
        "checkpoint": backend.checkpoint,
        "dtype": backend.dtype,
        "models": dict(backend.models),
        **({} if checker is None else {"safety_checker": checker}),
        "notes": list(job.notes),
        "bank_classes": dict(job.bank_classes),
    }
