"""A sample of the fuzzing; all of it: python -m tests.fuzz."""

from __future__ import annotations

import os
from pathlib import Path

from tests import starter

ROOT = Path(__file__).resolve().parents[2]


def test_a_sample_of_what_is_broken_is_told_in_a_sentence() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    fuzz = ("-m", "tests.fuzz", "11", "10", "10", "2")
    done = starter.run(*fuzz, kind="all", cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
