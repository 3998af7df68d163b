"""Say what runs on this machine, and how to mend what does not.

synthgen doctor
synthgen doctor models=~/models
synthgen doctor out=doctor.json

Exit code 0 where the default backend, embedded, can run, 1 otherwise. The JSON is for reports of
faults: it holds no user names, and ~ stands for the home folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.config.objects import find_text
    from synthgen.doctor import diagnose, show_diagnosis, write_diagnosis

    models, out = find_text(config, "models"), find_text(config, "out")
    diagnosis = diagnose(models)
    show_diagnosis(diagnosis)
    if out is not None:
        write_diagnosis(diagnosis, Path(out))
        print(f"written: {out}")
    if not diagnosis.is_well:
        sys.exit(1)


if __name__ == "__main__":
    run_pipeline("doctor", main)
