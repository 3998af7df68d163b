"""Runs a loaded pipeline on crops of one size, as many at once as the memory takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.backends.checkpoints.families import Call
from synthgen.backends.diffusion.crops import CropJob, take
from synthgen.backends.diffusion.texts import PromptEncoder
from synthgen.errors import ConfigError, ModelError
from synthgen.samples.seeds import seeded_torch, stream, torch_seed_for

__all__ = ["Painter", "Settings"]

NO_MEMORY = (
    *("DefaultCPUAllocator", "ALLOC_FAILED", "bad_alloc", "out of memory"),
    *("could not create a primitive", "could not execute a primitive"),  # so says oneDNN
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a call paints. ``scales``, ``starts``, ``ends``, ``modes``: one per ControlNet."""

    steps: int
    guidance: float
    strength: float
    init: str  # sketch | source | noise
    scales: tuple[float, ...] = ()
    starts: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    modes: tuple[int | None, ...] = ()


class Painter:
    """One pipeline and what it keeps between calls: text states, and how many crops fitted.

    ``most`` crops go through in one call. Where they do not fit into memory, half as many do, for
    that size of crop from then on. Neither changes what is painted. ``reads``: the names of the
    control images, one per ControlNet.
    """

    def __init__(
        self,
        pipeline: Any,
        call: Call,
        texts: PromptEncoder,
        most: int,
        reads: Sequence[str] = (),
        reference: Callable[[int, bool], dict[str, Any]] | None = None,
    ) -> None:
        self.pipeline, self.call, self.texts, self.most = pipeline, call, texts, most
        self.reads, self.reference = reads, reference
        self.device = pipeline._execution_device  # once: diffusers looks through every part for it
        self.takes_size = "height" in inspect.signature(pipeline.__call__).parameters
        self.fits: dict[tuple[int, int], int] = {}  # size of the crops -> how many at once

    def paint(self, jobs: Sequence[CropJob], settings: Settings) -> list[NDArray[np.uint8]]:
        """Return the painted crops (height, width, 3) of jobs of one size, in order.

        Raises ModelError where not even one crop fits.
        """
        done: list[NDArray[np.uint8]] = []
        height, width = size = jobs[0].size_hw
        call = self.call
        is_alone = call.is_alone or (call.is_alone_with_mode and any_mode(settings.modes))
        most = 1 if is_alone else self.most
        while len(done) < len(jobs):
            some = jobs[len(done) : len(done) + self.fits.get(size, most)]
            painted = self._try(some, settings)
            if painted is not None:
                done += painted
            elif len(some) > 1:
                self.fits[size] = len(some) // 2
            else:
                raise ModelError(
                    f"one crop of {height} x {width} px, of sample "
                    f"{some[0].condition.spec.sample_id!r}, "
                    "does not fit into the memory that is free; lower backend.crops.max_px (or "
                    "backend.crops.resolution_px), run.batch_size, or set "
                    "backend.hardware.dtype=bfloat16"
                )
        return done

    def _try(self, jobs: Sequence[CropJob], settings: Settings) -> list[NDArray[np.uint8]] | None:
        """Return the painted crops, None where memory ran out; raises ConfigError, ModelError."""
        import torch

        try:
            return self._run(jobs, settings)
        except (RuntimeError, MemoryError) as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise ConfigError(
                    f"backend.hardware.compile=true, but the model does not compile here "
                    f"({str(error).splitlines()[0]}); set backend.hardware.compile=false"
                ) from error
            is_typed = isinstance(error, (MemoryError, torch.OutOfMemoryError))
            if not is_typed and not any(words in str(error) for words in NO_MEMORY):
                raise
        if torch.cuda.is_available():  # here the error, which holds the tensors, is gone
            torch.cuda.empty_cache()
        return None

    def _run(self, jobs: Sequence[CropJob], settings: Settings) -> list[NDArray[np.uint8]]:
        """Return the painted crops of one call; raises ModelError for NaN and infinity.

        Each crop has noise of its own, drawn on the CPU, so that it is the same in any batch and on
        any device.
        """
        import torch

        specs = [job.condition.spec for job in jobs]
        seeds: list[int] = []
        for job in jobs:
            seed = torch_seed_for(job.condition.spec, job.condition.attempt)
            seeds.append(int(stream(seed, "crop", job.number).integers(2**63 - 1)))
        is_guided = self.texts.is_guided(settings.guidance)
        height, width = jobs[0].size_hw
        # some pipelines draw from torch's own generator: alone, so that its seed is the crop's
        with seeded_torch(seeds[0], self.device) if self.call.is_alone else nullcontext():
            reads = self.reference(len(jobs), is_guided) if self.reference is not None else {}
            painted = self.pipeline(
                **self._pictures(jobs, settings.init),
                **self.texts([(s.prompt, s.negative_prompt) for s in specs], is_guided),
                **self._numbers(settings),
                **({"height": height, "width": width} if self.takes_size else {}),
                **reads,
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                output_type="pt",
            ).images
        if not torch.isfinite(painted).all():
            raise ModelError(
                f"{type(self.pipeline).__name__} painted values that are not numbers for sample "
                f"{specs[0].sample_id!r}; try backend.hardware.dtype=float32"
            )
        levels = (painted.float() * 255).round().to(torch.uint8)
        return list(levels.permute(0, 2, 3, 1).cpu().numpy())

    def _pictures(self, jobs: Sequence[CropJob], init: str) -> dict[str, Any]:
        """Return images, masks and control images by the names that this pipeline gives them.

        Each is a stack (B, C, height, width) in 0..1, or -1..1 where the pipeline wants that;
        control images are a list of stacks where there are several.
        """
        call, conditions = self.call, [job.condition for job in jobs]
        start = [c.sketch if init == "sketch" else c.image for c in conditions]
        pictures = {call.image: self._stack(start, jobs, cv2.INTER_AREA) / 255}
        if call.source:
            source = [c.image for c in conditions]
            pictures[call.source] = self._stack(source, jobs, cv2.INTER_AREA) / 255
        if call.mask:
            masks = [job.mask.view(np.uint8) for job in jobs]
            pictures[call.mask] = self._stack(masks, jobs, cv2.INTER_NEAREST)
        if call.control:
            names = self.reads or tuple(conditions[0].controls)[:1]
            controls = [
                self._stack([c.controls[name] for c in conditions], jobs, cv2.INTER_NEAREST) / 255
                for name in names
            ]
            pictures[call.control] = controls[0] if len(controls) == 1 else controls
        return {
            name: _to_signed(value) if name in call.signed else value
            for name, value in pictures.items()
        }

    def _numbers(self, settings: Settings) -> dict[str, Any]:
        """Return the numbers by the names that this pipeline gives them."""
        call = self.call
        numbers: dict[str, Any] = {
            "num_inference_steps": settings.steps,
            call.guidance: settings.guidance,
            call.strength: settings.strength,
        }
        for name, values in (
            (call.scale, settings.scales),
            (call.start, settings.starts),
            (call.end, settings.ends),
        ):
            if values:
                numbers[name] = values[0] if len(values) == 1 else list(values)
        if len(settings.modes) > 1 or any_mode(settings.modes):
            numbers[call.mode] = list(settings.modes)
        return {name: value for name, value in numbers.items() if name}

    def _stack(self, arrays: Sequence[NDArray[np.uint8]], jobs: Sequence[CropJob], how: int) -> Any:
        """Return the crops' levels as floats (B, C, height, width) on the device."""
        import torch

        crops = [take(array, job, how) for array, job in zip(arrays, jobs, strict=True)]
        levels = torch.from_numpy(np.stack([np.atleast_3d(crop) for crop in crops]))
        return levels.to(self.device).permute(0, 3, 1, 2).float().contiguous()


def any_mode(modes: Sequence[int | None]) -> bool:
    """Say whether a ControlNet is told which kind of image it is given."""
    return any(mode is not None for mode in modes)


def _to_signed(pictures: Any) -> Any:
    """Return pictures of 0..1 in -1..1."""
    if isinstance(pictures, list):
        return [_to_signed(picture) for picture in pictures]
    return pictures * 2 - 1
