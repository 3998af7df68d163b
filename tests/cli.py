"""The command line in this process, for tests that need no other: processes start slowly."""

from __future__ import annotations

import io
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from synthgen.cli import main

__all__ = ["run_here", "run_well"]


def run_here(*arguments: str, cwd: Path | None = None) -> CompletedProcess[str]:
    """Run ``synthgen`` in this process, in folder ``cwd``; a traceback is raised as it is."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        chdir(cwd or "."),
        patch.object(sys, "argv", ["synthgen", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def run_well(*arguments: str, cwd: Path | None = None) -> str:
    """Run ``synthgen`` in this process, where it must succeed; return what it said."""
    done = run_here(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout
