"""THIRD_PARTY.md is that of today's pyproject.toml and constraints.txt."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    path = ROOT / "docs" / "tabulate_licences.py"
    spec = importlib.util.spec_from_file_location("tabulate_licences", path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_what_is_installed(licences) -> None:
    assert licences.PAGE.read_text(encoding="utf-8") == licences.write_page()


def test_what_is_needed_to_generate_is_permissive(licences) -> None:
    core = licences.follow(licences.read_groups()["core"])
    assert {"torch", "sympy", "huggingface-hub"} <= core  # what others bring, too
    said = {name: " ".join(licences.read_sayings(name)) for name in core}
    assert [name for name, text in said.items() if re.search(r"GPL|SSPL", text)] == []


def test_what_optional_extras_bring_is_followed(licences) -> None:
    assert "py7zr" in licences.follow([Requirement("fiftyone")])
