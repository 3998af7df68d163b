"""Distance between sets of crops: KID with features that anyone can make again, offline."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synthgen.errors import ConfigError
from synthgen.samples.arrays import Image

__all__ = [
    "EXTRACTOR",
    "MIN_CROPS",
    "RealCropSet",
    "check_extractor",
    "measure_kid",
    "measure_kid_of_subsets",
    "read_random_features",
]

MIN_CROPS = 20  # of a set; below it there is no distance
EXTRACTOR = "VGG16 with random weights (seed 0), mean over each channel of its last convolution"


def check_extractor() -> None:
    """Raise ConfigError where the ``evaluate`` extra is missing, and name the package."""
    for package in ("torchmetrics", "torchvision"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"{package} is missing; pip install 'synthgen-inspection[evaluate]' brings it"
            )


class _RandomVgg(nn.Module):
    """Features (B, 512) of uint8 images (B, 3, S, S).

    Random weights measure the distance of images that no natural photograph resembles more
    soundly than ImageNet's do: Naeem et al. 2020, https://arxiv.org/abs/2002.09797, section 4.3.
    """

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import vgg16

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.layers = vgg16(weights=None).features.eval()

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.layers(images.float() / 127.5 - 1).mean((2, 3))
        return torch.as_tensor(features)


_extractor = functools.cache(_RandomVgg)  # built when first used, then kept


class RealCropSet:
    """A set of real crops, its features read once.

    Crops are (S, S, 3) uint8, all of one size. Raises ConfigError under 20 crops.
    """

    def __init__(self, crops: Sequence[Image]) -> None:
        _check_count(crops)
        self._features = _features(crops)
        self._middle, spread = self._features.mean(0), self._features.std(0)
        floor = 0.1 * float(spread.median())  # a feature that sleeps must not shout
        self._spread = spread.clamp_min(floor)

    def distance(self, other: Sequence[Image], subsets: int = 50) -> tuple[float, float]:
        """Return KID (Binkowski et al. 2018, https://arxiv.org/abs/1801.01401), its deviation.

        Features are scaled to unit deviation over the real crops. ``subsets`` are drawn, the same
        ones each time; each holds half of the smaller set. Raises ConfigError under 20 crops.
        """
        _check_count(other)
        pair = (self._features, _features(other))
        scores = _divide([(side - self._middle) / self._spread for side in pair], subsets)
        return float(scores.mean()), float(scores.std())


def measure_kid(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    *,
    reference: NDArray[np.float64],
    subsets: int = 50,
) -> tuple[float, float]:
    """Return KID of two sets of features (N, F), and its deviation over subsets.

    Features are scaled to unit deviation over the rows of ``reference``.
    """
    scores = measure_kid_of_subsets(one, other, reference=reference, subsets=subsets)
    return float(np.mean(scores)), float(np.std(scores))


def measure_kid_of_subsets(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    *,
    reference: NDArray[np.float64],
    subsets: int = 50,
) -> NDArray[np.float64]:
    """Return KID (subsets,) of subsets of two sets, each half of the smaller side.

    Sets of the same sizes are divided alike, so that their differences are paired. Else as
    ``measure_kid``.
    """
    spread = reference.std(axis=0)
    scale = np.maximum(spread, 0.1 * float(np.median(spread)))  # one that sleeps must not shout
    middle = reference.mean(axis=0)
    return _divide([torch.from_numpy((s - middle) / scale) for s in (one, other)], subsets)


def _divide(sides: Sequence[torch.Tensor], subsets: int) -> NDArray[np.float64]:
    """Return KID (subsets,) of subsets, each half of the smaller side; the same ones ever."""
    from torchmetrics.image.kid import poly_mmd

    size = min(len(side) for side in sides) // 2
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(subsets):
        picked = [side[rng.permutation(len(side))[:size]] for side in sides]
        scores.append(float(poly_mmd(*picked)))
    return np.array(scores)


def _check_count(crops: Sequence[Image]) -> None:
    if len(crops) < MIN_CROPS:
        raise ConfigError(f"{len(crops)} crops are too few to compare; give {MIN_CROPS}")


def read_random_features(crops: Sequence[Image]) -> NDArray[np.float64]:
    """Return (N, 512), what ``EXTRACTOR`` says; crops are (S, S, 3) uint8, all of one size."""
    return np.asarray(_features(crops).numpy())


def _features(crops: Sequence[Image]) -> torch.Tensor:
    stack = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    return torch.cat([_extractor()(batch) for batch in torch.split(stack, 32)]).double()
