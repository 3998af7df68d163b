"""The diffusion backend: any ControlNet inpainting pipeline of families.py, from a local folder."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from copy import copy
from itertools import groupby
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import validate_call

from synthgen.backends.checkpoints import (
    checkpoint_digest,
    find_checkpoint,
    pipeline_class_name,
)
from synthgen.backends.crops import CropJob, cut_jobs, paste, take
from synthgen.backends.families import FAMILIES
from synthgen.errors import ConfigError, ModelError
from synthgen.sample import Condition
from synthgen.seeds import stream, torch_seed_for

__all__ = ["DiffusionBackend"]

PUSH_STRENGTH, PUSH_GUIDANCE = 0.1, 1.5  # how a retry paints stronger
VARIED = ("steps", "guidance", "strength", "init", "control_scale")


class DiffusionBackend:
    """Cuts a crop around each defect, inpaints it, and lays it back; the model loads once.

    ``steps`` and ``strength`` (0..1): ``int(steps * strength)`` denoising steps run. ``init`` says
    what they start from: the sketch, the source, or pure noise (then ``strength`` is 1).
    ``guidance`` and ``control_scale`` are guidance_scale and controlnet_conditioning_scale of
    diffusers. ``context_px`` of surface is seen around each defect. ``scheduler`` is a class name
    of diffusers, None keeps the checkpoint's. Raises ConfigError, ModelError.
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
        name: str = "diffusion",
    ) -> None:
        self._set_painting(steps, guidance, strength, init, control_scale)
        if dtype not in ("float32", "float16", "bfloat16"):
            raise ConfigError(f"backend.dtype={dtype!r} must be float32, float16 or bfloat16")
        self.folder = find_checkpoint(checkpoint)
        self.name = name
        self.scheduler, self.device, self.dtype, self.threads = scheduler, device, dtype, threads
        self.context_px, self.least_crop_px = context_px, least_crop_px
        self.most_crop_px, self.resolution_px = most_crop_px, resolution_px
        self.feather_px = feather_px
        class_name = pipeline_class_name(self.folder)
        if class_name not in FAMILIES:
            raise ModelError(
                f"the checkpoint in {self.folder} is a {class_name}; "
                f"this backend runs {' and '.join(sorted(FAMILIES))}"
            )
        self.family, self.class_name = FAMILIES[class_name], class_name
        for key, size in (("resolution_px", resolution_px), ("most_crop_px", most_crop_px)):
            if size is not None and (size < 64 or size % self.family.size_multiple):
                raise ConfigError(
                    f"backend.{key}={size} must be 64 or more and a multiple of "
                    f"{self.family.size_multiple}, which {class_name} needs"
                )
        self.cell_px = self.family.cell_px
        self.checkpoint = f"{checkpoint}@{checkpoint_digest(self.folder)}"
        self._pipeline: Any = None

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

    def device_name(self) -> str:
        """Return the GPU's name, or cpu."""
        import torch

        device = _pick_device(self.device)
        return torch.cuda.get_device_name(device) if device.startswith("cuda") else device

    def load(self) -> None:
        """Load the weights; ``paint`` does so by itself when it is first called."""
        if self._pipeline is None:
            self._pipeline = self._load()

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        """Return one painted image per condition; those of one size go through together."""
        self.load()
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
        for _, group in groupby(sorted(jobs, key=_side), key=_side):
            same_size = list(group)
            for job, painted in zip(same_size, self._paint_crops(same_size), strict=True):
                images[job.index] = paste(images[job.index], painted, job, self.feather_px)
        return images

    def _paint_crops(self, jobs: list[CropJob]) -> list[NDArray[np.uint8]]:
        import torch
        from PIL import Image

        def pictures(arrays: list[NDArray[np.uint8]], how: int) -> list[Image.Image]:
            crops = (take(array, job, how) for array, job in zip(arrays, jobs, strict=True))
            return [Image.fromarray(crop) for crop in crops]

        conditions = [job.condition for job in jobs]
        push = conditions[0].spec.push
        sources = pictures([c.image for c in conditions], cv2.INTER_AREA)
        starts = pictures([c.sketch for c in conditions], cv2.INTER_AREA)
        masks = [job.mask.astype(np.uint8) * 255 for job in jobs]
        inputs: dict[str, Any] = {
            "prompt": [c.spec.prompt for c in conditions],
            "negative_prompt": [c.spec.negative_prompt for c in conditions],
            "image": sources,
            "mask_image": pictures(masks, cv2.INTER_NEAREST),
            "control_image": pictures([c.control_image for c in conditions], cv2.INTER_NEAREST),
            "generator": [torch.Generator("cpu").manual_seed(_noise_seed(job)) for job in jobs],
        }
        if self.family.takes_init_image:
            inputs["init_image"] = starts if self.init == "sketch" else sources
        elif self.init == "sketch":
            inputs["image"] = starts
        painted = self._pipeline(
            **inputs,
            strength=min(1.0, self.strength + PUSH_STRENGTH * push),
            num_inference_steps=self.steps,
            guidance_scale=self.guidance * PUSH_GUIDANCE**push,
            controlnet_conditioning_scale=self.control_scale,
            output_type="np",
        ).images
        if not np.isfinite(painted).all():
            raise ModelError(
                f"{self.class_name} painted values that are not numbers for sample "
                f"{conditions[0].spec.sample_id!r}; try backend.dtype=float32"
            )
        return list(np.rint(np.asarray(painted) * 255).astype(np.uint8))

    def _load(self) -> Any:
        import diffusers
        import torch
        import transformers

        if self.threads:
            torch.set_num_threads(self.threads)
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        pipeline_class = getattr(importlib.import_module(self.family.module), self.class_name)
        options: dict[str, Any] = {"dtype": getattr(torch, self.dtype), "local_files_only": True}
        if self.family.has_safety_checker:  # it blacks out images of harmless surfaces
            options |= {"safety_checker": None, "requires_safety_checker": False}
        try:
            pipeline = pipeline_class.from_pretrained(str(self.folder), **options)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"the checkpoint in {self.folder} does not load: {str(error).splitlines()[0]}"
            ) from error
        if self.scheduler:
            scheduler_class = getattr(diffusers, self.scheduler, None)
            if scheduler_class is None:
                raise ConfigError(f"backend.scheduler={self.scheduler!r} is no class of diffusers")
            pipeline.scheduler = scheduler_class.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(_pick_device(self.device))


def _side(job: CropJob) -> tuple[int, int]:
    return job.side_px, job.condition.spec.push


def _noise_seed(job: CropJob) -> int:
    return int(stream(torch_seed_for(job.condition.spec), "crop", job.number).integers(2**63 - 1))


def _pick_device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"backend.device={device!r}, but torch sees no CUDA GPU; use cpu or auto")
    return device
