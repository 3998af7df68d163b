"""What is compared, on which real images, how often; and the list of models that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.backends.diffusion.loading import best_precision, pick_device
from synthgen.evaluation.inspectors.models import (
    MODELS,
    InspectionModel,
    find_default_model,
)
from synthgen.evaluation.inspectors.unet_pretrained import CELL_PX
from synthgen.evaluation.inspectors.unet_small import FOLD
from synthgen.evaluation.utility.arms import Arm
from synthgen.evaluation.utility.learning import TrainingSettings
from synthgen.realdata.settings import RealSettings
from synthgen.samples.seeds import stream

__all__ = ["GOOD_ONLY", "TrainingJob", "UtilitySettings", "list_jobs"]

AUTO = "auto"
GOOD_ONLY = "good"  # the one arm of models that learn from good photos alone

Budget = Annotated[int, Field(ge=0)] | Literal["all"]


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class UtilitySettings:
    """What is compared, on which real images, how often.

    A budget is the number of real defect images of each class, or ``all``. An arm that is null is
    left out.
    """

    folder: Annotated[str, Field(min_length=1)]
    real: RealSettings
    arms: Mapping[str, Arm | None]
    model: str | tuple[str, ...] = AUTO  # of MODELS
    budgets: tuple[Budget, ...] = (5,)
    curve: tuple[Budget, ...] = ()  # further budgets, of the baseline alone: its learning curve
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2, 3, 4)
    models: Annotated[int, Field(ge=1)] = 1  # per arm, budget and seed
    learn_split: str = "train"
    score_split: str = "val"
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25  # of the groups to learn from
    top_fraction: Annotated[float, Field(gt=0, le=1)] = 0.001  # of the pixels: an image's score
    mirrors: Literal[1, 2, 4] = 1
    memorised_bits: Annotated[int, Field(ge=0, le=64)] = 2  # at most: a copy of a real defect
    threads: Annotated[int, Field(ge=1)] = 1
    device: str = "auto"
    training: TrainingSettings = field(default_factory=TrainingSettings)
    draw_only: bool = False
    baseline: str = "classical"

    def __post_init__(self) -> None:
        for name in self.arms:
            if not name.replace("_", "").isalnum():
                raise ValueError(f"arms has {name!r}; a name is letters, digits and _")
        if self.curve and self.arms.get(self.baseline) is None:
            raise ValueError(
                f"curve needs the arm {self.baseline!r}, the baseline; leave it in arms, or name "
                "another baseline"
            )
        if self.learn_split == self.score_split:
            raise ValueError("learn_split and score_split must differ")
        named = self.model if isinstance(self.model, tuple) else (self.model,)
        if unknown := sorted(set(named) - {AUTO, *MODELS}):
            raise ValueError(f"model has {unknown[0]!r}; choose from {', '.join([AUTO, *MODELS])}")
        if not named:
            raise ValueError("model names no inspection model")
        names, crop_px = {row.name for row in self.inspectors}, self.training.crop_px
        if "unet_small" in names:
            px = crop_px or MODELS["unet_small"].crop_px
            if px % (FOLD * 2 ** (len(self.training.widths) - 1)):
                raise ValueError("training.crop_px must be a multiple of 2 per entry of widths")
        if "unet_pretrained" in names and crop_px and crop_px % CELL_PX:
            raise ValueError(f"training.crop_px must be a multiple of {CELL_PX}")

    @property
    def inspectors(self) -> tuple[InspectionModel, ...]:
        """The inspection models that are compared, in their order; ``auto``: the default one."""
        names = self.model if isinstance(self.model, tuple) else (self.model,)
        found = (find_default_model() if name == AUTO else name for name in names)
        return tuple(MODELS[name] for name in dict.fromkeys(found))

    @property
    def chosen(self) -> dict[str, Arm]:
        """The arms that are not null."""
        return {name: arm for name, arm in self.arms.items() if arm is not None}

    @property
    def simple_arms(self) -> tuple[str, ...]:
        """The arms whose defects a recipe paints on the fly, which need no run."""
        chosen = self.chosen.items()
        return tuple(name for name, arm in chosen if arm.synthetic is not None and not arm.run)

    @property
    def place(self) -> str:
        """The device that models are trained and scored on; raises ConfigError without a GPU."""
        return pick_device(self.device, "evaluate.device")

    @property
    def precision(self) -> str:
        """``bf16`` or ``fp32``: what ``auto`` means on this device."""
        own = self.training.precision
        return best_precision(self.place) if own == "auto" else own


@dataclass(frozen=True)
class TrainingJob:
    """One model: an arm at one budget, with one seed; one of several that differ by luck alone."""

    inspector: str
    arm: str
    budget: int | None  # None = all
    seed: int
    model: int = 0

    @property
    def shown_budget(self) -> str:
        """The budget as it is written in rows and in the names of files."""
        return "all" if self.budget is None else str(self.budget)

    @property
    def name(self) -> str:
        """The stem of its file of scores; the first model of a draw has no number."""
        again = f"-{self.model}" if self.model else ""
        return f"{self.inspector}-{self.arm}-{self.shown_budget}-{self.seed}{again}"

    @property
    def luck(self) -> int:
        """The seed of weights and crops: the draw's own for its first model."""
        if not self.model:
            return self.seed
        return int(stream(self.seed, "model", self.model).integers(2**31))


def list_jobs(settings: UtilitySettings) -> list[TrainingJob]:
    """Return all models, seed after seed, so that a stopped run has whole pairs.

    An arm that has nothing to learn from at a budget is left out there. Budgets of the curve alone
    have the baseline alone. Inspection models that learn from good photos alone come once a seed,
    at budget 0.
    """
    jobs: list[TrainingJob] = []
    for seed in settings.seeds:
        for row in settings.inspectors:
            if row.is_good_only:
                jobs.append(TrainingJob(row.name, GOOD_ONLY, 0, seed))
                continue
            jobs += [
                TrainingJob(row.name, name, None if budget == "all" else budget, seed, model)
                for model in range(settings.models)
                for budget in dict.fromkeys((*settings.budgets, *settings.curve))
                for name, arm in settings.chosen.items()
                if arm.can_learn(None if budget == "all" else budget)
                and (budget in settings.budgets or name == settings.baseline)
            ]
    return jobs
