"""Control annotators of controlnet-aux (lineart, HED, depth, ...), geometry always restored."""

from __future__ import annotations

import importlib
import inspect
import pickle
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import validate_call

from synthgen.conditioning.control.controls import Annotator, Control
from synthgen.conditioning.control.dense import DenseControl
from synthgen.conditioning.control.edges import EdgeControl
from synthgen.errors import ConfigError, ModelError
from synthgen.imaging.silence import silent_warnings

__all__ = ["DETECTORS", "AuxAnnotator", "Detector", "Net", "aux_control"]

STEP_PX = 64  # the detectors round both sides of an image to multiples of it
SAFE = ".safetensors"  # read in place of the published file, where there is one of its stem
ONE_AT_A_TIME = threading.Lock()  # MiDaS keeps what it saw in a global; loading is done once


@dataclass(frozen=True, slots=True)
class Net:
    """A network: the file of its weights, where its class is, and what it is made with."""

    file: str
    module: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector of controlnet-aux. ``options``: what a config may set, and its default."""

    class_name: str
    nets: tuple[Net, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    control: Callable[[Annotator], Control] = EdgeControl
    made_by: str = ""  # the command that makes its file, where there is one


LINEART = {"input_nc": 3, "output_nc": 1, "n_residual_blocks": 3}
DPT_HYBRID = {"backbone": "vitb_rn50_384", "non_negative": True}
DETECTORS: dict[str, Detector] = {
    "lineart_standard": Detector(
        "LineartStandardDetector", options={"guassian_sigma": 6.0, "intensity_threshold": 8}
    ),
    "lineart": Detector(
        "LineartDetector",
        (
            Net("sk_model.pth", "lineart", "Generator", LINEART),
            Net("sk_model2.pth", "lineart", "Generator", LINEART),
        ),
        {"coarse": False},
    ),
    "hed": Detector(
        "HEDdetector",
        (Net("ControlNetHED.pth", "hed", "ControlNetHED_Apache2"),),
        {"safe": False},
        made_by="synthgen convert hed",
    ),
    "pidinet": Detector(
        "PidiNetDetector", (Net("table5_pidinet.pth", "pidi.model", "pidinet"),), {"safe": False}
    ),
    "mlsd": Detector(
        "MLSDdetector",
        (Net("mlsd_large_512_fp32.pth", "mlsd.models.mbv2_mlsd_large", "MobileV2_MLSD_Large"),),
        {"thr_v": 0.1, "thr_d": 0.1},
    ),
    "midas": Detector(
        "MidasDetector",
        (
            Net(
                "dpt_hybrid-midas-501f0c75.pt", "midas.midas.dpt_depth", "DPTDepthModel", DPT_HYBRID
            ),
        ),
        control=DenseControl,
    ),
}


@validate_call
def aux_control(
    detector: str, folder: str | None = None, options: dict[str, float | bool] | None = None
) -> Control:
    """Return a detector of controlnet-aux as a control.

    ``folder`` holds the weights, ``options`` are keywords of the detector. Raises ConfigError, and
    ModelError where a file of weights is missing; the weights are loaded when first needed.
    """
    if detector not in DETECTORS:
        raise ConfigError(
            f"control detector {detector!r} is unknown; choose from {', '.join(DETECTORS)}"
        )
    known = DETECTORS[detector]
    for name in options or {}:
        if name not in known.options:
            choice = ", ".join(known.options) or "none"
            raise ConfigError(f"control {detector!r} has no option {name!r}; it has {choice}")
    return known.control(AuxAnnotator(detector, folder, options or {}))


class AuxAnnotator:
    """A detector with its weights, loaded once, on the CPU. Raises ModelError for a missing file.

    The image is padded to a size that the detector does not round, and the map cut back, so that it
    lies on the image to the pixel.
    """

    def __init__(self, detector: str, folder: str | None, options: Mapping[str, Any]) -> None:
        self.detector, self.options = detector, dict(options)
        self.files: list[Path] = []
        for net in DETECTORS[detector].nets:
            path = None if folder is None else Path(folder) / net.file
            if path is not None and path.with_suffix(SAFE).is_file():
                path = path.with_suffix(SAFE)
            if path is None or not path.is_file():
                made_by = DETECTORS[detector].made_by
                raise ModelError(
                    f"control {detector!r} reads its weights from {net.file} in its folder, "
                    f"which is {folder!r}; download that file there and give the folder"
                    + (f", or make one with {made_by}" if made_by else "")
                )
            self.files.append(path)
        self._loaded: Any = None

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the detector's map (H, W) or (H, W, 3); raises ModelError as it loads weights."""
        height, width = image.shape[:2]
        below, right = -height % STEP_PX, -width % STEP_PX
        padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        with ONE_AT_A_TIME, silent_warnings:  # of imports it does not use, and of even images
            if self._loaded is None:
                self._loaded = self._load()
            # These keep the size of the image; not every detector knows all of them.
            side = min(padded.shape[:2])
            wanted = {"detect_resolution": side, "image_resolution": side, "output_type": "np"}
            known = inspect.signature(type(self._loaded).__call__).parameters
            keywords = {name: wanted[name] for name in wanted if name in known} | self.options
            drawn = np.asarray(self._loaded(padded, **keywords), np.uint8)
        return np.ascontiguousarray(drawn[:height, :width])

    def _load(self) -> Any:
        """Return the detector with its networks; raises ModelError for weights that do not fit."""
        detector = DETECTORS[self.detector]
        try:
            package = importlib.import_module("controlnet_aux")
        except ImportError as error:
            raise ModelError(
                f"control {self.detector!r} needs controlnet-aux ({error}); "
                "install it with pip install 'synthgen-inspection[edges]'"
            ) from error
        nets = []
        for net, file in zip(detector.nets, self.files, strict=True):
            module = importlib.import_module(f"controlnet_aux.{net.module}")
            network = getattr(module, net.name)(**net.arguments)
            try:
                network.load_state_dict(_read_weights(file))
            except (RuntimeError, AttributeError, TypeError) as error:
                reason = " ".join(str(error).split())[:200]
                raise ModelError(
                    f"{file} holds other weights than control {self.detector!r} has ({reason}); "
                    f"download {net.file} again"
                ) from error
            nets.append(network.float().eval())
        return getattr(package, detector.class_name)(*nets)


def _read_weights(file: Path) -> dict[str, Any]:
    """Return the tensors of a file by name, without running code that a pickle may hold."""
    import torch

    if file.suffix == SAFE:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(file))
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} is damaged ({error}); make or download it again") from error
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else "it is cut"
        raise ModelError(
            f"{file} is not a file of weights that is safe to load ({reason}); download it again"
        ) from error
    for key in ("state_dict", "model"):  # training checkpoints hold more than the weights
        found = found.get(key, found) if isinstance(found, dict) else found
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}
