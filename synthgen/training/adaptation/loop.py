"""The loop of an adaptation: steps, an average, a validation, and a state to go on from."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import nn

from synthgen.backends.checkpoints.digests import file_digest
from synthgen.backends.checkpoints.find import Checkpoint
from synthgen.errors import RunError
from synthgen.progress import stage
from synthgen.realdata.records import RealImage
from synthgen.references.items import ReferenceSplits
from synthgen.training.learner import STATE, load_state, make_average, save_state

__all__ = ["STATE", "AdaptSettings", "Trainer", "identify"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Part = Literal["unet", "controlnet", "text_encoder"]
WARM_UP = 30  # steps in which the learning rate rises
MAY_CHANGE = {"choose", "splits", "threads", "device", "save_every_s"}


def _check_sizes(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if not sizes:
        raise ValueError("it needs at least one size, e.g. [64]")
    if any(size % 16 or size < 32 for size in sizes):
        raise ValueError("all must be multiples of 16, 32 or more")
    return sizes


CropSizes = Annotated[tuple[int, ...], AfterValidator(_check_sizes)]


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class AdaptSettings:
    """How an adapter is made. ``words``: a class by a noun that the model knows, or a new one.

    ``full`` trains ``parts`` of the embedded model; ``lora`` adds low ranks to a UNet. It ends at
    ``steps``, or after ``patience`` checks without a better one; the best average is kept.
    ``choose``, ``splits``, ``threads``, ``device`` and ``save_every_s`` may change when it goes on.
    """

    seed: int = 0
    method: Literal["full", "lora"] = "full"
    rank: Annotated[int, Field(ge=1)] = 16  # of lora
    parts: tuple[Part, ...] = ("unet", "controlnet", "text_encoder")  # what full trains
    steps: Annotated[int, Field(ge=1)] = 150
    batch_size: Annotated[int, Field(ge=2)] = 16  # crops a step, at the first of crop_sizes_px
    crop_sizes_px: CropSizes = (64, 64, 96, 64, 128)
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    ema_decay: Fraction = 0.98
    prior_fraction: Fraction = 0.25  # of the crops: those of pretraining, that it is not forgotten
    drop_prompt: Fraction = 0.1
    drop_control: Fraction = 0.4
    prompt_noise: Annotated[float, Field(ge=0)] = 0.1
    transplant: Fraction = 0.4  # of the real crops: the defect on another good surface
    own_texture: Fraction = 0.5  # of those: nothing of the new surface shows through
    turn: Fraction = 0.3  # of the real crops: turned by 90, 180 or 270 degrees
    splits: ReferenceSplits = ("train",)  # splits to learn from: those that nothing is scored on
    hold_back: Annotated[float, Field(ge=0, lt=1)] = 0.2  # of a class: validates
    check_every: Annotated[int, Field(ge=1)] = 25  # steps
    patience: Annotated[int, Field(ge=1)] = 4  # checks without a better one
    choose: Literal["realism", "defaults"] = "realism"  # how the recipe's settings are found
    surface: Annotated[str, Field(min_length=1)] = "surface"  # its word in prompts
    words: Mapping[str, str] = field(default_factory=dict)
    threads: Annotated[int, Field(ge=1)] | None = None  # of the CPU; None = as cores are idle
    device: str = "auto"  # of the embedded model; others train where their backend is
    save_every_s: Annotated[float, Field(ge=0)] = 60
    mixed_precision: Literal["auto", "no", "bf16"] = "auto"

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts must name some of unet, controlnet, text_encoder")


def identify(
    images: Sequence[RealImage], base: Checkpoint, settings: AdaptSettings
) -> dict[str, Any]:
    """Return what must be the same for an adaptation to go on.

    The keys are words for the message that says what differs.
    """
    digests = []
    for image in images:
        whole = hashlib.sha256(f"{image.image_id}\n{image.group}\n".encode())
        if image.defects:  # of a good image the name alone counts
            whole.update(file_digest(image.path).encode())
        for defect in image.defects:
            whole.update(f"{defect.defect_class}\n{defect.mask.shape}\n".encode())
            whole.update(np.packbits(defect.mask).tobytes())
        digests.append(whole.hexdigest())
    return {
        "settings": {k: v for k, v in asdict(settings).items() if k not in MAY_CHANGE},
        "images, masks or classes": sorted(digests),
        "base": base.digest,
    }


class Trainer:
    """Teaches a module's trainable weights, and keeps those that were best on average.

    ``lose`` returns the loss of a step, the same whenever it is asked; ``validate`` the loss on
    what is held back.
    """

    def __init__(
        self,
        learner: nn.Module,
        settings: AdaptSettings,
        lose: Callable[[int], torch.Tensor],
        validate: Callable[[], float],
    ) -> None:
        self.settings, self.lose, self.validate = settings, lose, validate
        self.trained = [p for p in learner.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, settings.learning_rate, fused=True)
        self.ema = make_average(self.trained, settings.ema_decay)
        self.step, self.best_step = 0, 0
        self.curve: list[tuple[int, float, float]] = []  # step, loss, held back
        self.losses: list[float] = []
        self.best: list[torch.Tensor] = []

    def run(self, folder: Path, identity: dict[str, Any]) -> list[tuple[int, float, float]]:
        """Train to the end; leave the best averaged weights in the learner, return the curve.

        A row of the curve has the step, the mean loss since the last check, and the loss on what is
        held back; the first is that of the base model. Goes on from a state in ``folder``; raises
        RunError where that was begun with another ``identity``, or is damaged.
        """
        s = self.settings
        self._restore(folder, identity)
        if not self.curve:
            with stage("trying the base model on what is held back"):
                self._check()
        last_save, patience = time.monotonic(), s.patience * s.check_every
        with stage("learning", s.steps, done=self.step, unit="steps") as at:
            while self.step < s.steps and self.step - self.best_step < patience:
                self._advance()
                if self.step % s.check_every == 0 or self.step == s.steps:
                    self._check()
                at.note = self._describe()
                at.add()
                if time.monotonic() - last_save >= s.save_every_s:
                    self._save(folder, identity)
                    last_save = time.monotonic()
        _fill(self.trained, self.best)
        return self.curve

    def _describe(self) -> str:
        """Return how good it is: the loss on what is held back now, and the least so far."""
        least = min(row[2] for row in self.curve)
        held = self.curve[-1][2]
        return f"loss on what is held back {held:.4f}, least {least:.4f}, may stop earlier"

    def _save(self, folder: Path, identity: dict[str, Any]) -> None:
        state = {
            "identity": identity,
            "step": self.step,
            "best_step": self.best_step,
            "curve": self.curve,
            "losses": self.losses,
            "best": self.best,
            "trained": [parameter.detach() for parameter in self.trained],
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
        }
        save_state(folder, state)

    def _advance(self) -> None:
        """Take one step; the learning rate rises at first, stays level, falls in the last half."""
        s = self.settings
        fall = max(0.05, 2 * (s.steps - self.step) / s.steps)
        rate = s.learning_rate * min(1.0, (self.step + 1) / WARM_UP, fall)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.lose(self.step)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.ema.step(self.trained)
        self.losses.append(loss.item())
        self.step += 1

    def _check(self) -> None:
        self.ema.store(self.trained)
        self.ema.copy_to(self.trained)
        held = self.validate()
        self.ema.restore(self.trained)
        loss = float(np.mean(self.losses)) if self.losses else float("nan")
        self.losses = []
        if not self.curve or held < min(row[2] for row in self.curve):
            self.best_step = self.step
            average = self.ema.shadow_params if self.step else self.trained
            self.best = [parameter.detach().clone() for parameter in average]
        self.curve.append((self.step, loss, held))

    def _restore(self, folder: Path, identity: dict[str, Any]) -> None:
        if not (folder / STATE).exists():
            return
        state = load_state(folder)
        for key, value in identity.items():
            if state["identity"].get(key) != value:
                raise RunError(
                    f"{folder} holds an adaptation that was begun with other {key}; give another "
                    "folder, or the same again"
                )
        self.step, self.best_step = state["step"], state["best_step"]
        self.curve = [tuple(row) for row in state["curve"]]
        self.losses, self.best = state["losses"], state["best"]
        _fill(self.trained, state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.ema.to(self.trained[0].device)


@torch.no_grad()
def _fill(parameters: list[nn.Parameter], values: list[torch.Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
