"""Imports point down only, and heavy libraries are imported in the room they belong to."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import synthgen

ROOT = Path(synthgen.__file__).parent
LAYERS = [
    {"errors", "imaging", "sample", "seeds"},
    {"files", "storage", "marking", "images", "geometry", "colour"},
    {
        "realdata",
        "sources",
        "surfaces",
        "defects",
        "bank",
        "placement",
        "control",
        "prompts",
        "gaps",
        "augment",
        "variation",
    },
    {"plan", "condition"},
    {"backends"},
    {"quality", "annotate"},
    {"generate"},
    {"runs", "export", "report"},
    {"review", "training", "evaluation"},
    {
        "overrides",
        "sections",
        "invalid",
        "environment",
        "config",
        "setup",
        "defaults",
        "reproduce",
        "doctor",
        "cli",
        "suggest",
        "__main__",
    },
]
LEVEL = {name: number for number, names in enumerate(LAYERS) for name in names}
ROOMS = {
    "torch": {"augment", "backends", "control", "runs", "seeds", "training", "evaluation"},
    "diffusers": {"backends", "training"},
    "transformers": {"backends", "training"},
    "accelerate": {"training"},
    "torchmetrics": {"evaluation"},
    "torchvision": {"augment", "evaluation", "training"},
    "lightning": {"training"},
    "mlcroissant": {"export"},
    "c2pa": {"export"},
    "controlnet_aux": {"control"},
    "albumentations": {"augment"},
    "ray": {"runs"},
    "fiftyone": {"review"},
    "fsspec": {"storage", "runs"},
    "hydra": {"overrides", "config", "cli", "defaults"},
    "omegaconf": {"environment", "config", "setup", "defaults", "reproduce", "cli"},
}
FILES = sorted(p for p in ROOT.rglob("*.py") if p.relative_to(ROOT).parts[0] not in {"pipelines"})


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "synthgen" and len(parts) > 1:
            assert LEVEL[parts[1]] <= LEVEL[room], f"{room} imports {name}"
        if parts[0] in ROOMS:
            assert room in ROOMS[parts[0]], f"{room} imports {name}"


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, synthgen; print(sorted(m for m in sys.modules if m in ('torch','diffusers')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
