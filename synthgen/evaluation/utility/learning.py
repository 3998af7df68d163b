"""Train one inspection model on one arm's crops."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import nn

from synthgen.evaluation.utility.arms import Arm, Draw, Synthesis
from synthgen.evaluation.utility.network import Inspector, segmentation_loss, update_average
from synthgen.samples.seeds import stream
from synthgen.training.inspection import (
    VARIATION,
    Crop,
    Variation,
    crop_defect,
    crop_good,
    group_by_class,
)

__all__ = ["Examples", "Training", "train_inspector"]

STRICT = ConfigDict(extra="forbid")
Fraction = Annotated[float, Field(gt=0, lt=1)]


@checked(frozen=True, config=STRICT, kw_only=True)
class Training:
    """How every arm is trained. The same for all of them: steps, crops, weights, schedule."""

    widths: tuple[Annotated[int, Field(ge=4)], ...] = (16, 32, 64)
    steps: Annotated[int, Field(ge=1)] = 4000
    batch_size: Annotated[int, Field(ge=4)] = 16
    crop_px: Annotated[int, Field(ge=32)] = 96
    defect_fraction: Fraction = 0.5  # of the crops, those around a defect
    synthetic_fraction: Fraction = 0.5  # of those, the synthetic ones where an arm has both
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    average: Annotated[float, Field(ge=0, lt=1)] = 0.98  # decay of the averaged weights
    turn_deg: Annotated[float, Field(ge=0, le=180)] = VARIATION.turn_deg
    scale: Annotated[float, Field(ge=1, le=2)] = VARIATION.scale
    bend_px: Annotated[float, Field(ge=0)] = VARIATION.bend_px
    light: Annotated[float, Field(ge=0)] = VARIATION.light
    noise: Annotated[float, Field(ge=0)] = VARIATION.noise
    precision: Literal["auto", "bf16", "fp32"] = "auto"

    @property
    def variation(self) -> Variation:
        """How crops are varied for arms with classical augmentation."""
        return Variation(
            turn_deg=self.turn_deg,
            scale=self.scale,
            bend_px=self.bend_px,
            light=self.light,
            noise=self.noise,
        )


@dataclass(frozen=True, eq=False)
class Examples:
    """Draws the crops of each step. Real and synthetic ones have streams of their own, so that
    arms of one seed see the same real crops in the same order."""

    training: Training
    arm: Arm
    draw: Draw
    synthesis: Synthesis | None
    seed: int

    def crops(self, step: int) -> list[Crop]:
        """Return one batch: real defects, then synthetic ones, then good surface.

        Half of it shows defects, half of those synthetic ones where an arm has both, unless the
        settings say otherwise. One step and seed give the same batch.
        """
        side = self.training.crop_px
        bad = max(1, round(self.training.batch_size * self.training.defect_fraction))
        varied = self.training.variation if self.arm.classical else None
        good = [picture for picture in self.draw.good if not picture.masks]
        has_real = self.arm.real and bool(self.draw.defects)
        made = 0
        if self.synthesis is not None:
            made = round(bad * self.training.synthetic_fraction) if has_real else bad
        groups = group_by_class(self.draw.defects)
        rng = stream(self.seed, "real", step)
        crops = [crop_defect(rng, groups, side, varied) for _ in range(bad - made)]
        rng = stream(self.seed, "synthetic", step)
        for _ in range(made):
            assert self.synthesis is not None
            own = group_by_class([self.synthesis.piece(rng)])
            crops.append(crop_defect(rng, own, side, varied))
        rng = stream(self.seed, "good", step)
        rest = self.training.batch_size - bad
        return crops + [crop_good(rng, good, side, varied) for _ in range(rest)]


class _Step(nn.Module):
    """What is differentiated: pixels and truth -> loss."""

    def __init__(self, model: Inspector, precision: str) -> None:
        super().__init__()
        self.model, self.is_bf16 = model, precision == "bf16"

    def forward(self, pixels: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        kind = pixels.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.is_bf16, cache_enabled=False):
            logits = self.model(pixels)
        return segmentation_loss(logits.float(), truth)


def train_inspector(
    examples: Examples,
    channels: int,
    precision: str,
    report: Callable[[int, int], None],
    device: str = "cpu",
) -> Inspector:
    """Return the model with its averaged weights, ready to predict; ``report`` gets done, total.

    The last step's model is the one: nothing is selected, so there is nothing to select on.
    """
    training = examples.training
    with torch.random.fork_rng(devices=[]):
        seed = int(stream(examples.seed, "weights").integers(2**63 - 1))
        torch.default_generator.manual_seed(seed)  # the weights' constructors take no generator
        model = Inspector(channels, training.widths)
    model = model.to(device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        training.learning_rate,
        weight_decay=training.weight_decay,
        fused=device != "cpu",
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=max(training.steps, 2), pct_start=0.2
    )
    model.train()
    lose: Callable[..., torch.Tensor] = _Step(model, precision)
    for step in range(training.steps):
        crops = examples.crops(step)
        pixels = torch.from_numpy(np.stack([pixels for pixels, _ in crops])).permute(0, 3, 1, 2)
        pixels = pixels.contiguous(memory_format=torch.channels_last).to(device)
        truth = torch.from_numpy(np.stack([truth for _, truth in crops]))[:, None].to(device)
        if step == 0 and device != "cpu":
            lose = _record(lose, model, (pixels, truth))
        loss = lose(pixels, truth)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        update_average(average, model, step, training.average)
        report(step + 1, training.steps)
    return average.eval()


def _record(
    lose: Callable[..., torch.Tensor], model: Inspector, batch: tuple[torch.Tensor, ...]
) -> Callable[..., torch.Tensor]:
    """Return the same step as a CUDA graph: so small a model would wait for Python otherwise."""
    before = copy.deepcopy(model.state_dict())
    recorded = cast(Callable[..., torch.Tensor], torch.cuda.make_graphed_callables(lose, batch))
    model.load_state_dict(before)  # recording runs it, which moves BatchNorm's averages
    return recorded
