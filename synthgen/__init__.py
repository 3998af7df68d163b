"""Synthetic training data for vision inspection: good photos in, labelled defect images out.

``preview``, ``generate``, ``export``, ``inspect``, ``bank`` and ``adapt`` do what the commands of
these names do, ``open_run`` reads a finished run, and ``train_inspector`` trains on one;
docs/how-to/python.md shows each. Names are loaded when they are first used, so that importing the
package is quick.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers see; the same names are in HOMES
    from synthgen.commands.adapt import AdaptResult, adapt
    from synthgen.commands.bank import Bank, bank
    from synthgen.commands.export import export
    from synthgen.commands.generate import generate
    from synthgen.commands.inspect import inspect
    from synthgen.commands.inspector import train_inspector
    from synthgen.commands.preview import PreviewResult, preview
    from synthgen.commands.run import Run, StoredSample, open_run
    from synthgen.errors import SynthgenError
    from synthgen.evaluation.inspectors.inspector import Inspector
    from synthgen.exporting.write import ExportResult
    from synthgen.samples.sample import (
        Annotation,
        Candidate,
        Condition,
        Measurement,
        Sample,
        SampleSpec,
    )
else:
    HOMES = {
        **dict.fromkeys(("AdaptResult", "adapt"), "commands.adapt"),
        **dict.fromkeys(("Bank", "bank"), "commands.bank"),
        **dict.fromkeys(("PreviewResult", "preview"), "commands.preview"),
        **dict.fromkeys(("Run", "StoredSample", "open_run"), "commands.run"),
        **{name: f"commands.{name}" for name in ("export", "generate", "inspect")},
        "train_inspector": "commands.inspector",
        "Inspector": "evaluation.inspectors.inspector",
        "SynthgenError": "errors",
        "ExportResult": "exporting.write",
        **dict.fromkeys(
            ("Annotation", "Candidate", "Condition", "Measurement", "Sample", "SampleSpec"),
            "samples.sample",
        ),
    }

    def __getattr__(name):
        if name not in HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *HOMES})


__all__ = [
    "AdaptResult",
    "Annotation",
    "Bank",
    "Candidate",
    "Condition",
    "ExportResult",
    "Inspector",
    "Measurement",
    "PreviewResult",
    "Run",
    "Sample",
    "SampleSpec",
    "StoredSample",
    "SynthgenError",
    "adapt",
    "bank",
    "export",
    "generate",
    "inspect",
    "open_run",
    "preview",
    "train_inspector",
]
