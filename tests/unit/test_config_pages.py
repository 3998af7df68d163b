"""The pages of docs/reference/config hold every key of conf/ as it stands there today."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "tabulate_config.py"))


def test_the_pages_are_those_of_today(script) -> None:
    folder = ROOT / "docs" / "reference" / "config"
    told = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert script["write_pages"]() == told, "python docs/tabulate_config.py writes them"


def test_every_key_has_a_sentence(script) -> None:
    files = [one for files in script["read_files"]().values() for one in files]
    bare = [f"{one.path}: {key.name}" for one in files for key in one.keys if not key.sentence]
    assert not bare, "write a comment beside each of them in conf/"
    assert all(one.about for one in files)


def test_every_key_of_a_file_is_told(script) -> None:
    def leaves(node: Any, prefix: str) -> set[str]:
        if not isinstance(node, dict) or not node:
            return {prefix}
        return set().union(*(leaves(v, f"{prefix}.{k}".lstrip(".")) for k, v in node.items()))

    files = {one.path: one for files in script["read_files"]().values() for one in files}
    for path, one in files.items():
        node = yaml.safe_load((ROOT / "conf" / path).read_text(encoding="utf-8"))
        node.pop("defaults", None)
        told = {key.name for key in one.keys if key.default}
        for leaf in leaves(node, "") - {""}:
            if not leaf.endswith("_target_"):
                assert any(_is_told(leaf, name) for name in told), f"{path}: {leaf}"


def _is_told(leaf: str, name: str) -> bool:
    """A page names a key with its group before it, or what holds the key as one value."""
    parts, told = leaf.split("."), name.split(".")
    heads = [parts[: i + 1] for i in range(len(parts))]
    return any(told[-len(head) :] == head for head in heads)


def test_a_key_and_its_sentence_are_read_as_they_stand(script, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(script["read_file"].__globals__, "CONF", tmp_path)
    (tmp_path / "one.yaml").write_text(
        '# What it does.\na: "x # y" # the first\n  # and more\nb:\n  c: [1, 2] # px\n  d: null\n'
    )
    one = script["read_file"](tmp_path / "one.yaml")
    assert one.about == "What it does."
    assert [(key.name, key.default, key.sentence) for key in one.keys] == [
        ("a", '"x # y"', "the first and more"),
        ("b.c", "[1, 2]", "px"),
        ("b.d", "null", ""),
    ]
