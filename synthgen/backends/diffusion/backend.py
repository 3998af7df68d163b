"""The diffusion backend: any model of families.py, from a local folder or the hub's cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, validate_call

from synthgen.backends.backend import Backend, BackendInfo
from synthgen.backends.checkpoints.families import find_call
from synthgen.backends.checkpoints.find import Checkpoint, describe_models
from synthgen.backends.checkpoints.selection import select, trained_px
from synthgen.backends.diffusion.crops import CropJob, cut_jobs, cut_whole, paste_crop
from synthgen.backends.diffusion.loading import (
    load_pipeline,
    pick_device,
    pick_dtype,
    set_scheduler,
    switch_pipeline,
)
from synthgen.backends.diffusion.painting import Painter, Settings
from synthgen.backends.diffusion.prompt_weights import encode_weighted, why_no_weights
from synthgen.backends.diffusion.references import add_reference
from synthgen.backends.diffusion.texts import PromptEncoder
from synthgen.backends.settings import (
    CropSettings,
    Hardware,
    ModelSettings,
    PaintingSettings,
    resolve_crops,
    resolve_painting,
)
from synthgen.errors import ConfigError
from synthgen.imaging.matching import match_optics
from synthgen.samples.sample import Boost, Condition
from synthgen.samples.seeds import rng_for

__all__ = ["DiffusionBackend", "min_strength", "need_diffusion"]


class DiffusionBackend:
    """Cuts a crop around each defect, inpaints it, and lays it back; the model loads once.

    E.g. ``DiffusionBackend(ModelSettings("embedded"))``: what is not given is what suits the
    model's family. ``name`` is what ``describe`` calls it. Raises ConfigError, ModelError, before
    anything is loaded where it can be known.
    """

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        model: ModelSettings,
        painting: PaintingSettings = PaintingSettings(),  # noqa: B008 (frozen)
        crops: CropSettings = CropSettings(),  # noqa: B008
        hardware: Hardware = Hardware(),  # noqa: B008
        name: str = "diffusion",
    ) -> None:
        self.name, self.hardware = name, hardware
        self.controlnets, self.reference = model.controlnets, model.reference
        self.model = select(model)
        self.family = self.model.family
        self.call = find_call(self.family, self.model.controlnet, is_varied=False)
        self._asked = painting
        self.painting = resolve_painting(painting, self.family, self.call)
        if model.safety_checker and self._safety_checker is None:
            raise ConfigError(
                f"backend.model.safety_checker=true, but {self.folder} holds none; set it to false"
            )
        if painting.prompt_weights and (reason := why_no_weights(self.family)):
            raise ConfigError(reason)
        self.crops = resolve_crops(crops, self.family, trained_px(self.model.base, self.family))
        self.reads = tuple(self.controlnets)
        self.checkpoint = self.model.describe()
        self._painters: dict[bool, Painter] = {}  # for parts of an image, for whole ones

    def vary(self, **changes: Any) -> DiffusionBackend:
        """Return the same loaded model with other ``PaintingSettings``, e.g. ``steps=8``.

        Raises ConfigError for settings that leave no step to run.
        """
        self.load()
        other = copy(self)
        other._asked = replace(self._asked, **changes)
        other.painting = resolve_painting(other._asked, self.family, self.call)
        return other

    def describe(self) -> BackendInfo:
        """Return what it is; raises ConfigError where its device is not there."""
        model, adapter = self.model, self.model.adapter
        models: dict[str, Checkpoint | Path] = {"checkpoint": model.base}  # by config key
        models |= {f"controlnets.{name}": net for name, net in model.controlnets.items()}
        models |= {f"loras.{name}": path for name, (path, _) in model.loras.items()}
        models |= {"reference": model.reference} if model.reference else {}
        models |= {"adapter": adapter.weights} if adapter else {}
        reads_all = self._asked.prompt_weights and self.family.reads_long_prompts
        return BackendInfo(
            name=self.name,
            checkpoint=self.checkpoint,
            cell_px=self.family.cell_px,
            models=describe_models(models),
            dtype=self.dtype,
            reads=self.reads,
            taught=adapter.classes if adapter else {},
            tokenizers=None if reads_all else self.folder,
            safety_checker=self._safety_checker,
            why_not_whole=self._why_not_whole(),
        )

    @property
    def folder(self) -> Path:
        """Where the checkpoint lies."""
        return self.model.base.folder

    @property
    def _safety_checker(self) -> bool | None:
        has_one = (self.folder / "safety_checker").is_dir()
        return self.model.keeps_safety_checker if has_one else None

    @property
    def dtype(self) -> str:
        """The type of number that the weights have, on this machine."""
        asked = self.hardware.dtype or self.family.dtype
        return pick_dtype(asked, pick_device(self.hardware.device))

    def device_name(self) -> str:
        """Return the GPU's name, or cpu."""
        import torch

        device = pick_device(self.hardware.device)
        return torch.cuda.get_device_name(device) if device.startswith("cuda") else device

    def load(self, is_varied: bool = False) -> Painter:
        """Load the weights, once; ``paint`` does so by itself when it is first called.

        ``is_varied``: what paints whole images, from the same weights.
        """
        if is_varied in self._painters:
            return self._painters[is_varied]
        if is_varied:
            call = find_call(self.family, self.model.controlnet, is_varied=True)
            pipeline = switch_pipeline(self.load().pipeline, self.model, call, self.hardware)
        else:
            call = self.call
            pipeline = load_pipeline(self.model, call, self.hardware)
            if self._asked.scheduler:
                set_scheduler(pipeline, self._asked.scheduler)
        refer = None
        if self.reference and self.model.reference:
            refer = add_reference(pipeline, self.reference, self.model.reference)
        encode = encode_weighted if self._asked.prompt_weights else None
        texts = PromptEncoder(pipeline, self.family, encode)
        painter = Painter(pipeline, call, texts, self.hardware.paint_batch, self.reads, refer)
        self._painters[is_varied] = painter
        return painter

    def _why_not_whole(self) -> str | None:
        """Return why it cannot paint whole images, a sentence; None where it can."""
        try:
            find_call(self.family, self.model.controlnet, is_varied=True)
        except ConfigError as error:
            return str(error)
        strength, steps = self.painting.vary_strength, self.painting.steps
        if 0 < strength <= 1 and int(steps * strength) >= 1:
            return None
        return (
            f"backend.painting.vary_strength={strength:g} with backend.painting.steps={steps} "
            "leaves no step to run; it must lie in 0..1 and int(steps * vary_strength) be at least "
            "1"
        )

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        """Return one painted image (H, W, 3) per condition; crops of one size go through together.

        Loads the weights where that was not done. Raises ConfigError, ModelError as that fails, and
        ModelError where one crop does not fit into memory or comes out as no number.
        """
        images = [condition.image for condition in conditions]
        for whole in (False, True):
            for alike in self._alike(conditions, whole):
                boost = alike[0].condition.boost
                settings = self._whole_settings(boost) if whole else self._settings(boost)
                crops = self.load(whole).paint(alike, settings)
                for job, crop in zip(alike, crops, strict=True):
                    feather_px = 0 if whole else self.crops.feather_px
                    images[job.index] = paste_crop(images[job.index], crop, job, feather_px)
        if not self._asked.match_optics:
            return images
        for index, condition in enumerate(conditions):
            if condition.is_whole:
                continue  # it stays as it was painted
            drawn = rng_for(condition.spec, condition.attempt, f"grain {condition.attempt.variant}")
            images[index] = match_optics(
                condition.image,
                images[index],
                condition.repaint_mask,
                condition.defect_mask,
                condition.optics,
                int(drawn.integers(2**31)),
            )
        return images

    def _alike(self, conditions: Sequence[Condition], whole: bool) -> list[list[CropJob]]:
        """Return the crops of conditions, those together that may go through in one call."""
        step, crops = max(32, self.family.size_multiple), self.crops
        jobs = [
            job
            for job in (
                cut_whole(conditions, crops.max_image_px, step)
                if whole
                else cut_jobs(
                    conditions,
                    crops.context_px,
                    crops.min_px,
                    crops.max_px,
                    step,
                    crops.resolution_px,
                )
            )
            if job.condition.is_whole == whole
        ]
        jobs.sort(key=self._kind)
        return [list(group) for _, group in groupby(jobs, key=self._kind)]

    def _kind(self, job: CropJob) -> tuple[Any, ...]:
        """Return what jobs share that go through together: size, settings, length of the text."""
        boost = job.condition.boost
        if not self._asked.prompt_weights:
            return job.size_hw, boost
        spec = job.condition.spec
        length = self.load().texts.length((spec.prompt, spec.negative_prompt), True)
        return job.size_hw, boost, length

    def _whole_settings(self, boost: Boost) -> Settings:
        """Return how to paint a whole image; a retry stays closer to the source."""
        settings = self._settings(Boost(1.0, 0.0))
        least = min_strength(self.painting.steps)
        weaker = max(self.painting.vary_strength + boost.strength_added, least)
        return replace(settings, strength=weaker, init="source")

    def _settings(self, boost: Boost) -> Settings:
        """Return how to paint; a retry may be boosted."""
        nets, painting = list(self.controlnets.values()), self.painting
        scales = [painting.control_scale if net.scale is None else net.scale for net in nets]
        return Settings(
            steps=painting.steps,
            guidance=painting.guidance * boost.guidance_factor,
            strength=min(1.0, painting.strength + boost.strength_added),
            init=painting.init,
            scales=tuple(scales)
            if nets
            else (painting.control_scale,) * bool(self.model.controlnet),
            starts=tuple(net.start for net in nets),
            ends=tuple(net.end for net in nets),
            modes=tuple(net.mode for net in nets),
        )


def min_strength(steps: int) -> float:
    """Return the lowest strength at which one of ``steps`` runs: ``int(steps * strength) == 1``.

    That is 1 / steps, or the next float above where rounding loses the step, as for 49.

    >>> int(49 * (1 / 49)), int(49 * min_strength(49))
    (0, 1)
    """
    strength = 1 / steps
    while int(steps * strength) < 1:
        strength = math.nextafter(strength, 2)
    return strength


def need_diffusion(backend: Backend, what: str) -> DiffusionBackend:
    """Return the backend, if it runs a diffusion model, as ``what`` needs; raises ConfigError."""
    if not isinstance(backend, DiffusionBackend):
        raise ConfigError(f"{what} needs a diffusion backend, e.g. backend=embedded")
    return backend
