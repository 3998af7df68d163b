"""The diffusion backend: any ControlNet inpainting pipeline of families.py, from a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import validate_call

from synthgen.backends.checkpoints import (
    checkpoint_digest,
    find_checkpoint,
    pipeline_class_name,
)
from synthgen.backends.crops import CropJob, cut_jobs, paste
from synthgen.backends.families import find_family
from synthgen.backends.loading import (
    Hardware,
    load_pipeline,
    pick_device,
    pick_dtype,
    set_scheduler,
)
from synthgen.backends.painting import Painter
from synthgen.errors import ConfigError
from synthgen.sample import Condition

__all__ = ["DiffusionBackend"]

PUSH_STRENGTH, PUSH_GUIDANCE = 0.1, 1.5  # how a retry paints stronger
VARIED = ("steps", "guidance", "strength", "init", "control_scale")


class DiffusionBackend:
    """Cuts a crop around each defect, inpaints it, and lays it back; the model loads once.

    ``steps`` and ``strength`` (0..1): ``int(steps * strength)`` denoising steps run. ``init`` says
    what they start from: the sketch, the source, or pure noise (then ``strength`` is 1).
    ``guidance`` and ``control_scale`` are guidance_scale and controlnet_conditioning_scale of
    diffusers. ``context_px`` of surface is seen around each defect. ``scheduler`` is a class name
    of diffusers, None keeps the checkpoint's. ``paint_batch`` is the most crops in one call of the
    pipeline. Raises ConfigError, ModelError.
    """

    @validate_call
    def __init__(
        self,
        checkpoint: str,
        steps: int = 20,
        guidance: float = 1.5,
        strength: float = 0.8,
        init: str = "sketch",
        control_scale: float = 1.0,
        scheduler: str | None = None,
        device: str = "auto",
        dtype: str = "float32",
        threads: int | None = None,
        context_px: int = 16,
        least_crop_px: int = 64,
        most_crop_px: int = 512,
        resolution_px: int | None = None,
        feather_px: float = 0,
        paint_batch: int = 16,
        compile: bool = False,
        vae_slicing: bool = False,
        vae_tiling: bool = False,
        name: str = "diffusion",
    ) -> None:
        self._set_painting(steps, guidance, strength, init, control_scale)
        if paint_batch < 1:
            raise ConfigError(f"backend.paint_batch={paint_batch} must be 1 or more")
        self.hardware = Hardware(device, dtype, threads, compile, vae_slicing, vae_tiling)
        self.folder = find_checkpoint(checkpoint)
        self.name = name
        self.scheduler, self.paint_batch = scheduler, paint_batch
        self.context_px, self.least_crop_px = context_px, least_crop_px
        self.most_crop_px, self.resolution_px = most_crop_px, resolution_px
        self.feather_px = feather_px
        self.class_name = pipeline_class_name(self.folder)
        self.family = find_family(self.class_name, self.folder)
        for key, size in (("resolution_px", resolution_px), ("most_crop_px", most_crop_px)):
            self._check_size(key, size)
        self.cell_px = self.family.cell_px
        self.checkpoint = f"{checkpoint}@{checkpoint_digest(self.folder)}"
        self._painter: Painter | None = None

    def _check_size(self, key: str, size_px: int | None) -> None:
        step = self.family.size_multiple
        if size_px is not None and (size_px < 64 or size_px % step):
            raise ConfigError(
                f"backend.{key}={size_px} must be 64 or more and a multiple of {step}, "
                f"which {self.class_name} needs"
            )

    def _set_painting(
        self, steps: int, guidance: float, strength: float, init: str, control_scale: float
    ) -> None:
        if init not in ("sketch", "source", "noise"):
            raise ConfigError(f"backend.init={init!r} must be sketch, source or noise")
        self.strength = 1.0 if init == "noise" else float(strength)
        if not 0 < self.strength <= 1 or int(steps * self.strength) < 1:
            raise ConfigError(
                f"backend.strength={strength} with backend.steps={steps} leaves no step to run; "
                "strength must lie in 0..1 and int(steps * strength) be at least 1"
            )
        self.init, self.steps = init, steps
        self.guidance, self.control_scale = float(guidance), float(control_scale)

    def vary(self, **changes: Any) -> DiffusionBackend:
        """Return the same loaded model painting with other settings, e.g. ``steps=8``.

        Raises ConfigError for settings that leave no step to run.
        """
        self.load()
        settings = {name: getattr(self, name) for name in VARIED} | changes
        if set(settings) != set(VARIED):
            raise ConfigError(f"a backend varies in {', '.join(VARIED)}, not {sorted(changes)}")
        other = copy(self)
        other._set_painting(**settings)
        return other

    @property
    def dtype(self) -> str:
        """The type of number that the weights have, on this machine."""
        return pick_dtype(self.hardware.dtype, pick_device(self.hardware.device))

    def device_name(self) -> str:
        """Return the GPU's name, or cpu."""
        import torch

        device = pick_device(self.hardware.device)
        return torch.cuda.get_device_name(device) if device.startswith("cuda") else device

    def load(self) -> Painter:
        """Load the weights, once; ``paint`` does so by itself when it is first called."""
        if self._painter is None:
            pipeline = load_pipeline(self.folder, self.class_name, self.family, self.hardware)
            if self.scheduler:
                set_scheduler(pipeline, self.scheduler)
            self._painter = Painter(pipeline, self.family.takes_init_image, self.paint_batch)
        return self._painter

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        """Return one painted image per condition; those of one size go through together."""
        painter = self.load()
        step = max(32, self.family.size_multiple)
        jobs = cut_jobs(
            list(conditions),
            self.context_px,
            self.least_crop_px,
            self.most_crop_px,
            step,
            self.resolution_px,
        )
        images = [condition.image for condition in conditions]
        for (_, push), group in groupby(sorted(jobs, key=_alike), key=_alike):
            alike = list(group)
            crops = painter.paint(alike, self.init, self._options(push))
            for job, crop in zip(alike, crops, strict=True):
                images[job.index] = paste(images[job.index], crop, job, self.feather_px)
        return images

    def _options(self, push: int) -> dict[str, Any]:
        return {
            "strength": min(1.0, self.strength + PUSH_STRENGTH * push),
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance * PUSH_GUIDANCE**push,
            "controlnet_conditioning_scale": self.control_scale,
        }


def _alike(job: CropJob) -> tuple[int, int]:
    """Return what jobs must share to go through in one call: the size and the settings."""
    return job.side_px, job.condition.spec.push
