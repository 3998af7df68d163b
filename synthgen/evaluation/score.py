"""Scores with their bars, as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from synthgen.errors import ModelError
from synthgen.storage.files import write_text

__all__ = ["Score", "put_card_part", "summarise_scores", "tabulate_scores", "write_scores"]


@dataclass(frozen=True, slots=True)
class Score:
    """One line of the table. ``minimum``, ``maximum``: the bar, None where there is none.

    ``value`` may be NaN, which misses every bar.
    """

    name: str
    value: float
    minimum: float | None = None
    maximum: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the value keeps its bar; None where it has none."""
        if self.minimum is None and self.maximum is None:
            return None
        above = self.minimum is None or self.value >= self.minimum
        return bool(above and (self.maximum is None or self.value <= self.maximum))


def write_scores(path: Path, scores: Sequence[Score], facts: Mapping[str, Any]) -> None:
    """Write scores and what they depend on as JSON: ``facts`` and ``scores``.

    A value that is not a finite number becomes null.
    """
    rows = [asdict(score) | {"is_met": score.is_met} for score in scores]
    for row in rows:
        row["value"] = row["value"] if math.isfinite(row["value"]) else None
    text = json.dumps({"facts": dict(facts), "scores": rows}, indent=1, ensure_ascii=False) + "\n"
    write_text(path, text)


def tabulate_scores(scores: Sequence[Score]) -> list[str]:
    """Return the scores as lines of a Markdown table, three digits each, in their order."""
    lines = ["| score | value | bar | | |", "|---|---|---|---|---|"]
    for score in scores:
        bar = "" if score.minimum is None else f">= {score.minimum:g}"
        bar = bar if score.maximum is None else f"<= {score.maximum:g}"
        met = {None: "", True: "met", False: "**missed**"}[score.is_met]
        lines.append(f"| {score.name} | {score.value:.3g} | {bar} | {met} | {score.note} |")
    return lines


def summarise_scores(title: str, scores: Sequence[Score]) -> Table:
    """Return the scores that have a bar as a table for the terminal, ``title`` above them."""
    table = Table(title=title, title_justify="left")
    for column in ("score", "value", "bar", ""):
        table.add_column(column)
    for score in scores:
        if score.is_met is not None:
            bar = f">= {score.minimum:g}" if score.minimum is not None else f"<= {score.maximum:g}"
            verdict = "[green]met[/green]" if score.is_met else "[red]missed[/red]"
            table.add_row(score.name, f"{score.value:.3g}", bar, verdict)
    return table


def put_card_part(model: Path, name: str, lines: Sequence[str]) -> None:
    """Put lines at the end of a model's card, in place of the part of that name which is there.

    ``model`` is a folder with a README.md; ModelError is raised where it has none.
    """
    card = model / "README.md"
    if not card.is_file():
        raise ModelError(f"{model} has no README.md to put the scores in; give a model with a card")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = card.read_text(encoding="utf-8")
    if begin in text and end in text:
        head, rest = text.split(begin, 1)
        text = head.rstrip() + "\n" + rest.split(end, 1)[1]
    part = "\n".join(["", begin, *lines, "", end, ""])
    write_text(card, text.rstrip() + "\n" + part)
