"""Does memory stay flat over a long run? 5,000 small images, and the run's memory at each tenth.

python benchmarks/soak.py [images] [override ...]

Prints the median resident memory (MB) of each tenth of the painting, and the last third's over
the first third's. The sketch backend by default; e.g. backend=embedded backend.painting.steps=2.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        small = ["source.size_hw=[96,96]", "source.count=200", f"run.count={count}"]
        chosen = sys.argv[2:] or ["backend=sketch"]
        command = [sys.executable, "-m", "synthgen", "generate", f"run.folder={run}", *small]
        begun = time.perf_counter()
        with subprocess.Popen([*command, *chosen], stderr=subprocess.DEVNULL) as work:
            process, seen = psutil.Process(work.pid), list[float]()
            while work.poll() is None:
                is_painting = (run / "shards").is_dir() and not (run / "manifest.parquet").exists()
                if is_painting:
                    seen.append(process.memory_info().rss / 1e6)
                time.sleep(0.2)
        if work.returncode:
            sys.exit(work.returncode)
    fraction = len(seen) // 10
    tenths = [statistics.median(seen[n * fraction : (n + 1) * fraction]) for n in range(10)]
    third = len(seen) // 3
    ratio = statistics.median(seen[-third:]) / statistics.median(seen[:third])
    print(f"{count} images in {time.perf_counter() - begun:.0f} s")
    print("MB by tenths:", " ".join(f"{value:.0f}" for value in tenths))
    print(f"last third over first third: {ratio:.3f}")


if __name__ == "__main__":
    main()
