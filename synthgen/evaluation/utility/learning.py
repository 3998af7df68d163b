"""What an inspection model learns from: how it is trained, and the crops of each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.evaluation.utility.arms import Arm, Draw, Synthesis
from synthgen.samples.seeds import stream
from synthgen.training.inspection import (
    VARIATION,
    Crop,
    Variation,
    crop_defect,
    crop_good,
    group_by_class,
)
from synthgen.training.mixing import mark_border

__all__ = ["Examples", "Training", "TrainingSettings"]

STRICT = ConfigDict(extra="forbid")
Fraction = Annotated[float, Field(gt=0, lt=1)]


@checked(frozen=True, config=STRICT, kw_only=True)
class TrainingSettings:
    """How every arm is trained. The same for all of them: steps, crops, weights, schedule.

    What is None is the inspection model's own; ``steps``: looked for on the training split.
    """

    widths: tuple[Annotated[int, Field(ge=4)], ...] = (16, 32, 64)  # of unet_small
    steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=4)] | None = None
    crop_px: Annotated[int, Field(ge=32)] | None = None
    defect_fraction: Fraction = 0.5  # of the crops, those around a defect
    synthetic_fraction: Fraction = 0.5  # of those, the synthetic ones where an arm has both
    learning_rate: Annotated[float, Field(gt=0)] | None = None
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


@dataclass(frozen=True, kw_only=True)
class Training:
    """How one inspection model is trained: the settings, and what they leave to the model."""

    settings: TrainingSettings
    steps: int
    batch_size: int
    crop_px: int  # a side
    learning_rate: float


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
        settings or the arm's mixing say otherwise. One step and seed give the same batch.
        """
        side = self.training.crop_px
        settings, mixing = self.training.settings, self.arm.mixes
        bad = max(1, round(self.training.batch_size * settings.defect_fraction))
        varied = settings.variation if self.arm.classical else None
        good = [picture for picture in self.draw.good if not picture.masks]
        has_real = self.arm.real and bool(self.draw.defects)
        made = 0
        if self.synthesis is not None:
            progress = step / self.training.steps
            fraction = mixing.fraction_at(progress, settings.synthetic_fraction)
            made = round(bad * fraction) if has_real else bad
        groups = group_by_class(self.draw.defects)
        rng = stream(self.seed, "real", step)
        crops = [crop_defect(rng, groups, side, varied) for _ in range(bad - made)]
        rng = stream(self.seed, "synthetic", step)
        for _ in range(made):
            assert self.synthesis is not None
            own = group_by_class([self.synthesis.piece(rng)])
            pixels, truth = crop_defect(rng, own, side, varied)
            crops.append((pixels, mark_border(truth, mixing)))
        rng = stream(self.seed, "good", step)
        rest = self.training.batch_size - bad
        return crops + [crop_good(rng, good, side, varied) for _ in range(rest)]
