"""A default is one number: what conf/ shows, what Python takes and what docs say agree."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from pydantic.fields import FieldInfo

from synthgen.backends.checkpoints.families import FAMILIES
from synthgen.backends.settings import (
    CropSettings,
    Hardware,
    ModelSettings,
    PaintingSettings,
    resolve_crops,
    resolve_painting,
)
from synthgen.config.compose import compose
from synthgen.config.objects import to_plain

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
SECTIONS = {  # pipeline, part of its config: the class that checks it
    ("adapt", "adapt"): "synthgen.training.adaptation.loop.AdaptSettings",
    ("bank", "bank"): "synthgen.references.items.BuildSettings",
    ("bank", "real"): "synthgen.realdata.settings.RealSettings",
    ("adapt", "real"): "synthgen.realdata.settings.RealSettings",
    ("evaluate_fidelity", "evaluate"): "synthgen.evaluation.fidelity.settings.FidelitySettings",
    ("evaluate_labels", "evaluate"): "synthgen.evaluation.labels.LabelTestSettings",
    ("evaluate_realism", "evaluate"): "synthgen.evaluation.realism.settings.RealismSettings",
    ("evaluate_utility", "evaluate"): "synthgen.evaluation.utility.settings.UtilitySettings",
    ("export", ""): "synthgen.exporting.gather.ExportSettings",
    ("generate", "bank"): "synthgen.references.lending.BankSettings",
    ("generate", "bank.deform"): "synthgen.references.deform.Deformation",
    ("generate", "missed"): "synthgen.planning.missed.MissedSettings",
    ("generate", "label"): "synthgen.config.settings.LabelSettings",
    ("generate", "mask"): "synthgen.config.settings.MaskSettings",
    ("generate", "prompt"): "synthgen.planning.prompts.PromptSettings",
    ("generate", "run"): "synthgen.config.settings.RunSettings",
    ("preview", "preview"): "synthgen.report.preview.PreviewSettings",
    ("pretrain", "pretrain"): "synthgen.training.pretrain.PretrainSettings",
    ("review", "review"): "synthgen.review.settings.ReviewSettings",
}


def defaults_of(kind: Any) -> dict[str, Any]:
    """Return the names that a class or function takes, each with its default, if it has one."""
    if dataclasses.is_dataclass(kind):
        found = {}
        for field in dataclasses.fields(kind):
            found[field.name] = default_of(field)
        return found
    return {
        name: dataclasses.MISSING if one.default is one.empty else one.default
        for name, one in inspect.signature(kind).parameters.items()
    }


def default_of(field: dataclasses.Field[Any]) -> Any:
    given = field.default
    if isinstance(given, FieldInfo):  # of pydantic
        is_required = given.is_required()
        return dataclasses.MISSING if is_required else given.get_default(call_default_factory=True)
    made = field.default_factory
    return given if made is dataclasses.MISSING else made()


def plain(value: Any) -> Any:
    """Return a value as YAML holds it."""
    if dataclasses.is_dataclass(value):
        return {name: plain(one) for name, one in dataclasses.asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def compare(node: Mapping[str, Any], kind: Any) -> list[str]:
    """Return a line for each default that a class has and the YAML node does not show."""
    wrong = []
    for name, default in defaults_of(kind).items():
        if name not in node:
            wrong.append(f"{kind.__name__}.{name} is not shown")
        elif default is dataclasses.MISSING or node[name] == "???":
            continue
        elif "${" not in str(node[name]) and plain(default) != plain(node[name]):
            wrong.append(f"{kind.__name__}.{name} is {default!r}, shown as {node[name]!r}")
    return wrong


def targets(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node
        for inner in node.values():
            yield from targets(inner)


@pytest.mark.parametrize("part", SECTIONS, ids=".".join)
def test_settings_are_what_the_config_shows(part) -> None:
    pipeline, section = part
    node = yaml.safe_load((CONF / f"{pipeline}.yaml").read_text())
    if (pipeline, section) == ("review", "review"):
        node = {"review": yaml.safe_load((CONF / "review" / "default.yaml").read_text())}
    shared = yaml.safe_load((CONF / "real" / "default.yaml").read_text())
    if "real" in node:
        node["real"] = shared | node["real"]
    for name in filter(None, section.split(".")):
        node = node[name]
    assert compare(node, hydra.utils.get_object(SECTIONS[part])) == []


def test_classes_and_functions_are_what_the_config_shows() -> None:
    nodes = []
    for path in sorted(CONF.glob("*/*.yaml")):
        if path.parent.name not in ("backend", "augment"):  # presets, which are choices of values
            nodes += targets(yaml.safe_load(path.read_text()))
    nodes = [node for node in nodes if not node["_target_"].endswith("aux_control")]  # presets, too
    assert len(nodes) >= 30
    wrong = [
        line for node in nodes for line in compare(node, hydra.utils.get_object(node["_target_"]))
    ]
    assert wrong == []


def test_the_test_can_fail() -> None:
    node = {"steps": 4, "guidance": None}
    assert "CropSettings.min_px is not shown" in compare({}, CropSettings)
    assert "PaintingSettings.steps is None, shown as 4" in compare(node, PaintingSettings)


def sections(name: str) -> Mapping[str, Any]:
    return to_plain(compose("generate", [f"backend={name}", "backend.model.checkpoint=x"]))[
        "backend"
    ]


def test_the_config_paints_as_python_does() -> None:
    """backend=embedded and backend=diffusion give what is left out in Python."""
    for name, family_name in (("embedded", "embedded"), ("diffusion", "sd"), ("diffusion", "flux")):
        family = next(one for one in FAMILIES if one.name == family_name)
        call = family.inpaint or next(iter(family.controlled.values()))
        node = sections(name)
        asked = PaintingSettings(**node["painting"])
        assert resolve_painting(asked, family, call) == resolve_painting(
            PaintingSettings(), family, call
        )
        crops = CropSettings(**node["crops"])
        assert resolve_crops(crops, family, 512) == resolve_crops(CropSettings(), family, 512)
        hardware = Hardware(**node["hardware"])
        assert hardware.dtype == family.dtype
        assert dataclasses.replace(hardware, dtype=None) == Hardware()
        others = {key: value for key, value in node["painting"].items() if key not in ADVISED}
        assert compare(others | dict.fromkeys(ADVISED), PaintingSettings) == []
        assert ModelSettings(**node["model"]) == ModelSettings(checkpoint="x")


ADVISED = ("strength", "steps", "guidance", "control_scale")  # by the family's makers
SAID = re.compile(r"`([a-z_.]+)(?:=|: )([^`]+)`(?:, does nothing| is the default| \(the default)")


def test_docs_say_the_defaults() -> None:
    """Sentences such as "`include=accepted` is the default"."""
    said = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        said += SAID.findall(page.read_text(encoding="utf-8"))
    assert len(said) >= 4
    known: dict[str, Any] = {}
    for pipeline in ("export", "generate"):
        node = yaml.safe_load((CONF / f"{pipeline}.yaml").read_text())
        known |= node | {
            k: v for one in node["defaults"] if isinstance(one, dict) for k, v in one.items()
        }
    known["backend"] = sections("embedded")
    for key, value in said:
        node = known
        for name in key.split("."):
            node = node[name]
        assert node == yaml.safe_load(value), key


def test_docs_say_what_a_family_is_painted_with() -> None:
    page = (ROOT / "docs" / "how-to" / "backends.md").read_text(encoding="utf-8")
    for family in FAMILIES:
        row = (
            f"| {family.title} | {family.steps} | {family.strength:g} | {family.guidance:g} | "
            f"{family.control_scale:g} | {family.context_px} | {family.feather_px:g} | "
            f"{'its own' if family.is_native else 'trained'} | {family.dtype} |"
        )
        assert row in page, row
