"""The training that inspection models share, and how one looks at a whole image."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from synthgen.evaluation.inspectors.prediction import Prediction
from synthgen.evaluation.utility.learning import Examples
from synthgen.samples.seeds import stream

__all__ = [
    "ComputePlace",
    "SegmentationLoss",
    "SegmentationPredictor",
    "fit",
    "seeded_weights",
    "to_batch",
    "update_average",
]


@dataclass(frozen=True)
class ComputePlace:
    """Where a model computes: ``device``, and ``precision`` (``bf16`` or ``fp32``)."""

    device: str = "cpu"
    precision: str = "fp32"

    @property
    def is_bf16(self) -> bool:
        """Whether layers multiply in bfloat16."""
        return self.precision == "bf16"


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Draw initial weights from ``seed`` alone: their constructors take no generator."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(stream(seed, "weights").integers(2**63 - 1)))
        yield


class SegmentationLoss(nn.Module):
    """Pixels and truth (B, 1, H, W) of 0..1 -> cross entropy plus the Dice loss of the batch.

    Dice sums over all crops before it divides. Pixels whose truth is below 0 are ignored.
    """

    def __init__(self, model: nn.Module, precision: str) -> None:
        super().__init__()
        self.model, self.is_bf16 = model, precision == "bf16"

    def forward(self, pixels: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar."""
        kind = pixels.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.is_bf16, cache_enabled=False):
            logits = self.model(pixels)
        logits = logits.float()
        known = (truth >= 0).float()
        truth, fractions = truth * known, logits.sigmoid() * known
        shared = 2 * (fractions * truth).sum() + 1
        dice = 1 - shared / (fractions.sum() + truth.sum() + 1)
        entropy = F.binary_cross_entropy_with_logits(logits, truth, weight=known)
        loss: torch.Tensor = entropy * (known.numel() / known.sum()) + dice
        return loss


def fit(
    model: nn.Module,
    lose: Callable[..., torch.Tensor],
    groups: Sequence[dict[str, Any]],
    examples: Examples,
    report: Callable[[int, int], None],
    is_recorded: bool = False,
) -> nn.Module:
    """Return the averaged weights after ``examples.training.steps``; ``report`` gets done, total.

    ``lose``: of a batch's pixels (B, C, S, S) and truth (B, 1, S, S), with the model's weights.
    ``groups``: its parameters with the peak ``lr`` of each. ``is_recorded``: as a CUDA graph on a
    GPU. The last step's model is the one: nothing is selected, so there is nothing to select on.
    """
    training = examples.training
    device = next(model.parameters()).device
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(
        groups, weight_decay=training.settings.weight_decay, fused=device.type != "cpu"
    )
    peaks = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peaks, total_steps=max(training.steps, 2), pct_start=0.2
    )
    model.train()
    for step in range(training.steps):
        crops = examples.crops(step)
        pixels = to_batch([pixels for pixels, _ in crops]).to(device)
        truth = torch.from_numpy(np.stack([truth for _, truth in crops]))[:, None].to(device)
        if step == 0 and is_recorded and device.type != "cpu":
            lose = _record(lose, model, (pixels, truth))
        loss = lose(pixels, truth)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        update_average(average, model, step, training.settings.average)
        report(step + 1, training.steps)
    return average.eval()


def _record(
    lose: Callable[..., torch.Tensor], model: nn.Module, batch: tuple[torch.Tensor, ...]
) -> Callable[..., torch.Tensor]:
    """Return the same step as a CUDA graph: so small a model would wait for Python otherwise."""
    before = copy.deepcopy(model.state_dict())
    recorded = cast(Callable[..., torch.Tensor], torch.cuda.make_graphed_callables(lose, batch))
    model.load_state_dict(before)  # recording runs it, which moves BatchNorm's averages
    return recorded


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Move the averaged weights toward the model's, in place; the first steps count for more.

    ``decay`` 0..1 is reached when (step + 1) / (step + 10) has grown to it; ``step`` counts from 0.
    """
    fraction = 1 - min(decay, (step + 1) / (step + 10))
    pairs = zip(average.state_dict().values(), model.state_dict().values(), strict=True)
    for mean, now in pairs:
        if mean.dtype.is_floating_point:
            mean.lerp_(now, fraction)
        else:
            mean.copy_(now)  # BatchNorm counts its batches


def to_batch(images: Sequence[NDArray[np.float32]]) -> torch.Tensor:
    """Return images (H, W, C) of one size as (B, C, H, W), channels last in memory."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return batch.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class SegmentationPredictor:
    """Looks with a network whose logits are (B, 1, H, W), sides multiples of ``cell_px``."""

    model: nn.Module
    cell_px: int
    place: ComputePlace

    @torch.no_grad()
    def __call__(self, pixels: NDArray[np.float32]) -> Prediction:
        """Look at one image (H, W, C); it is mirrored at its edges up to whole cells."""
        height, width = pixels.shape[:2]
        below, right = -height % self.cell_px, -width % self.cell_px
        padded = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="symmetric")
        batch = to_batch([padded]).to(self.place.device)
        kind = batch.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.place.is_bf16):
            logits = self.model(batch).float()
        return Prediction(logits[0, 0, :height, :width].cpu().numpy())
