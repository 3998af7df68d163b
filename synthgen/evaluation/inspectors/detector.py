"""A detector of boxes: FCOS by torchvision, its body EfficientNet-Lite0, its heads from nothing.

Tian et al. 2019, https://arxiv.org/abs/1904.01355. Anchor-free, so there are no box sizes to set.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synthgen.evaluation.inspectors.fitting import ComputePlace, fit, seeded_weights, to_batch
from synthgen.evaluation.inspectors.prediction import Boxes, Prediction
from synthgen.evaluation.inspectors.unet_pretrained import BODY_RATE, to_feature_input
from synthgen.evaluation.utility.learning import Examples
from synthgen.evaluation.utility.scores import REACH, box_regions
from synthgen.training.features import load_features

__all__ = ["train_detector"]

STAGES = (2, 3, 4)  # of strides 8, 16 and 32
WIDTH = 64  # channels of the pyramid and the heads
MIN_SCORE = 0.01  # average precision looks at weak boxes, too


class _Body(nn.Module):
    """Pixels (B, 3, H, W) -> a pyramid of (B, 64, H / stride, W / stride), by stride."""

    def __init__(self, is_bf16: bool) -> None:
        super().__init__()
        ops: Any = import_module("torchvision.ops")
        features: Any = load_features(STAGES).requires_grad_(True)
        self.features = features
        self.pyramid = ops.FeaturePyramidNetwork(features.feature_info.channels(), WIDTH)
        self.out_channels, self.is_bf16 = WIDTH, is_bf16

    def forward(self, pixels: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        """Return the pyramid in float32: boxes need it."""
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.is_bf16):
            levels = self.features(to_feature_input(pixels))
            found = self.pyramid(OrderedDict(zip("234", levels, strict=True)))
        return OrderedDict((name, level.float()) for name, level in found.items())


class _BoxLoss:
    """Pixels and truth (B, 1, S, S) -> the detector's losses, each connected defect a box."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, pixels: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        targets = []
        for mask in truth[:, 0].cpu().numpy() > 0.5:
            boxes = torch.from_numpy(box_regions(mask)).to(pixels.device)
            labels = torch.ones(len(boxes), dtype=torch.int64, device=pixels.device)
            targets.append({"boxes": boxes, "labels": labels})
        losses = self.model(list(pixels), targets)
        return torch.stack(list(losses.values())).sum()


class _BoxPredictor:
    """Looks with the detector; a pixel's logit is that of the best box that holds it."""

    def __init__(self, model: Any, place: ComputePlace) -> None:
        self._model, self._place = model, place

    @torch.no_grad()
    def __call__(self, pixels: NDArray[np.float32]) -> Prediction:
        """Look at one whole image (H, W, C)."""
        self._model.transform.min_size = (min(pixels.shape[:2]),)  # native size: it would enlarge
        self._model.transform.max_size = max(pixels.shape[:2])
        [found] = self._model(list(to_batch([pixels]).to(self._place.device)))
        boxes = found["boxes"].float().cpu().numpy()
        scores = found["scores"].float().cpu().numpy()
        logits = np.full(pixels.shape[:2], -REACH, np.float32)
        for number in np.argsort(scores):  # the best last
            left, top = np.floor(boxes[number, :2]).astype(int)
            right, bottom = np.ceil(boxes[number, 2:]).astype(int)
            score = float(np.clip(scores[number], 1e-6, 1 - 1e-6))
            logits[top:bottom, left:right] = np.log(score / (1 - score))
        return Prediction(logits, Boxes(boxes, scores))


def train_detector(
    examples: Examples, channels: int, place: ComputePlace, report: Callable[[int, int], None]
) -> _BoxPredictor:
    """Return the trained detector; its one class is "defect"."""
    detection: Any = import_module("torchvision.models.detection")
    anchors: Any = import_module("torchvision.models.detection.anchor_utils")
    with seeded_weights(examples.seed):
        body = _Body(place.is_bf16)
        model: Any = detection.FCOS(
            body,
            num_classes=2,
            anchor_generator=anchors.AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3),
            image_mean=[0.0, 0.0, 0.0],
            image_std=[1.0, 1.0, 1.0],
            score_thresh=MIN_SCORE,
            _skip_resize=True,
        )
        # boxes start at one stride to each side, as with the paper's exponential; not at nothing
        nn.init.ones_(model.head.regression_head.bbox_reg.bias)
    model = model.to(place.device)
    known, rate = {id(one) for one in body.features.parameters()}, examples.training.learning_rate
    groups = [
        {"params": list(body.features.parameters()), "lr": rate * BODY_RATE},
        {"params": [one for one in model.parameters() if id(one) not in known], "lr": rate},
    ]
    return _BoxPredictor(fit(model, _BoxLoss(model), groups, examples, report), place)
