"""The small U-Net that marks defects: made to be learned from nothing, on one core.

It sees 2 x 2 pixels as one (and gives four answers for each), which costs a quarter; in bfloat16
with the channels last it is three times as fast on processors with AMX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from synthgen.evaluation.inspectors.fitting import (
    ComputePlace,
    SegmentationLoss,
    SegmentationPredictor,
    fit,
    seeded_weights,
)
from synthgen.evaluation.utility.learning import Examples

__all__ = ["FOLD", "SmallUnet", "train_unet_small"]

FOLD = 2  # pixels a side that are seen as one
RARE = -3.0  # the logit that all pixels start with: defects are rare


class SmallUnet(nn.Module):
    """Pixels (B, C, H, W), standardised, sides multiples of ``cell_px`` -> logits (B, 1, H, W).

    ``widths`` are the channels of each level, the finest first; each level halves the sides.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.cell_px = FOLD * 2 ** (len(widths) - 1)
        ins = [channels * FOLD**2, *widths[:-1]]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip(ins, widths, strict=True))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(widths))
        self.head = nn.Conv2d(widths[0], FOLD**2, 1)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, RARE)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits; every level down is met again on the way up."""
        seen = F.pixel_unshuffle(pixels, FOLD)
        kept: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            seen = block(seen if level == 0 else F.max_pool2d(seen, 2))
            kept.append(seen)
        for level in reversed(range(len(self.up))):
            wide = F.interpolate(seen, scale_factor=2.0)
            seen = self.up[level](torch.cat([wide, kept[level]], dim=1))
        logits: torch.Tensor = F.pixel_shuffle(self.head(seen), FOLD)
        return logits


def _block(width_in: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (width_in, width):
        layers += [
            nn.Conv2d(before, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def train_unet_small(
    examples: Examples, channels: int, place: ComputePlace, report: Callable[[int, int], None]
) -> SegmentationPredictor:
    """Return the trained model, which sees ``channels`` (1 or 3)."""
    training = examples.training
    with seeded_weights(examples.seed):
        model = SmallUnet(channels, training.settings.widths)
    model = model.to(place.device).to(memory_format=torch.channels_last)
    lose = SegmentationLoss(model, place.precision)
    groups = [{"params": list(model.parameters()), "lr": training.learning_rate}]
    learned = fit(model, lose, groups, examples, report, is_recorded=True)
    return SegmentationPredictor(learned, model.cell_px, place)
