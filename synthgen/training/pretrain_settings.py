"""What the pretraining of the embedded model is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.errors import ConfigError
from synthgen.training.learner import PARTS
from synthgen.training.photos import PhotoFolder
from synthgen.training.real_examples import RealFolder

__all__ = ["PretrainSettings", "is_stored"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1000)]
Seconds = Annotated[float, Field(ge=0)]


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class PretrainSettings:
    """What is trained and for how long. Changing ``steps`` of a begun run moves its end."""

    seed: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int, Field(ge=1, le=100_000_000)] = 12000
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = (
        32  # crops a step and process, at the first of crop_sizes_px
    )
    crop_sizes_px: Annotated[tuple[Annotated[int, Field(le=4096)], ...], Field(min_length=1)] = (
        *(64, 64, 64, 96, 64, 128),  # in turn; as many pixels a step
    )
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 6e-4
    decay_fraction: Annotated[float, Field(gt=0, le=1)] = (
        0.35  # the last part of the steps, in which the rate falls to 3 %
    )
    ema_decay: Fraction = 0.9995
    drop_prompt: Fraction = 0.1  # of the crops learn without a prompt, so that guidance works
    drop_control: Fraction = 0.2  # of the crops learn without the control image
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    threads: Annotated[int, Field(ge=1, le=4096)] = (
        1  # CPU threads a process; more processes scale, more threads hardly do
    )
    save_every_s: Seconds = 300
    sheet_every_s: Seconds = 1200
    sheet_crops: Annotated[int, Field(le=4096)] = 24  # on each sheet of samples
    workers: Annotated[int, Field(ge=0, le=256)] = (
        0  # processes that draw crops; 0 draws them between the steps
    )
    start: str | None = None  # a model's folder to start from; None = random weights
    start_parts: tuple[str, ...] = PARTS  # which are taken from there; the others start at random
    parts: tuple[str, ...] = PARTS  # which are trained; the others stay as they start
    photos: Mapping[str, PhotoFolder] = field(default_factory=dict)  # surfaces beside drawn ones
    real: Mapping[str, RealFolder] = field(default_factory=dict)  # defects beside drawn ones
    real_fraction: Fraction = 0.2  # of the crops, where there are real defects
    repeats: Annotated[int, Field(le=10_000)] = (
        1  # steps in a row that learn from the same crops, mirrored, under other noise
    )
    sketch_fraction: Fraction = 0.4  # of crops that start from the sketch, more or less
    gradient_weight: Weight = 0.0  # of the difference of neighbouring pixels in the loss
    feature_weight: Weight = 0.0  # of the features of a pretrained network in the loss
    critic_weight: Weight = 0.0  # of a critic that learns beside it, over that of the features
    painting_steps: Annotated[int, Field(ge=0, le=1000)] | None = (
        None  # 3 of 4 crops have the noise that this many steps of painting meet; None = any
    )

    def __post_init__(self) -> None:
        if self.sheet_crops < 2:
            raise ConfigError("pretrain.sheet_crops must be at least 2")
        if any(size % 16 or size < 32 for size in self.crop_sizes_px):
            raise ConfigError("pretrain.crop_sizes_px must be multiples of 16, 32 or more")
        if self.critic_weight > 0 and self.feature_weight <= 0:
            raise ConfigError(
                "pretrain.critic_weight needs pretrain.feature_weight above 0: the critic judges "
                "those features"
            )
        if self.painting_steps == 0:
            raise ConfigError("pretrain.painting_steps must be at least 1, or null for any noise")
        if self.repeats < 1:
            raise ConfigError("pretrain.repeats must be at least 1")
        for key in ("parts", "start_parts"):
            names = getattr(self, key)
            if not names or set(names) - set(PARTS):
                raise ConfigError(
                    f"pretrain.{key}={list(names)} must name some of {', '.join(PARTS)}"
                )


def is_stored(stored: Any, value: Any) -> bool:
    """Say whether ``value`` is what a training stored as plain data.

    A field that the stored data lack had its default: a later version added it.
    """
    if is_dataclass(value) and not isinstance(value, type) and isinstance(stored, Mapping):
        defaults = {
            field.name: field.default
            if field.default_factory is MISSING
            else field.default_factory()
            for field in fields(value)
        }
        return set(stored) <= set(defaults) and all(
            is_stored(stored[name], getattr(value, name))
            if name in stored
            else default is not MISSING and default == getattr(value, name)
            for name, default in defaults.items()
        )
    if isinstance(value, Mapping) and isinstance(stored, Mapping):
        return set(value) == set(stored) and all(is_stored(stored[k], value[k]) for k in value)
    return bool(stored == value)
