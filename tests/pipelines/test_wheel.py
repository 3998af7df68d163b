"""The wheel, installed elsewhere, paints in an empty folder: conf/ and the model are in it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd

from tests.unit.test_own_config import write_documented

ROOT = Path(__file__).resolve().parents[2]


def test_an_installed_wheel_generates_in_an_empty_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, str(tmp_path / "dist")], cwd=ROOT, check=True, capture_output=True)
    wheel = next((tmp_path / "dist").glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        assert "synthgen/py.typed" in archive.namelist()
    (tmp_path / "empty").mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path / "empty",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = python("-c", "import synthgen; print(synthgen.__file__)")
    assert where.startswith(str(tmp_path / "installed"))
    python("-m", "synthgen", "generate", "debug=smoke", "run.folder=out")
    assert "data:image/jpeg" in python(
        "-c", "import synthgen; print(synthgen.open_run('out')._repr_html_())"
    )
    manifest = pd.read_parquet(tmp_path / "empty" / "out" / "manifest.parquet")
    assert (manifest["status"] == "accepted").any()
    assert set(manifest["backend"]) == {"embedded", ""}

    # a class with a shape, and an experiment, of one's own: docs/how-to/configuration.md
    write_documented(tmp_path / "empty")
    environment["PYTHONPATH"] += os.pathsep + str(tmp_path / "empty")
    command = ["experiment=line2", "backend=sketch", "run.folder=own"]
    python("-P", "-c", "from synthgen.commands.cli import main; main()", "generate", *command)
    own = pd.read_parquet(tmp_path / "empty" / "own" / "manifest.parquet")
    assert set(own["defect_class"]) - {""} == {"gouge", "scratch"}
