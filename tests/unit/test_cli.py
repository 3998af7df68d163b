"""The command itself: its version, and completion in a shell."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.cli import run_here, run_well

ROOT = Path(__file__).resolve().parents[2]


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert run_well("--version").strip() == project["version"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == project["version"]
    assert cited["license"] == project["license"]


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("synthgen ge", ["generate"]),
        ("synthgen review pu", ["pull", "push"]),
        ("synthgen evaluate ", ["fidelity", "labels", "realism", "utility"]),
        ("synthgen nonsense ", []),
        ("synthgen generate qual", ["quality.", "quality="]),
        ("synthgen generate backend=sk", ["backend=sketch"]),
        ("synthgen generate executor=processes executor.wor", ["executor.workers="]),
        ("synthgen evaluate utility evaluate.bud", ["evaluate.budgets."]),
    ],
)
def test_a_line_is_completed(line: str, choices: list[str], monkeypatch) -> None:
    for shell, separator in (("bash", " "), ("fish", "\n")):
        monkeypatch.setenv("COMP_LINE", line)
        assert run_well("-sc", f"query={shell}").rstrip("\n") == separator.join(choices)


def test_bash_completes_after_its_script_was_read(tmp_path) -> None:
    program = tmp_path / "synthgen"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m synthgen "$@"\n')
    program.chmod(0o755)
    script = """
    eval "$(synthgen --shell-completion install=bash)"
    complete -p synthgen
    COMP_LINE="synthgen generate quality=str" COMP_POINT=29 COMP_CWORD=2
    hydra_bash_completion
    echo "${COMPREPLY[@]}"
    """
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "quality=strict"
    assert "hydra_bash_completion synthgen" in done.stdout


@pytest.mark.parametrize("request_", ["install", "install=powershell"])
def test_another_shell_is_a_sentence(request_: str) -> None:
    done = run_here("-sc", request_)
    assert done.returncode == 2
    assert "install=bash" in done.stderr
