"""The model card, written from the record of the training."""

from __future__ import annotations

import csv
import platform
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthgen.backends.checkpoints.find import find_checkpoint
from synthgen.training.crops import PHOTO_FRACTION

__all__ = ["processor_name", "write_model_card"]


def write_model_card(
    folder: Path,
    settings: Mapping[str, Any],
    log: Path,
    parameters: Mapping[str, int],
    photos: Mapping[str, int],
    real: Mapping[str, int],
) -> None:
    """Write ``README.md`` and ``log.csv`` into the model folder.

    ``settings``: PretrainSettings as a dict. ``log``: the training's own CSV file; where it started
    from a model, the log of that one comes first. ``parameters``: how many weights each part has.
    ``photos``: how many of each folder of ``settings["photos"]`` were seen; ``real``: of
    ``settings["real"]``. Raises what ``find_checkpoint`` does.
    """
    start, before, started = settings["start"], [], ""
    if start:
        before = _rows(find_checkpoint(start).folder / "log.csv")
        counted = "whose crops and hours count here" if before else "whose record is not at hand"
        started = f"on from an earlier version, {counted}; then "
    rows = before + _rows(log)
    seconds = sum(int(r["crops"]) / max(float(r["crops_per_s"]), 1e-9) for r in rows)
    template = resources.files("synthgen.training").joinpath("card.md").read_text(encoding="utf-8")
    card = template.format(
        **{name: count / 1e6 for name, count in parameters.items()},
        crops=sum(int(row["crops"]) for row in rows),
        sizes=", ".join(str(size) for size in sorted(set(settings["crop_sizes_px"]))),
        steps=settings["steps"],
        started=started,
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
        **_describe_data(settings, photos, real),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["step", "loss", "crops", "crops_per_s"])
        writer.writeheader()
        writer.writerows(rows)


def _rows(log: Path) -> list[dict[str, str]]:
    if not log.is_file():
        return []
    with log.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _describe_data(
    settings: Mapping[str, Any], photos: Mapping[str, int], real: Mapping[str, int]
) -> dict[str, str]:
    """Return what the card says of photos, real defects and the loss, by the template's names."""
    surfaces, defects = "No photographs, no data of others.", "It has seen drawn defects only."
    if settings["photos"]:
        said = (
            f"Photographs as surfaces, in {PHOTO_FRACTION:.0%} of the crops once there were any "
            "(none of them is in this folder):"
        )
        surfaces = _tabulate(said, "photographs", settings["photos"], photos)
    if settings["real"]:
        said = (
            f"Real defects, in {settings['real_fraction']:.0%} of the crops, each with its photo "
            "as it looks without them:"
        )
        defects = _tabulate(said, "photographs with defects", settings["real"], real)
    terms = ["squared error of the change (min-SNR-5)"]
    if settings["gradient_weight"] > 0:
        terms.append(f"{settings['gradient_weight']:g} x difference of neighbouring pixels")
    if settings["feature_weight"] > 0:
        terms.append(f"{settings['feature_weight']:g} x features of EfficientNet-Lite0 (ImageNet)")
    return {"photos": surfaces, "real": defects, "losses": ", ".join(terms)}


def _tabulate(said: str, what: str, folders: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    """Return a sentence and a table of origins: how many images of each, under which licence."""
    lines = [said, "", f"| {what} | n | licence |", "|---|---|---|"]
    for name, folder in sorted(folders.items()):
        lines.append(f"| {folder['origin']} | {counts[name]} | {folder['licence']} |")
    return "\n".join(lines)


def processor_name() -> str:
    """Return what the machine calls its CPU; "" where it does not say.

    Linux tells the model in /proc/cpuinfo; elsewhere Python's ``platform`` may know it.
    """
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
