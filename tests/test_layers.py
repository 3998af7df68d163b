"""Imports point down only, and heavy libraries are imported in the room they belong to."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import synthgen

ROOT = Path(synthgen.__file__).parent
ORDER = (  # of the rooms: each imports from those before it alone
    *("errors", "progress", "samples", "storage", "imaging", "realdata", "sources"),
    *("defects", "references"),
    *(
        "planning",
        "conditioning",
        "backends",
        "quality",
        "generation",
        "runs",
        "exporting",
        "report",
    ),
    *("training", "review", "evaluation", "config", "doctor", "commands", "__main__"),
)
LEVEL = {name: number for number, name in enumerate(ORDER)}
COMMANDS = {"generate", "export", "adapt", "open_run", "main"}
MAX_ENTRIES, MAX_MODULES, MAX_LINES = 25, 14, 400
ROOMS = {
    "torch": {"conditioning", "backends", "generation", "samples", "training", "evaluation"},
    "diffusers": {"backends", "training"},
    "transformers": {"backends", "training"},
    "accelerate": {"training"},
    "torchmetrics": {"evaluation"},
    "torchvision": {"conditioning", "evaluation", "training"},
    "lightning": {"training"},
    "mlcroissant": {"exporting"},
    "c2pa": {"exporting"},
    "controlnet_aux": {"conditioning"},
    "albumentations": {"conditioning"},
    "ray": {"generation"},
    "fiftyone": {"review"},
    "fsspec": {"storage", "runs"},
    "hydra": {"config", "commands"},
    "omegaconf": {"config", "commands"},
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


def test_the_house_has_few_rooms_and_no_room_is_crowded() -> None:
    entries = [p for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    assert len(entries) <= MAX_ENTRIES
    assert {p.stem for p in entries} == {*ORDER, "__init__"}
    for folder in {path.parent for path in FILES}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MAX_MODULES, folder


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, synthgen; print(sorted(m for m in sys.modules if m in ('torch','diffusers')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_of_the_architecture_names_what_is_there() -> None:
    page = (ROOT.parent / "docs" / "explain" / "architecture.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rooms == [name for name in ORDER if name != "__main__"]
    places = re.findall(r"`((?:\w+\.)+\w+)`", page)
    named = [place for place in places if place.split(".")[0] in rooms]
    assert len(named) > 10
    for place in named:
        module, _, name = place.rpartition(".")
        assert hasattr(importlib.import_module(f"synthgen.{module}"), name), place
    steps = [int(step) for step in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert steps == [*range(1, 11), *range(1, 5)]  # at most 10 and 4 hops


def test_every_public_name_is_used() -> None:
    texts = {
        path: path.read_text(encoding="utf-8")
        for folder in ("synthgen", "pipelines", "tests", "docs", "benchmarks", "conf")
        for path in (ROOT.parent / folder).rglob("*")
        if path.suffix in {".py", ".md", ".yaml", ".j2"}
    }
    counts = Counter(name for text in texts.values() for name in re.findall(r"[A-Za-z_]\w*", text))
    unused = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in FILES
        for node in ast.parse(texts[path]).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
        if counts[name] <= 2  # where it is defined, and in __all__
    ]
    assert unused == []


def test_a_public_name_is_defined_once() -> None:
    defined = Counter(
        node.name
        for path in FILES
        if "plugin" not in path.parts
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        if not node.name.startswith("_")
    )
    twice = {name for name, count in defined.items() if count > 1}
    assert (
        twice <= COMMANDS
    )  # what a command does, called from Python, beside the step that does it
