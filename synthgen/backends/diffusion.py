"""The diffusion backend: any model of families.py, from a local folder or the hub's cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, validate_call

from synthgen.backends.checkpoints import Checkpoint
from synthgen.backends.crops import CropJob, cut_jobs, cut_whole, paste
from synthgen.backends.families import Call, find_call
from synthgen.backends.loading import (
    Hardware,
    load_pipeline,
    pick_device,
    pick_dtype,
    set_scheduler,
    switch_pipeline,
)
from synthgen.backends.painting import Painter, Settings
from synthgen.backends.prompt_weights import encode_weighted, why_no_weights
from synthgen.backends.references import add_reference
from synthgen.backends.selection import ControlNet, Lora, Reference, select, trained_px
from synthgen.backends.texts import Texts
from synthgen.errors import ConfigError
from synthgen.imaging.matching import match_optics
from synthgen.sample import Condition
from synthgen.seeds import rng_for

__all__ = ["DiffusionBackend"]

PUSH_STRENGTH, PUSH_GUIDANCE = 0.1, 1.5  # how a retry paints stronger
VARIED = ("steps", "guidance", "strength", "init", "control_scale")


class DiffusionBackend:
    """Cuts a crop around each defect, inpaints it, and lays it back; the model loads once.

    ``steps`` and ``strength`` (0..1): ``int(steps * strength)`` denoising steps run. ``init`` says
    what they start from: the sketch, the source, or pure noise (then ``strength`` is 1).
    ``guidance`` and ``control_scale`` are guidance_scale and controlnet_conditioning_scale of
    diffusers; None, there and for ``strength``, takes what the family's makers recommend.
    ``controlnets`` have the names of the control images that they read. ``loras`` are added by
    their weights, ``adapter`` is a folder of synthgen adapt; ``reference`` is an image whose look
    an IP-Adapter passes on. ``context_px`` of surface is seen around each defect;
    ``resolution_px`` is a side that all crops are painted at, auto = that which the checkpoint was
    trained at. ``scheduler`` is a class name of diffusers, None keeps the checkpoint's.
    ``match_optics`` gives what was painted the sharpness, levels and grain of its photo.
    ``paint_batch`` is the most crops in one call of the pipeline. For the rest see ``Hardware``.
    Raises ConfigError, ModelError, before anything is loaded where it can be known.
    """

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        checkpoint: str,
        revision: str | None = None,
        offline: bool = True,
        controlnets: dict[str, ControlNet] | None = None,
        loras: dict[str, Lora] | None = None,
        reference: Reference | None = None,
        adapter: str | None = None,
        steps: int = 20,
        guidance: float | None = None,
        strength: float | None = None,
        init: str = "sketch",
        control_scale: float | None = None,
        scheduler: str | None = None,
        prompt_weights: bool = False,
        device: str = "auto",
        dtype: str = "float32",
        threads: int | None = None,
        context_px: int = 16,
        least_crop_px: int = 64,
        most_crop_px: int = 512,
        most_image_px: int = 1024,
        vary_strength: float = 0.5,
        resolution_px: int | Literal["auto"] | None = None,
        feather_px: float = 0,
        match_optics: bool = True,
        paint_batch: int = 16,
        compile: bool = False,
        vae_slicing: bool = False,
        vae_tiling: bool = False,
        offload: str | None = None,
        device_map: str | None = None,
        safety_checker: bool = False,
        name: str = "diffusion",
    ) -> None:
        self.name = name
        self.hardware = Hardware(
            device,
            dtype,
            threads,
            compile,
            vae_slicing,
            vae_tiling,
            offload,
            device_map,
            safety_checker,
        )
        self.controlnets, self.loras, self.reference = controlnets or {}, loras or {}, reference
        self.model = select(
            checkpoint, revision, offline, self.controlnets, self.loras, reference, adapter
        )
        self.family = self.model.family
        self.call = find_call(self.family, self.model.controlnet, is_varied=False)
        self._set_painting(steps, guidance, strength, init, control_scale)
        if paint_batch < 1:
            raise ConfigError(f"backend.paint_batch={paint_batch} must be 1 or more")
        if safety_checker and self.safety_checker is None:
            raise ConfigError(
                f"backend.safety_checker=true, but {self.folder} holds none; set it to false"
            )
        if prompt_weights and (reason := why_no_weights(self.family)):
            raise ConfigError(reason)
        self.scheduler, self.paint_batch = scheduler, paint_batch
        self.prompt_weights = prompt_weights
        self.context_px, self.least_crop_px = context_px, least_crop_px
        if resolution_px == "auto":
            resolution_px = trained_px(self.model.base, self.family)
        self.most_crop_px, self.resolution_px = most_crop_px, resolution_px
        self.most_image_px, self.feather_px = most_image_px, feather_px
        self.match_optics = match_optics
        self.vary_strength = vary_strength
        for key, size in (("resolution_px", resolution_px), ("most_crop_px", most_crop_px)):
            self._check_size(key, size)
        self.cell_px = self.family.cell_px
        self.reads = tuple(self.controlnets)
        self.checkpoint = self.model.describe()
        self._painters: dict[bool, Painter] = {}  # for parts of an image, for whole ones

    def _check_size(self, key: str, size_px: int | None) -> None:
        step = self.family.size_multiple
        if size_px is not None and (size_px < 64 or size_px % step):
            raise ConfigError(
                f"backend.{key}={size_px} must be 64 or more and a multiple of {step}, "
                f"which {self.family.title} needs"
            )

    def _set_painting(
        self,
        steps: int,
        guidance: float | None,
        strength: float | None,
        init: str,
        control_scale: float | None,
    ) -> None:
        family = self.family
        if init not in ("sketch", "source", "noise"):
            raise ConfigError(f"backend.init={init!r} must be sketch, source or noise")
        if not self.call.strength and strength not in (None, 1):
            raise ConfigError(
                f"backend.strength={strength:g}: {self.call.pipeline} always starts from noise; "
                "set it to null"
            )
        chosen = family.strength if strength is None else strength
        self.strength = 1.0 if init == "noise" or not self.call.strength else float(chosen)
        if not 0 < self.strength <= 1 or int(steps * self.strength) < 1:
            raise ConfigError(
                f"backend.strength={chosen:g} with backend.steps={steps} leaves no step to run; "
                "strength must lie in 0..1 and int(steps * strength) be at least 1"
            )
        self.init, self.steps = init, steps
        self.guidance = float(family.guidance if guidance is None else guidance)
        scale = family.control_scale if control_scale is None else control_scale
        self.control_scale = float(scale)

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
    def folder(self) -> Path:
        """Where the checkpoint lies."""
        return self.model.base.folder

    @property
    def reads_long_prompts(self) -> bool:
        """Whether prompts of any length are read in full."""
        return self.prompt_weights and self.family.reads_long_prompts

    @property
    def models(self) -> dict[str, Checkpoint | Path]:
        """Every checkpoint, and every file of added weights, by the key that names it."""
        model = self.model
        nets = {f"controlnets.{name}": net for name, net in model.controlnets.items()}
        loras = {f"loras.{name}": path for name, (path, _) in model.loras.items()}
        reference = {"reference": model.reference} if model.reference else {}
        adapter = {"adapter": model.adapter.weights} if model.adapter else {}
        return {"checkpoint": model.base, **nets, **loras, **reference, **adapter}

    @property
    def taught(self) -> Mapping[str, str]:
        """The classes that the adapter has learned, each with its noun; none without one."""
        return self.model.adapter.classes if self.model.adapter else {}

    @property
    def safety_checker(self) -> bool | None:
        """Whether the checkpoint's safety checker runs; None where it has none."""
        has_one = (self.folder / "safety_checker").is_dir()
        return self.hardware.safety_checker if has_one else None

    @property
    def dtype(self) -> str:
        """The type of number that the weights have, on this machine."""
        return pick_dtype(self.hardware.dtype, pick_device(self.hardware.device))

    def device_name(self) -> str:
        """Return the GPU's name, or cpu."""
        import torch

        device = pick_device(self.hardware.device)
        return torch.cuda.get_device_name(device) if device.startswith("cuda") else device

    def load(self, is_varied: bool = False) -> Painter:
        """Load the weights, once; ``paint`` does so by itself when it is first called.

        ``is_varied``: what paints whole images, from the same weights.
        """
        if is_varied not in self._painters:
            self._painters[is_varied] = self._make_varied() if is_varied else self._make_painter()
        return self._painters[is_varied]

    def _make_painter(self) -> Painter:
        pipeline = load_pipeline(self.model, self.call, self.hardware)
        if self.scheduler:
            set_scheduler(pipeline, self.scheduler)
        return self._paint_with(pipeline, self.call)

    def check_varies(self) -> None:
        """Raise ConfigError where the model cannot paint whole images."""
        find_call(self.family, self.model.controlnet, is_varied=True)
        strength, steps = self.vary_strength, self.steps
        if not 0 < strength <= 1 or int(steps * strength) < 1:
            raise ConfigError(
                f"backend.vary_strength={strength:g} with backend.steps={steps} leaves no step to "
                "run; it must lie in 0..1 and int(steps * vary_strength) be at least 1"
            )

    def _make_varied(self) -> Painter:
        call = find_call(self.family, self.model.controlnet, is_varied=True)
        return self._paint_with(
            switch_pipeline(self.load().pipeline, self.model, call, self.hardware), call
        )

    def _paint_with(self, pipeline: Any, call: Call) -> Painter:
        refer = None
        if self.reference and self.model.reference:
            refer = add_reference(pipeline, self.reference, self.model.reference)
        texts = Texts(pipeline, self.family, encode_weighted if self.prompt_weights else None)
        return Painter(pipeline, call, texts, self.paint_batch, self.reads, refer)

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        """Return one painted image per condition; crops of one size go through together."""
        images = [condition.image for condition in conditions]
        for whole in (False, True):
            for alike in self._alike(conditions, whole):
                push = alike[0].condition.spec.push
                settings = self._whole_settings(push) if whole else self._settings(push)
                crops = self.load(whole).paint(alike, settings)
                for job, crop in zip(alike, crops, strict=True):
                    feather_px = 0 if whole else self.feather_px
                    images[job.index] = paste(images[job.index], crop, job, feather_px)
        if not self.match_optics:
            return images
        return [_match(c, image) for c, image in zip(conditions, images, strict=True)]

    def _alike(self, conditions: Sequence[Condition], whole: bool) -> list[list[CropJob]]:
        """Return the crops of conditions, those together that may go through in one call."""
        step = max(32, self.family.size_multiple)
        jobs = [
            job
            for job in (
                cut_whole(conditions, self.most_image_px, step)
                if whole
                else cut_jobs(
                    conditions,
                    self.context_px,
                    self.least_crop_px,
                    self.most_crop_px,
                    step,
                    self.resolution_px,
                )
            )
            if job.condition.is_whole == whole
        ]
        jobs.sort(key=self._kind)
        return [list(group) for _, group in groupby(jobs, key=self._kind)]

    def _kind(self, job: CropJob) -> tuple[Any, ...]:
        """Return what jobs share that go through together: size, settings, length of the text."""
        spec = job.condition.spec
        if not self.prompt_weights:
            return job.size_hw, spec.push
        length = self.load().texts.length((spec.prompt, spec.negative_prompt), True)
        return job.size_hw, spec.push, length

    def _whole_settings(self, push: int) -> Settings:
        """Return how to paint a whole image; a retry stays closer to the source."""
        settings = self._settings(0)
        weaker = max(self.vary_strength - PUSH_STRENGTH * push, 1 / self.steps)
        return replace(settings, strength=weaker, init="source")

    def _settings(self, push: int) -> Settings:
        """Return how to paint; a retry may push harder."""
        nets = list(self.controlnets.values())
        scales = [self.control_scale if net.scale is None else net.scale for net in nets]
        return Settings(
            self.steps,
            self.guidance * PUSH_GUIDANCE**push,
            min(1.0, self.strength + PUSH_STRENGTH * push),
            self.init,
            tuple(scales) if nets else (self.control_scale,) * bool(self.model.controlnet),
            tuple(net.start for net in nets),
            tuple(net.end for net in nets),
            tuple(net.mode for net in nets),
        )


def _match(condition: Condition, painted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what was painted with the optics of its photo; a whole image stays as it is."""
    if condition.is_whole:
        return painted
    spec = condition.spec
    seed = int(rng_for(spec, f"grain {spec.candidate}").integers(2**31))
    return match_optics(
        condition.image,
        painted,
        condition.repaint_mask,
        condition.defect_mask,
        condition.optics,
        seed,
    )
