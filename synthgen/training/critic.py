"""A critic that learns to tell painted crops from finished ones, so that few steps paint crisply.

A squared error from much noise is least for a mean of all answers, which is blurred. A critic on
the features of a pretrained network asks for one of them instead (Sauer et al. 2021,
https://arxiv.org/abs/2111.01007), and makes a few steps do (Sauer et al. 2023,
https://arxiv.org/abs/2311.17042). It is needed for training only and is not part of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from synthgen.training.features import FeatureLoss, mean_where

__all__ = ["Critic", "CriticLoss"]

WIDTH = 64  # of each head
RATE = 2e-4  # of its AdamW


class Critic(nn.Module):
    """A head for each stage of features; the lower its answer, the more it looks painted."""

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
