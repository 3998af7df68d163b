"""What pretraining and adaptation of a patch model share: its parts, its loss, its averages."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.training_utils import EMAModel
from torch import nn

from synthgen.backends.patch_inpaint import (
    PatchControlNetInpaintPipeline,
    encode_patches,
    unshuffle,
)
from synthgen.files import remove_leftovers, write_bytes
from synthgen.training.crops import Crop
from synthgen.training.embedded import PATCH_SIZE

__all__ = [
    "PARTS",
    "Learner",
    "LossSettings",
    "change_loss",
    "make_average",
    "save_state",
    "stack_crops",
    "with_average",
]

SNR_CAP = 5.0
PARTS = ("unet", "controlnet", "text_encoder")


@dataclass(frozen=True, slots=True)
class LossSettings:
    """``drop_prompt`` and ``drop_control``: shares of crops that learn without these.

    ``prompt_noise``: deviation of noise on the text states, in their own deviations. ``floor``:
    least weight of a noise level; what is told from noise alone, class and colour, needs one.
    """

    drop_prompt: float = 0.0
    drop_control: float = 0.0
    prompt_noise: float = 0.0
    floor: float = 0.15


class Learner(nn.Module):
    """The parts as one module, so that they are wrapped and averaged together."""

    def __init__(self, pipeline: PatchControlNetInpaintPipeline, trained: Sequence[str]) -> None:
        super().__init__()
        self.unet = pipeline.unet
        self.controlnet = pipeline.controlnet
        self.text_encoder = pipeline.text_encoder
        for name in PARTS:
            getattr(self, name).requires_grad_(name in trained)

    def trained(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]

    def forward(
        self,
        noisy: torch.Tensor,
        inputs: torch.Tensor,
        timesteps: torch.Tensor,
        tokens: torch.Tensor,
        hint: torch.Tensor,
        keep_control: torch.Tensor,
        text_noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        states = self.text_encoder(tokens).last_hidden_state
        if text_noise is not None:
            states = states + text_noise * states.detach().std()
        down, middle = self.controlnet(noisy, timesteps, states, hint, return_dict=False)
        keep = keep_control[:, None, None, None].to(middle.dtype)
        predicted: torch.Tensor = self.unet(
            inputs,
            timesteps,
            states,
            down_block_additional_residuals=[d * keep for d in down],
            mid_block_additional_residual=middle * keep,
        ).sample.float()
        return predicted


def stack_crops(crops: Sequence[Crop]) -> dict[str, Any]:
    """Return crops as tensors: images (B, 3, S, S) in -1..1, masks (B, 1, S, S) in 0..1."""

    def images(name: str) -> torch.Tensor:
        stack = np.stack([getattr(c, name) for c in crops])
        return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1

    def masks(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([getattr(c, name) for c in crops]))[:, None].float()

    return {
        "source": images("source"),
        "defective": images("defective"),
        "control": (images("control_image") + 1) / 2,
        "defect_mask": masks("defect_mask"),
        "repaint_mask": masks("repaint_mask"),
        "prompts": [c.prompt for c in crops],
    }


def change_loss(
    model: nn.Module,
    pipeline: PatchControlNetInpaintPipeline,
    batch: dict[str, Any],
    settings: LossSettings,
    draw: torch.Generator,
    device: torch.device | str = "cpu",
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> torch.Tensor:
    """Return the loss of a batch: squared error of the change, over the repaint mask.

    Pixels of the defect, and those beside it, count three times as much as the others, and noise
    levels as min-SNR says. ``draw`` gives noise, levels and what is left out.
    """
    source, defective, control, defect_mask, mask = (
        batch[name].to(device)
        for name in ("source", "defective", "control", "defect_mask", "repaint_mask")
    )
    count = len(source)
    latent_mask = unshuffle(mask.expand(-1, 3, -1, -1), PATCH_SIZE)
    known = encode_patches(source)
    clean = (encode_patches(defective) - known) * latent_mask
    noise = torch.randn(clean.shape, generator=draw).to(device)
    timesteps = torch.randint(0, 1000, (count,), generator=draw).to(device)
    schedule = pipeline.scheduler
    noisy = schedule.add_noise(clean, noise, timesteps) * latent_mask
    drops = torch.rand(count, 2, generator=draw)
    is_dropped = (drops[:, 0] < settings.drop_prompt).tolist()
    prompts = ["" if no else p for p, no in zip(batch["prompts"], is_dropped, strict=True)]
    tokens = pipeline.tokenizer(
        prompts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids.to(device)
    inputs = torch.cat([noisy, unshuffle(mask, PATCH_SIZE), known], dim=1)
    hint = unshuffle(control, PATCH_SIZE)
    keep = (drops[:, 1] >= settings.drop_control).float().to(device)
    extra = _text_noise(pipeline, tokens, settings.prompt_noise, draw)
    with autocast():
        predicted = model(noisy, inputs, timesteps, tokens, hint, keep, *extra)
    near = F.max_pool2d(defect_mask, 3, 1, 1)
    weight = unshuffle((mask * (1 + 2 * near)).expand(-1, 3, -1, -1), PATCH_SIZE)
    error = (weight * (predicted - clean) ** 2).flatten(1).sum(1) / weight.flatten(1).sum(1)
    kept = schedule.alphas_cumprod.to(device)[timesteps]
    loss: torch.Tensor = (error * (kept / (1 - kept)).clamp(settings.floor, SNR_CAP)).mean()
    return loss


def _text_noise(
    pipeline: PatchControlNetInpaintPipeline,
    tokens: torch.Tensor,
    deviation: float,
    draw: torch.Generator,
) -> tuple[torch.Tensor, ...]:
    if deviation <= 0:
        return ()
    shape = (*tokens.shape, pipeline.text_encoder.config.hidden_size)
    return ((torch.randn(shape, generator=draw) * deviation).to(tokens.device),)


def make_average(parameters: list[nn.Parameter], decay: float) -> EMAModel:
    """Return the running average of parameters (EMA) that is kept in the end."""
    return EMAModel(parameters, decay=decay, use_ema_warmup=True, power=0.75, foreach=True)


def with_average(learner: Learner, ema: EMAModel, act: Callable[[], None]) -> None:
    """Call ``act`` while the learner has its averaged weights."""
    parameters = learner.trained()
    ema.store(parameters)
    ema.copy_to(parameters)
    act()
    ema.restore(parameters)


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state.pt``, whole or not at all; raises RunError where the disk refuses."""
    sink = io.BytesIO()  # torch would not say why a disk refuses
    torch.save(state, sink)
    write_bytes(folder / "state.pt", sink.getvalue())
    remove_leftovers(folder)
