"""A diagnosis as tables for a person, and as JSON for a report of a fault."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from synthgen.doctor.diagnose import Diagnosis
from synthgen.doctor.models import FoundModel
from synthgen.storage.files import write_text

__all__ = ["show_diagnosis", "write_diagnosis"]


def write_diagnosis(diagnosis: Diagnosis, path: Path) -> None:
    """Write it as JSON with sorted keys, without the home folder and the user's name.

    Raises RunError where the disk refuses.
    """
    write_text(path, json.dumps(diagnosis.to_plain(), indent=2, sort_keys=True) + "\n")


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """Print one table on the terminal: packages, machine, models, and what runs.

    Warnings stand below it, each with the command that mends it on the same line.
    """
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for package in diagnosis.packages:
        missing = f"[yellow]not installed[/yellow], {escape(package.mend)}"
        table.add_row(package.name, escape(package.version) if package.version else missing)
    _begin(table, "machine")
    for name, value in diagnosis.machine.items():
        table.add_row(name, escape(value))
    _begin(table, "models")
    for model in diagnosis.models:
        table.add_row(escape(model.name), _describe(model))
    _begin(table, "what runs")
    for feature in diagnosis.features:
        why = f"{escape(feature.note)}: [bold]{escape(feature.mend)}[/bold]"
        yes = "[green]yes[/green]" + (f", {escape(feature.note)}" if feature.note else "")
        table.add_row(escape(feature.name), yes if feature.runs else f"[red]no[/red], {why}")
    console = Console(highlight=False)
    console.print(table)
    for warned in diagnosis.warnings:
        console.print(
            f"[yellow]warning[/yellow] {escape(warned.text)}: [bold]{escape(warned.mend)}[/bold]",
            soft_wrap=True,
        )


def _begin(table: Table, title: str) -> None:
    table.add_row("")
    table.add_row(f"[bold]{title}[/bold]")


def _describe(model: FoundModel) -> str:
    """Return a model's cell: what it is, then, in a line of its own, why it does not run."""
    if not model.class_name:
        return f"[red]{escape(model.error)}[/red]"
    parts = [
        model.family or model.class_name,
        model.class_name if model.family else "",
        f"{model.gigabytes:.2f} GB",
        f"licence {model.licence or 'not stated'}",
        f"digest {model.digest or 'not read yet'}",
    ]
    text = escape(", ".join(part for part in parts if part))
    return f"{text}\n[red]{escape(model.error)}[/red]" if model.error else text
