"""Make the embedded model: surfaces (drawn ones and photos) with drawn defects in, weights out.

Joint training of UNet, ControlNet and text encoder on the clean latents, weighted to the repaint
mask and by min-SNR-5 (Hang et al. 2023, https://arxiv.org/abs/2303.09556, eq. 4).
"""

from __future__ import annotations

import copy
import csv
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.models.attention_processor import AttnProcessor
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from synthgen.backends.checkpoints.find import find_checkpoint
from synthgen.backends.diffusion.loading import best_precision
from synthgen.backends.diffusion.patch_inpaint import PatchControlNetInpaintPipeline
from synthgen.errors import RunError
from synthgen.planning.prompts import vocabulary
from synthgen.progress import stage
from synthgen.samples.seeds import stream
from synthgen.sources.surfaces import SURFACES
from synthgen.training.card import write_model_card
from synthgen.training.crops import Crop, draw_crops
from synthgen.training.embedded import build_pipeline, start_from
from synthgen.training.features import CriticLoss, FeatureLoss
from synthgen.training.learner import (
    PARTS,
    Learner,
    LossSettings,
    change_loss,
    load_state,
    make_average,
    save_state,
    stack_crops,
    with_average,
)
from synthgen.training.photos import Photos
from synthgen.training.pretrain_settings import PretrainSettings, is_stored
from synthgen.training.real_examples import RealExamples

__all__ = ["PretrainSettings", "paint_crops", "pretrain"]


class _Batches(Dataset[dict[str, Any]]):
    """Batches by step number, so that a resumed run sees what an unbroken one would have seen.

    Item 0 is the batch of the step ``first``, as ``stack_crops`` has it.
    """

    def __init__(
        self,
        settings: PretrainSettings,
        photos: Photos,
        real: RealExamples,
        first: int,
        process: int,
    ) -> None:
        self.settings, self.photos, self.real = settings, photos, real
        self.first, self.process = first, process
        self._pack = -1
        self._crops: list[Crop] = []

    def __len__(self) -> int:
        return self.settings.steps - self.first

    def __getitem__(self, number: int) -> dict[str, Any]:
        step = self.first + number
        s = self.settings
        pack, turn = divmod(step, s.repeats)
        if pack != self._pack:
            size = s.crop_sizes_px[pack % len(s.crop_sizes_px)]
            # As many pixels whatever the crops' size.
            count = max(1, round(s.batch_size * (s.crop_sizes_px[0] / size) ** 2))
            seed = s.seed + 1000003 * self.process
            crops = draw_crops(seed, pack, count, size, self.photos)
            for place in range(count if len(self.real) else 0):
                rng = stream(seed, "real example", pack, place)
                if rng.random() < s.real_fraction:
                    crops[place] = self.real.draw(rng, size)
            self._pack, self._crops = pack, crops
        # Repeated crops are mirrored: as they are, across, down, both; then again.
        axes = [axis for bit, axis in ((1, 3), (2, 2)) if turn & bit]
        return {
            key: value.flip(axes) if axes and isinstance(value, torch.Tensor) else value
            for key, value in stack_crops(self._crops).items()
        }


def pretrain(settings: PretrainSettings, folder: Path) -> Path:
    """Train, or go on training, in ``folder``; return the folder of the finished model.

    Writes ``state.pt`` (to go on from), ``log.csv``, ``samples/*.png`` and ``model/`` (a diffusers
    folder, fp16). The log has a row for every 50 steps, and one for the last. A training that was
    stopped and goes on ends like an unbroken one. Raises RunError where ``folder`` holds a run of
    other settings, SourceError for photos or real defects that cannot be read, and ModelError for a
    model to start from that does not fit.
    """
    torch.set_num_threads(settings.threads)
    cv2.setNumThreads(1)
    settings = _settle_precision(settings)
    AcceleratorState._reset_state()  # a training before in this process may have had another one
    accelerator = Accelerator(mixed_precision=settings.mixed_precision)
    photos, real = Photos(settings.photos), RealExamples(settings.real)
    features = _make_features(settings, accelerator)
    with stage("making the model ready"):
        words, pipeline = _begin(settings)
    learner = Learner(pipeline, settings.parts)
    optimizer = torch.optim.AdamW(learner.trained(), settings.learning_rate, fused=True)
    ema = make_average(learner.trained(), settings.ema_decay)
    folder.mkdir(parents=True, exist_ok=True)
    first = _restore(folder, settings, words, learner, optimizer, ema, features)
    wrapped, optimizer = accelerator.prepare(learner, optimizer)
    ema.to(accelerator.device)
    batches = DataLoader(
        _Batches(settings, photos, real, first, accelerator.process_index),
        batch_size=None,
        num_workers=settings.workers,
    )
    last_save = last_sheet = last_log = time.monotonic()
    losses: list[float] = []
    crops = 0
    with stage("learning", settings.steps, done=first, unit="steps") as at:
        for step, batch in enumerate(batches, start=first):
            _set_rate(optimizer, settings, step)
            loss = _loss(wrapped, pipeline, batch, settings, step, accelerator, features)
            optimizer.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(learner.trained(), 1.0)
            optimizer.step()
            ema.step(learner.trained())
            losses.append(loss.item())
            crops += len(batch["prompts"]) * accelerator.num_processes
            at.add()
            if not accelerator.is_main_process:
                continue
            now = time.monotonic()
            if len(losses) == 50 or step + 1 == settings.steps:
                mean, crops_per_s = float(np.mean(losses)), crops / max(now - last_log, 1e-9)
                at.note = f"loss {mean:.4f}, {crops_per_s:.0f} crops/s"
                _log(folder / "log.csv", step + 1, mean, crops, crops_per_s)
                losses, crops, last_log = [], 0, now
            if now - last_save > settings.save_every_s:
                _save_state(folder, settings, words, step + 1, learner, optimizer, ema, features)
                last_save = time.monotonic()
            if now - last_sheet > settings.sheet_every_s:
                look = partial(_look, pipeline, folder, step + 1, photos, settings.sheet_crops)
                with_average(learner, ema, look)
                last_sheet = time.monotonic()
    if accelerator.is_main_process:
        _save_state(folder, settings, words, settings.steps, learner, optimizer, ema, features)
        with_average(learner, ema, partial(_finish, pipeline, folder, settings, photos, real))
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return folder / "model"


def _begin(settings: PretrainSettings) -> tuple[list[str], PatchControlNetInpaintPipeline]:
    """Return the words that the model learns, and the model as it is before the first step."""
    surfaces = [name for _, name in SURFACES.values()]
    surfaces += [one.surface for one in settings.photos.values()]
    surfaces += [one.surface for one in settings.real.values()]
    words = vocabulary(surfaces)
    pipeline = build_pipeline(words)
    if settings.start is not None:
        start = find_checkpoint(settings.start, key="pretrain.start")
        start_from(pipeline, start.folder, settings.start_parts)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.set_attn_processor(AttnProcessor())  # its backward is 2x as fast on a CPU
    return words, pipeline


def _loss(
    model: nn.Module,
    pipeline: PatchControlNetInpaintPipeline,
    batch: dict[str, Any],
    settings: PretrainSettings,
    step: int,
    accelerator: Accelerator,
    features: FeatureLoss | CriticLoss | None,
) -> torch.Tensor:
    seed = settings.seed + 7919 * step + accelerator.process_index * 104729
    return change_loss(
        model,
        pipeline,
        batch,
        LossSettings(
            drop_prompt=settings.drop_prompt,
            drop_control=settings.drop_control,
            sketch=settings.sketch_fraction,
            gradient=settings.gradient_weight,
            feature=settings.feature_weight,
            noise_levels=_noise_levels(pipeline, settings.painting_steps),
        ),
        torch.Generator().manual_seed(seed),
        accelerator.device,
        accelerator.autocast,
        features,
    )


def _make_features(
    settings: PretrainSettings, accelerator: Accelerator
) -> FeatureLoss | CriticLoss | None:
    if settings.feature_weight <= 0:
        return None
    if settings.critic_weight <= 0:
        return FeatureLoss()
    return CriticLoss(FeatureLoss(), settings.critic_weight, accelerator.prepare)


def _noise_levels(pipeline: PatchControlNetInpaintPipeline, steps: int | None) -> tuple[int, ...]:
    """Return the timesteps that ``steps`` steps of painting run through; none for any."""
    if steps is None:
        return ()
    schedule = copy.copy(pipeline.scheduler)
    schedule.set_timesteps(steps)
    return tuple(schedule.timesteps.tolist())


def _settle_precision(settings: PretrainSettings) -> PretrainSettings:
    """Return the settings with what ``auto`` stands for on this machine."""
    if settings.mixed_precision != "auto":
        return settings
    device = "cuda" if torch.cuda.is_available() else "cpu"
    is_half = best_precision(device) == "bf16"
    return replace(settings, mixed_precision="bf16" if is_half else "no")


def _set_rate(optimizer: Any, settings: PretrainSettings, step: int) -> None:
    left = (settings.steps - step) / max(1.0, settings.steps * settings.decay_fraction)
    rate = settings.learning_rate * min(1.0, (step + 1) / 200) * max(0.03, min(1.0, left))
    for group in optimizer.param_groups:
        group["lr"] = rate


def _save_state(
    folder: Path,
    settings: PretrainSettings,
    words: list[str],
    step: int,
    learner: nn.Module,
    optimizer: Any,
    ema: EMAModel,
    features: FeatureLoss | CriticLoss | None,
) -> None:
    state = {
        "settings": asdict(settings),
        "words": words,
        "step": step,
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": ema.state_dict(),
        "critic": features.state_dict() if isinstance(features, CriticLoss) else None,
    }
    save_state(folder, state)


def _restore(
    folder: Path,
    settings: PretrainSettings,
    words: list[str],
    learner: nn.Module,
    optimizer: Any,
    ema: EMAModel,
    features: FeatureLoss | CriticLoss | None,
) -> int:
    if not (folder / "state.pt").exists():
        return 0
    state = load_state(folder)
    may_change = {
        "steps",
        "decay_fraction",
        "save_every_s",
        "sheet_every_s",
        "sheet_crops",
        "workers",
        "threads",
    }
    for key in sorted(key for key in asdict(settings) if key not in may_change):
        now = getattr(settings, key)
        before = state["settings"].get(key, getattr(PretrainSettings(), key))
        if not is_stored(before, now):
            raise RunError(
                f"{folder} holds a training with pretrain.{key}={before}, not {now}; "
                "give another folder or the same value"
            )
    if state.get("words", words) != words:
        raise RunError(f"{folder} holds a training with other words; give another folder")
    learner.load_state_dict(state["learner"])
    optimizer.load_state_dict(state["optimizer"])
    ema.load_state_dict(state["ema"])
    if isinstance(features, CriticLoss):
        features.load_state_dict(state["critic"])
    return int(state["step"])


def _log(path: Path, step: int, loss: float, crops: int, crops_per_s: float) -> None:
    """Add a row: the mean loss and the crops since the last one, over all processes."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["step", "loss", "crops", "crops_per_s"])
        writer.writerow((step, f"{loss:.5f}", crops, f"{crops_per_s:.1f}"))


def _finish(
    pipeline: PatchControlNetInpaintPipeline,
    folder: Path,
    settings: PretrainSettings,
    photos: Photos,
    real: RealExamples,
) -> None:
    _look(pipeline, folder, settings.steps, photos, settings.sheet_crops)
    parts = [getattr(pipeline, name) for name in PARTS]
    weights = [{k: v.clone() for k, v in part.state_dict().items()} for part in parts]
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder / "model", safe_serialization=True)
    sizes = {name: sum(p.numel() for p in getattr(pipeline, name).parameters()) for name in PARTS}
    settled = asdict(settings)
    write_model_card(
        folder / "model", settled, folder / "log.csv", sizes, photos.counts, real.counts
    )
    pipeline.to(torch.float32)
    for part, state in zip(parts, weights, strict=True):
        part.load_state_dict(state)


@stage("painting samples to look at")
def _look(
    pipeline: PatchControlNetInpaintPipeline, folder: Path, step: int, photos: Photos, count: int
) -> None:
    """Write a sheet: source, reference, from noise (20, 8 steps), from the sketch, no control."""
    crops = draw_crops(77, 0, count, 128, photos)
    rows = [[c.source for c in crops], [c.defective for c in crops]]
    for strength, steps, scale in ((1.0, 20, 1.0), (1.0, 8, 1.0), (0.7, 12, 1.0), (1.0, 20, 0.0)):
        rows.append(paint_crops(pipeline, crops, strength, steps, scale))
    half = max(1, len(crops) // 2)
    sheet = np.vstack([np.hstack(row[at : at + half]) for at in (0, half) for row in rows])
    (folder / "samples").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "samples" / f"step-{step:06d}.png"), sheet[..., ::-1])


def paint_crops(
    pipeline: PatchControlNetInpaintPipeline,
    crops: list[Crop],
    strength: float,
    steps: int,
    scale: float,
    guidance: float = 1.5,
) -> list[NDArray[np.uint8]]:
    """Return the crops as painted from their sketches, or from noise at ``strength`` 1.

    Images are (S, S, 3) uint8 RGB. ``scale`` is the conditioning scale of the ControlNet; crop n
    has seed n. It runs in bfloat16 where that is multiplied in hardware: emulated, it takes 20
    times as long.
    """
    device = pipeline.unet.device
    with torch.autocast(device.type, torch.bfloat16, best_precision(device.type) == "bf16"):
        (images,) = pipeline(
            prompt=[c.prompt for c in crops],
            image=[Image.fromarray(c.source) for c in crops],
            init_image=[Image.fromarray(c.sketch) for c in crops],
            mask_image=[Image.fromarray(c.repaint_mask.astype(np.uint8) * 255) for c in crops],
            control_image=[Image.fromarray(c.control_image) for c in crops],
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=guidance,
            controlnet_conditioning_scale=scale,
            generator=[torch.Generator().manual_seed(n) for n in range(len(crops))],
            output_type="np",
            return_dict=False,
        )
    return list((images * 255).round().astype(np.uint8))
