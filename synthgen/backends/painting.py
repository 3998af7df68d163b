"""Runs a loaded pipeline on crops of one size, as many at once as the memory takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.backends.crops import CropJob, take
from synthgen.errors import ConfigError, ModelError
from synthgen.seeds import stream, torch_seed_for

__all__ = ["Painter"]

PROMPTS_KEPT = 256  # text states; 0.2 MB each for Stable Diffusion 1.5
NO_MEMORY = (
    *("DefaultCPUAllocator", "ALLOC_FAILED", "bad_alloc", "out of memory"),
    *("could not create a primitive", "could not execute a primitive"),  # so says oneDNN
)


class Painter:
    """One pipeline and what it keeps between calls: text states, and how many crops fitted.

    ``most`` crops go through in one call. Where they do not fit into memory, half as many do, for
    that size of crop from then on. Neither changes what is painted.
    """

    def __init__(self, pipeline: Any, takes_init_image: bool, most: int) -> None:
        self.pipeline, self.takes_init_image, self.most = pipeline, takes_init_image, most
        self.device = pipeline.device  # once: diffusers looks through every part for it
        self.fits: dict[int, int] = {}  # side of the crops -> how many at once
        self._encode: Callable[[str], Any] = lru_cache(PROMPTS_KEPT)(self._encode_text)

    def paint(
        self, jobs: Sequence[CropJob], init: str, options: Mapping[str, Any]
    ) -> list[NDArray[np.uint8]]:
        """Return the painted crops (side_px, side_px, 3) of jobs of one size, in order.

        ``options`` are arguments of the pipeline. Raises ModelError where not even one crop fits.
        """
        done: list[NDArray[np.uint8]] = []
        side = jobs[0].side_px
        while len(done) < len(jobs):
            some = jobs[len(done) : len(done) + self.fits.get(side, self.most)]
            painted = self._try(some, init, options)
            if painted is None:
                self._halve(some)
            else:
                done += painted
        return done

    def _try(
        self, jobs: Sequence[CropJob], init: str, options: Mapping[str, Any]
    ) -> list[NDArray[np.uint8]] | None:
        """Return the painted crops, None where memory ran out."""
        import torch

        try:
            return self._run(jobs, init, options)
        except (RuntimeError, MemoryError) as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise ConfigError(
                    f"backend.compile=true, but the model does not compile here "
                    f"({str(error).splitlines()[0]}); set backend.compile=false"
                ) from error
            if not _is_out_of_memory(error):
                raise
        if torch.cuda.is_available():  # here the error, which holds the tensors, is gone
            torch.cuda.empty_cache()
        return None

    def _halve(self, jobs: Sequence[CropJob]) -> None:
        side = jobs[0].side_px
        if len(jobs) == 1:
            raise ModelError(
                f"one crop of {side} x {side} px, of sample {jobs[0].condition.spec.sample_id!r}, "
                "does not fit into the memory that is free; lower backend.most_crop_px (or "
                "backend.resolution_px), run.batch_size, or set backend.dtype=bfloat16"
            )
        self.fits[side] = len(jobs) // 2

    def _run(
        self, jobs: Sequence[CropJob], init: str, options: Mapping[str, Any]
    ) -> list[NDArray[np.uint8]]:
        import torch

        painted = self.pipeline(
            **self._pictures(jobs, init),
            **self._texts(jobs, options["guidance_scale"] > 1),
            **options,
            generator=[torch.Generator("cpu").manual_seed(_noise_seed(job)) for job in jobs],
            output_type="pt",
        ).images
        if not torch.isfinite(painted).all():
            raise ModelError(
                f"{type(self.pipeline).__name__} painted values that are not numbers for sample "
                f"{jobs[0].condition.spec.sample_id!r}; try backend.dtype=float32"
            )
        levels = (painted.float() * 255).round().to(torch.uint8)
        return list(levels.permute(0, 2, 3, 1).cpu().numpy())

    def _pictures(self, jobs: Sequence[CropJob], init: str) -> dict[str, Any]:
        conditions = [job.condition for job in jobs]
        start = source = self._stack([c.image for c in conditions], jobs, cv2.INTER_AREA) / 255
        if init == "sketch":
            start = self._stack([c.sketch for c in conditions], jobs, cv2.INTER_AREA) / 255
        edges = self._stack([c.control_image for c in conditions], jobs, cv2.INTER_NEAREST) / 255
        mask = self._stack([job.mask.view(np.uint8) for job in jobs], jobs, cv2.INTER_NEAREST)
        inputs = {"mask_image": mask, "control_image": edges}
        if self.takes_init_image:
            return inputs | {"image": source, "init_image": start}
        return inputs | {"image": start}

    def _stack(self, arrays: Sequence[NDArray[np.uint8]], jobs: Sequence[CropJob], how: int) -> Any:
        """Return the crops as a float tensor (B, C, side, side) of their levels, on the device."""
        import torch

        crops = [take(array, job, how) for array, job in zip(arrays, jobs, strict=True)]
        levels = torch.from_numpy(np.stack([np.atleast_3d(crop) for crop in crops]))
        return levels.to(self.device).permute(0, 3, 1, 2).float().contiguous()

    def _texts(self, jobs: Sequence[CropJob], is_guided: bool) -> dict[str, Any]:
        import torch

        specs = [job.condition.spec for job in jobs]
        texts = {"prompt_embeds": torch.cat([self._encode(s.prompt) for s in specs])}
        if is_guided:
            negative = torch.cat([self._encode(s.negative_prompt) for s in specs])
            texts["negative_prompt_embeds"] = negative
        return texts

    def _encode_text(self, text: str) -> Any:
        import torch

        with torch.no_grad():
            return self.pipeline.encode_prompt([text], self.device, 1, False)[0]


def _noise_seed(job: CropJob) -> int:
    return int(stream(torch_seed_for(job.condition.spec), "crop", job.number).integers(2**63 - 1))


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    is_typed = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return is_typed or any(words in str(error) for words in NO_MEMORY)
