"""A table of pipeline classes: what they are called with, and what their masks are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synthgen.errors import ModelError

__all__ = ["FAMILIES", "Family", "find_family"]


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


def find_family(class_name: str, folder: Path) -> Family:
    """Return the family of a checkpoint; raises ModelError for a class that is in none."""
    if class_name not in FAMILIES:
        raise ModelError(
            f"the checkpoint in {folder} is a {class_name}; "
            f"this backend runs {' and '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[class_name]
