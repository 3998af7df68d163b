"""How long a run of 10,000 images takes into FiftyOne and back.

python benchmarks/review.py [images]

Draws the run folder once, as benchmarks/export.py does. Each step is `synthgen review push` or
`pull` as a command, so that the start of Python and of the database is in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from export import draw_run

DECIDE = """
import sys
from synthgen.review.service.database import load_fiftyone
from synthgen.review.decisions import decide
dataset = load_fiftyone().load_dataset("run")
print(decide(dataset, dataset.values("id"), "accept", "", "bench"))
"""


def timed(name: str, *command: str) -> None:
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - begun
    print(f"{name:<28}{seconds:6.1f} s   {done.stdout.strip().splitlines()[0]}", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        os.environ["FIFTYONE_DATABASE_DIR"] = f"{folder}/database"
        draw_run(run, count)
        push = ("-m", "synthgen", "review", "push", f"run.folder={run}")
        pull = ("-m", "synthgen", "review", "pull", f"run.folder={run}")
        timed("push all", *push)
        timed("push again, nothing is new", *push)
        timed("accept all", "-c", DECIDE)
        timed("pull all", *pull)
        timed("pull again", *pull)
        timed("push what has a verdict now", *push)


if __name__ == "__main__":
    main()
