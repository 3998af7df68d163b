"""Control annotators of controlnet-aux (lineart, HED, PidiNet, ...), geometry always restored."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ConfigError, ModelError

__all__ = ["AuxControl"]

WITHOUT_WEIGHTS = {"lineart": "LineartStandardDetector"}
WITH_WEIGHTS = {
    "hed": ("HEDdetector", "ControlNetHED.pth"),
    "pidinet": ("PidiNetDetector", "table5_pidinet.pth"),
}


class AuxControl:
    """A detector of controlnet-aux; those with weights load them from a local folder.

    The detectors round both sides to multiples of 64 pixels. The image is therefore padded to such
    a size first and the map is cut back, so that it lies on the image to the pixel.
    """

    def __init__(self, detector: str, folder: str | None = None) -> None:
        known = sorted([*WITHOUT_WEIGHTS, *WITH_WEIGHTS])
        if detector not in known:
            raise ConfigError(
                f"control.detector={detector!r} is unknown; choose from {', '.join(known)}"
            )
        if detector in WITH_WEIGHTS:
            _check_folder(detector, folder)
        self.detector, self.folder = detector, folder
        self._loaded: Any = None

    def annotate(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        below, right = -height % 64, -width % 64
        padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        if self._loaded is None:
            self._loaded = self._load()
        side = min(padded.shape[:2])
        sizes: dict[str, Any] = {"detect_resolution": side}
        if self.detector in WITH_WEIGHTS:
            sizes |= {"image_resolution": side, "output_type": "np"}
        edges = np.asarray(self._loaded(padded, **sizes), np.uint8)
        if edges.shape[:2] != padded.shape[:2]:
            edges = cv2.resize(edges, padded.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        grey = edges if edges.ndim == 2 else edges.max(axis=2)
        return grey[:height, :width].copy()

    def _load(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns about mediapipe and timm, which are not used
            try:
                import controlnet_aux
            except ImportError as error:
                raise ModelError(
                    f"control {self.detector!r} needs controlnet-aux; "
                    "install it with pip install 'synthgen-inspection[edges]'"
                ) from error
            if self.detector in WITHOUT_WEIGHTS:
                return getattr(controlnet_aux, WITHOUT_WEIGHTS[self.detector])()
            return getattr(controlnet_aux, WITH_WEIGHTS[self.detector][0]).from_pretrained(
                self.folder
            )


def _check_folder(detector: str, folder: str | None) -> None:
    name = WITH_WEIGHTS[detector][1]
    if folder is None or not (Path(folder) / name).is_file():
        raise ModelError(
            f"control {detector!r} reads its weights from {name} in control.folder, "
            f"which is {folder!r}; download that file there"
        )
