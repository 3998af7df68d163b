"""The whole fuzzing: python -m tests.fuzz [seed] [configs] [artefacts].

Breaks configs of every pipeline and files of runs and banks, and fails on a traceback, a hang, a
write outside, exit code 0 on what is wrong, and where under 98 % of messages name key or file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tests.fuzz.artefacts import fuzz_artefacts
from tests.fuzz.configs import fuzz_configs
from tests.fuzz.ground import Tally, lay_ground, temporary

NAMED = 0.98
DEFAULTS = (0, 1000, 400)


def main() -> None:
    asked = [int(one) for one in sys.argv[1:]]
    seed, configs, artefacts = [*asked, *DEFAULTS[len(asked) :]]
    is_good = True
    with temporary() as folder:
        ground = lay_ground(Path(folder) / "ground")
        for what, fuzz, count in (
            ("configs", fuzz_configs, configs),
            ("artefacts", fuzz_artefacts, artefacts),
        ):
            tally = Tally()
            fuzz(ground, seed, count, tally)
            print(f"{what}: {tally}", flush=True)
            for one in [*tally.found, *tally.unnamed]:
                print(one)
            is_good &= not tally.found and tally.named_fraction >= NAMED
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
