"""A table of pipeline classes: what they are called with, and what their masks are made of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """How one diffusers pipeline is loaded and called."""

    module: str
    cell_px: int  # pixels a side of a mask cell
    size_multiple: int  # both sides of what it paints
    takes_init_image: bool  # the source and what denoising starts from are two arguments
    has_safety_checker: bool


FAMILIES: dict[str, Family] = {
    "PatchControlNetInpaintPipeline": Family("synthgen.backends.patch_inpaint", 1, 16, True, False),
    "StableDiffusionControlNetInpaintPipeline": Family("diffusers", 8, 8, False, True),
}
