"""The U-Net that most people would train: on a body that has learned from ImageNet.

segmentation_models_pytorch on EfficientNet-Lite0; the body learns at a fifth of the decoder's rate.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn

from synthgen.evaluation.inspectors.fitting import (
    ComputePlace,
    SegmentationLoss,
    SegmentationPredictor,
    fit,
    seeded_weights,
)
from synthgen.evaluation.utility.learning import Examples
from synthgen.imaging.silence import silent_warnings
from synthgen.training.features import load_feature_weights

__all__ = ["BODY_RATE", "CELL_PX", "PretrainedUnet", "to_feature_input", "train_unet_pretrained"]

BODY_RATE = 0.2  # of the learning rate, for weights that were learned before
CELL_PX = 32  # the body halves the sides five times
DECODER = (96, 64, 48, 32, 16)  # channels; half of what smp gives, which costs a third of the time
RARE = -3.0  # the logit that all pixels start with: defects are rare


def to_feature_input(pixels: torch.Tensor) -> torch.Tensor:
    """Return (B, 3, H, W) as the body has learned from it: deviation .5 about 0.

    ``pixels`` (B, C, H, W) have mean 0 and deviation 1 over their image; C = 1 or 3.
    """
    return pixels.expand(-1, 3, -1, -1) * 0.5


class PretrainedUnet(nn.Module):
    """Pixels (B, C, H, W), standardised, sides multiples of 32 -> logits (B, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        smp: Any = import_module("segmentation_models_pytorch")
        with silent_warnings:  # smp says that this name of the body will go
            self.net = smp.Unet(
                "timm-tf_efficientnet_lite0", encoder_weights=None, decoder_channels=DECODER
            )
        weights, body = load_feature_weights(), self.net.encoder
        body.load_state_dict(
            {name: weights[name.removeprefix("model.")] for name in body.state_dict()}
        )
        nn.init.constant_(self.net.segmentation_head[0].bias, RARE)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.net(to_feature_input(pixels))
        return logits


def train_unet_pretrained(
    examples: Examples, channels: int, place: ComputePlace, report: Callable[[int, int], None]
) -> SegmentationPredictor:
    """Return the trained model; grey images are seen as three equal channels."""
    with seeded_weights(examples.seed):
        model = PretrainedUnet()
    model = model.to(place.device).to(memory_format=torch.channels_last)
    rate, body = examples.training.learning_rate, model.net.encoder
    known = {id(one) for one in body.parameters()}
    groups = [
        {"params": list(body.parameters()), "lr": rate * BODY_RATE},
        {"params": [one for one in model.parameters() if id(one) not in known], "lr": rate},
    ]
    lose = SegmentationLoss(model, place.precision)
    return SegmentationPredictor(fit(model, lose, groups, examples, report), CELL_PX, place)
