"""Streams: one per place, and no two places share one."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import synthgen
from synthgen.samples.seeds import stream

ROOT = Path(synthgen.__file__).parent


def test_a_last_zero_is_as_if_it_were_not_there() -> None:
    draws = [stream(5, *path).integers(2**62) for path in (("x",), ("x", 0), ("x", 1), ("y",))]
    assert draws[0] == draws[1]  # so nobody may use both, which the next test looks for
    assert len(set(draws)) == 3


def test_each_purpose_always_has_as_many_numbers_after_it() -> None:
    counts: dict[str, set[int]] = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "stream":
                for place, argument in enumerate(node.args):
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        counts[argument.value].add(len(node.args) - place - 1)
    assert {"spec", "sources", "splits", "paint"} <= set(counts)
    assert {purpose: found for purpose, found in counts.items() if len(found) > 1} == {}
