"""`synthgen report` as it is typed."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from synthgen.imaging.images import write_png
from tests.cli import run_here
from tests.factories import make_run


def run(*arguments: str, folder) -> subprocess.CompletedProcess[str]:
    return run_here("report", *arguments, cwd=folder)


def test_one_run_and_two(tmp_path) -> None:
    make_run(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    done = run("run.folder=a", folder=tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, ["open", "a/report.html"])
    done = run("runs=[a,b]", "out=deep/both.html", folder=tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, ["open", "deep/both.html"])
    assert "<title>synthgen: a and b</title>" in (tmp_path / "deep" / "both.html").read_text()


def test_a_run_says_at_its_start_and_at_its_end_what_it_found_of_the_parts(tmp_path) -> None:
    for number in range(3):
        noise = np.random.default_rng(number).normal(120, 8, (96, 128, 3))
        write_png(tmp_path / "photos" / f"{number}.png", noise.clip(0, 255).astype(np.uint8))
    photos = ("source=folder", "source.path=photos", "defect=[pit]", "backend=sketch")
    done = run_here("generate", *photos, "run.folder=out", "run.count=3", cwd=tmp_path)
    sentence = "No background seen on 3 of 3 photos: defects may go anywhere."
    assert sentence in " ".join(done.stderr.split())
    assert done.stdout.startswith(sentence)
    assert sentence in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give run.folder=... to write the report of a run, or runs=[a,b]"),
        (["run.folder=a", "runs=[a,b]"], "give run.folder=... to write the report of a run"),
        (["runs=[a]"], "give 2 to 6 different finished runs"),
        (["run.folder=nowhere"], "nowhere is not a run of synthgen"),
    ],
)
def test_what_cannot_be_written_is_said_in_a_sentence(tmp_path, arguments, sentence) -> None:
    make_run(tmp_path / "a")
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
