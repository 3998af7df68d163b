"""The model card, written from the record of the training."""

from __future__ import annotations

import csv
import platform
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["processor_name", "write_card"]


def write_card(
    folder: Path, settings: Mapping[str, Any], log: Path, parameters: Mapping[str, int]
) -> None:
    """Write ``README.md`` and ``log.csv`` into the model folder."""
    with log.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    seconds = sum(int(r["crops"]) / max(float(r["crops_per_s"]), 1e-9) for r in rows)
    template = resources.files("synthgen.training").joinpath("card.md").read_text(encoding="utf-8")
    card = template.format(
        **{name: count / 1e6 for name, count in parameters.items()},
        crops=sum(int(row["crops"]) for row in rows),
        sizes=" and ".join(str(size) for size in sorted(set(settings["crop_sizes_px"]))),
        steps=settings["steps"],
        hours=seconds / 3600,
        rate=settings["learning_rate"],
        ema=settings["ema_decay"],
        drop_prompt=settings["drop_prompt"],
        drop_control=settings["drop_control"],
        machine=f"{platform.machine()} {processor_name()}",
        torch=version("torch"),
        first_loss=float(rows[0]["loss"]),
        last_loss=float(rows[-1]["loss"]),
        precision=settings["mixed_precision"],
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "log.csv").write_text(log.read_text(encoding="utf-8"), encoding="utf-8")


def processor_name() -> str:
    """Return what the machine calls its CPU."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
