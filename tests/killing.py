"""Starts a command again and again in a forked process and kills it at random, until it ends.

python tests/killing.py <kills> <seed> generate run.folder=... ...

Everything heavy is imported before the first fork, so that a start costs nothing. A kill comes at
a random moment between a start and the time that an undisturbed run takes, so in the middle of
files, of shards, of the merge and of the report, too. Prints how many kills hit a living process.
"""

from __future__ import annotations

import os
import random
import runpy
import signal
import sys
import time
from pathlib import Path

import cv2
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]


def start(arguments: list[str]) -> int:
    """Fork; the child runs the pipeline and ends. Returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        sys.argv = ["synthgen", *arguments[1:]]
        runpy.run_path(str(ROOT / "pipelines" / f"{arguments[0]}.py"), run_name="__main__")
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


def main() -> None:
    kills, draw, arguments = int(sys.argv[1]), random.Random(int(sys.argv[2])), sys.argv[3:]
    cv2.setNumThreads(1)
    hits, slice_s = 0, 0.5
    while True:
        begun = time.monotonic()
        child = start(arguments)
        if hits < kills:
            time.sleep(draw.uniform(0.02, slice_s))
            if os.waitpid(child, os.WNOHANG) == (0, 0):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                hits += 1
                continue
            sys.exit(f"it ended after {time.monotonic() - begun:.2f} s and {hits} kills; plan more")
        _, status = os.waitpid(child, 0)
        print(f"{hits} kills")
        sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
