"""Commands in this process, for tests that need no other: processes start slowly."""

from __future__ import annotations

import io
import runpy
import sys
import warnings
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from synthgen.commands.cli import main

__all__ = ["run_here", "run_script", "run_well"]


def run_here(*arguments: str, cwd: Path | None = None) -> CompletedProcess[str]:
    """Run ``synthgen`` in this process, in folder ``cwd``; a traceback is raised as it is."""
    return _run(main, ["synthgen", *arguments], cwd)


def run_script(path: Path | str, *arguments: str, cwd: Path) -> str:
    """Run a Python file in this process, where it must succeed; return what it printed.

    Warnings are no errors there: those of other people's packages are not ours to mend.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = partial(runpy.run_path, str(path), run_name="__main__")
        done = _run(program, [str(path), *arguments], cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_well(*arguments: str, cwd: Path | None = None) -> str:
    """Run ``synthgen`` in this process, where it must succeed; return what it said."""
    done = run_here(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(
    program: Callable[[], object], command: list[str], cwd: Path | None
) -> CompletedProcess[str]:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        chdir(cwd or "."),
        patch.object(sys, "argv", command),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            program()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return CompletedProcess(command, code, out.getvalue(), err.getvalue())
