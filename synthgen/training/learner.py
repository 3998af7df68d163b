"""What pretraining and adaptation of a patch model share: its parts, its loss, its averages."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.training_utils import EMAModel
from torch import nn

from synthgen.backends.diffusion.patch_inpaint import (
    PatchControlNetInpaintPipeline,
    decode_patches,
    encode_patches,
    unshuffle,
)
from synthgen.errors import RunError
from synthgen.storage.files import remove_leftovers, write_bytes
from synthgen.training.crops import Crop
from synthgen.training.embedded import PATCH_SIZE
from synthgen.training.features import CriticLoss, FeatureLoss

__all__ = [
    "PARTS",
    "STATE",
    "Learner",
    "LossSettings",
    "change_loss",
    "load_state",
    "make_average",
    "save_state",
    "stack_crops",
    "with_average",
]

STATE = "state.pt"
SNR_CAP = 5.0  # of a noise level's weight: min-SNR-5 (Hang et al. 2023)
PARTS = ("unet", "controlnet", "text_encoder")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """``drop_prompt`` and ``drop_control``: shares of crops that learn without these.

    ``prompt_noise``: deviation of noise on the text states, in their own deviations. ``floor``:
    least weight of a noise level; what is told from noise alone, class and colour, needs one.
    ``sketch``: share of crops whose noise lies on the sketch, more or less, in place of the
    finished picture: they learn to turn one into the other. ``gradient`` and ``feature``: weights
    of two more terms, the difference of neighbouring pixels and that of ``features``.
    ``noise_levels``: timesteps that 3 of 4 crops are set to, those that few steps of painting meet;
    empty = any.
    """

    drop_prompt: float = 0.0
    drop_control: float = 0.0
    prompt_noise: float = 0.0
    floor: float = 0.15
    sketch: float = 0.0
    gradient: float = 0.0
    feature: float = 0.0
    noise_levels: tuple[int, ...] = ()


class Learner(nn.Module):
    """The parts as one module, so that they are wrapped and averaged together.

    Only the parts named in ``trained`` learn; the others stay as the pipeline has them.
    """

    def __init__(self, pipeline: PatchControlNetInpaintPipeline, trained: Sequence[str]) -> None:
        super().__init__()
        self.unet = pipeline.unet
        self.controlnet = pipeline.controlnet
        self.text_encoder = pipeline.text_encoder
        for name in PARTS:
            getattr(self, name).requires_grad_(name in trained)

    def trained(self) -> list[nn.Parameter]:
        """Return the weights that learn, in a fixed order."""
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
        """Return the clean change in patches that the UNet predicts, float32, as ``noisy``.

        ``inputs``: ``noisy`` with the mask and the source, as the UNet reads them; ``hint``: the
        control image in patches. ``keep_control`` (B,): 0 leaves the ControlNet out. ``text_noise``
        is added to the text states, in their own deviation.
        """
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
    """Return crops as tensors: images (B, 3, S, S) in -1..1, masks (B, 1, S, S) in 0..1.

    ``control`` (B, 3, S, S) is in 0..1; ``prompts`` is a list of B texts. All crops have one size.
    """

    def images(name: str) -> torch.Tensor:
        stack = np.stack([getattr(c, name) for c in crops])
        return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1

    def masks(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([getattr(c, name) for c in crops]))[:, None].float()

    return {
        "source": images("source"),
        "defective": images("defective"),
        "sketch": images("sketch"),
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
    features: FeatureLoss | CriticLoss | None = None,
) -> torch.Tensor:
    """Return the loss of a batch: squared error of the change, over the repaint mask.

    Pixels of the defect, and those beside it, count three times as much as the others, and noise
    levels as min-SNR says. ``batch`` is that of ``stack_crops``. ``draw``, a generator on the CPU,
    gives noise, levels and what is left out: the same loss on every device, but for rounding.
    ``features`` is needed where their weight is not 0.
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
    timesteps = _draw_timesteps(count, settings.noise_levels, draw).to(device)
    schedule = pipeline.scheduler
    start = clean
    if settings.sketch > 0:
        towards = _sketch_weights(timesteps, settings.sketch, draw)
        sketched = (encode_patches(batch["sketch"].to(device)) - known) * latent_mask
        start = torch.lerp(clean, sketched, towards)
    noisy = schedule.add_noise(start, noise, timesteps) * latent_mask
    drops = torch.rand(count, 2, generator=draw)
    is_dropped = (drops[:, 0] < settings.drop_prompt).tolist()
    prompts = ["" if no else p for p, no in zip(batch["prompts"], is_dropped, strict=True)]
    tokens = pipeline.tokenizer(
        prompts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids.to(device)
    inputs = torch.cat([noisy, unshuffle(mask, PATCH_SIZE), known], dim=1)
    hint = unshuffle(control, PATCH_SIZE)
    keep = (drops[:, 1] >= settings.drop_control).float().to(device)
    extra: tuple[torch.Tensor, ...] = ()
    if settings.prompt_noise > 0:
        shape = (*tokens.shape, pipeline.text_encoder.config.hidden_size)
        extra = ((torch.randn(shape, generator=draw) * settings.prompt_noise).to(device),)
    with autocast():
        predicted = model(noisy, inputs, timesteps, tokens, hint, keep, *extra)
    near = F.max_pool2d(defect_mask, 3, 1, 1)
    weight = unshuffle((mask * (1 + 2 * near)).expand(-1, 3, -1, -1), PATCH_SIZE)
    error = (weight * (predicted - clean) ** 2).flatten(1).sum(1) / weight.flatten(1).sum(1)
    kept = schedule.alphas_cumprod.to(device)[timesteps]
    snr = kept / (1 - kept)
    loss: torch.Tensor = (error * snr.clamp(settings.floor, SNR_CAP)).mean()
    if settings.gradient <= 0 and settings.feature <= 0:
        return loss
    change = decode_patches(predicted * latent_mask)
    even = snr.clamp(settings.floor, 1.0)
    if settings.gradient > 0:
        slopes = _slope_error(change, decode_patches(clean), mask * (1 + 2 * near))
        loss = loss + settings.gradient * (even * slopes).mean()
    if settings.feature > 0 and features is not None:
        half = (count + 1) // 2  # of the crops: it takes as long as the UNet does
        seen = features((source + change)[:half].clamp(-1.2, 1.2), defective[:half], mask[:half])
        loss = loss + settings.feature * (even[:half] * seen).mean()
    return loss


def _draw_timesteps(count: int, levels: Sequence[int], draw: torch.Generator) -> torch.Tensor:
    """Return (B,) timesteps; with ``levels`` 3 of 4 are the next of these above them."""
    timesteps = torch.randint(0, 1000, (count,), generator=draw)
    if not levels:
        return timesteps
    ordered = torch.tensor(sorted(levels))
    above = ordered[torch.searchsorted(ordered, timesteps).clamp(max=len(ordered) - 1)]
    return torch.where(torch.rand(count, generator=draw) < 0.75, above, timesteps)


def _sketch_weights(
    timesteps: torch.Tensor, fraction: float, draw: torch.Generator
) -> torch.Tensor:
    """Return (B, 1, 1, 1): how much of a sketch the noise lies on, 0 = none.

    The less noise, the less of it: late steps see what earlier ones have finished.
    """
    drawn = torch.rand(len(timesteps), 2, generator=draw).to(timesteps.device)
    weights = (drawn[:, 0] < fraction) * drawn[:, 1].sqrt() * (timesteps / 500).clamp(max=1)
    return weights[:, None, None, None]


def _slope_error(own: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return (B,): mean difference of the slopes of two changes (B, 3, H, W), weighted."""
    total = torch.zeros(len(own), device=own.device)
    for axis in (2, 3):
        error = (own.diff(dim=axis) - wanted.diff(dim=axis)).abs().mean(dim=1, keepdim=True)
        where = weight.narrow(axis, 1, weight.shape[axis] - 1)
        total = total + (error * where).flatten(1).sum(1) / where.flatten(1).sum(1).clamp(min=1)
    return total


def make_average(parameters: list[nn.Parameter], decay: float) -> EMAModel:
    """Return the running average of parameters (EMA) that is kept in the end.

    ``decay`` is reached over the first steps: its warm-up lets the average follow early on.
    """
    return EMAModel(parameters, decay=decay, use_ema_warmup=True, power=0.75, foreach=True)


def with_average(learner: Learner, ema: EMAModel, act: Callable[[], None]) -> None:
    """Call ``act`` while the learner has its averaged weights; then put its own ones back."""
    parameters = learner.trained()
    ema.store(parameters)
    ema.copy_to(parameters)
    act()
    ema.restore(parameters)


def load_state(folder: Path) -> dict[str, Any]:
    """Return what ``save_state`` wrote; raises RunError where it is damaged."""
    try:
        state: Any = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it holds no state")
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, UnpicklingError) as error:
        raise RunError(
            f"{folder / STATE} is damaged; delete the folder {folder} and run again, or give "
            "another folder"
        ) from error
    return state


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state.pt``, whole or not at all; raises RunError where the disk refuses."""
    sink = io.BytesIO()  # torch would not say why a disk refuses
    torch.save(state, sink)
    write_bytes(folder / STATE, sink.getvalue())
    remove_leftovers(folder)
