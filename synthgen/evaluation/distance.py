"""Distance between sets of crops: KID with features that anyone can make again, offline."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synthgen.errors import ConfigError

__all__ = ["EXTRACTOR", "check_extractor", "kernel_distance"]

EXTRACTOR = "VGG16 with random weights (seed 0), mean over each channel of its last convolution"


def check_extractor() -> None:
    """Raise ConfigError where the ``evaluate`` extra is missing."""
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
        self.num_features = 512

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.layers(images.float() / 127.5 - 1).mean((2, 3))
        return torch.as_tensor(features)


def kernel_distance(
    real: Sequence[NDArray[np.uint8]], other: Sequence[NDArray[np.uint8]], subsets: int = 50
) -> tuple[float, float]:
    """Return KID (Binkowski et al. 2018, https://arxiv.org/abs/1801.01401) and its deviation.

    Features are scaled to unit deviation over the real crops. Subsets hold half of the smaller
    set. Raises ConfigError where a set has under 20 crops.
    """
    if min(len(real), len(other)) < 20:
        raise ConfigError(f"{len(real)} and {len(other)} crops are too few to compare; give 20")
    from torchmetrics.image.kid import poly_mmd

    extractor = _RandomVgg()
    sides = [_features(extractor, side) for side in (real, other)]
    middle, spread = sides[0].mean(0), sides[0].std(0)
    spread = spread.clamp_min(0.1 * float(spread.median()))  # a feature that sleeps must not shout
    sides = [(side - middle) / spread for side in sides]
    size = min(len(real), len(other)) // 2
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(subsets):
        picked = [side[rng.permutation(len(side))[:size]] for side in sides]
        scores.append(float(poly_mmd(*picked)))
    return float(np.mean(scores)), float(np.std(scores))


def _features(extractor: nn.Module, crops: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    stack = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    return torch.cat([extractor(batch) for batch in torch.split(stack, 32)]).double()
