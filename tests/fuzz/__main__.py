"""The whole fuzzing: python -m tests.fuzz [seed] [configs] [artefacts] [kills].

Breaks configs of every pipeline and files of runs and banks, kills commands, and fails on a
traceback, a hang, a write outside, exit code 0 on what is wrong, a half-written file, and where
under 98 % of messages name key or file.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import cv2
import torch

from tests.fuzz.artefacts import fuzz_artefacts
from tests.fuzz.configs import fuzz_configs
from tests.fuzz.ground import Tally, lay_ground, temporary
from tests.fuzz.kills import fuzz_kills

HEAVY = (  # imported once, before the forks
    *("synthgen.backends.diffusion.backend", "synthgen.report", "synthgen.config.build"),
    *("synthgen.references.items",),
    *("synthgen.evaluation.fidelity.report", "synthgen.evaluation.utility.protocol"),
    *("synthgen.evaluation.realism.report", "synthgen.conditioning.control.hed_weights"),
    *(
        "synthgen.training.adaptation.adapt",
        "synthgen.training.pretrain",
        "synthgen.exporting.gather",
    ),
    *("synthgen.exporting.write", "synthgen.config.reproduce"),
    *("synthgen.generation.executors.processes",),
    *(
        "synthgen.evaluation.utility.report",
        "synthgen.report.preview",
        "synthgen.exporting.signing",
    ),
)
NAMED = 0.98
DEFAULTS = (0, 1000, 400, 20)


def main() -> None:
    asked = [int(one) for one in sys.argv[1:]]
    seed, configs, artefacts, kills = [*asked, *DEFAULTS[len(asked) :]]
    is_good = True
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for name in HEAVY:
        importlib.import_module(name)
    with temporary() as folder:
        ground = lay_ground(Path(folder) / "ground")
        for what, fuzz, count in (
            ("configs", fuzz_configs, configs),
            ("artefacts", fuzz_artefacts, artefacts),
            ("kills", fuzz_kills, kills),
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
