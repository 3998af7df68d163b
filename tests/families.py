"""Tiny random checkpoints of every diffusers family, in the real folder format.

``TINY[name](folder)`` saves one: the base as the hub has it (``model_index.json`` names the plain
pipeline, all weights are safetensors) and its ControlNets, each in a folder of its own.
``PIPELINES[name]`` names the pipelines of diffusers that load it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.families_parts import TinyModel
from tests.families_transformer import (
    save_chroma,
    save_flux,
    save_flux2_klein,
    save_flux_fill,
    save_qwen_image,
    save_sd3,
    save_z_image,
)
from tests.families_unet import (
    save_sd15,
    save_sd15_inpaint,
    save_sdxl,
    save_sdxl_inpaint,
    save_sdxl_union,
)

__all__ = ["PIPELINES", "TINY", "TinyModel"]

TINY: dict[str, Callable[[Path], TinyModel]] = {
    "sd15": save_sd15,
    "sd15_inpaint": save_sd15_inpaint,
    "sdxl": save_sdxl,
    "sdxl_inpaint": save_sdxl_inpaint,
    "sdxl_union": save_sdxl_union,
    "sd3": save_sd3,
    "flux": save_flux,
    "flux_fill": save_flux_fill,
    "qwen_image": save_qwen_image,
    "z_image": save_z_image,
    "flux2_klein": save_flux2_klein,
    "chroma": save_chroma,
}

# Family -> pipeline -> the ControlNet that it takes (flux has more, see save_flux), '' for none.
PIPELINES: dict[str, dict[str, str]] = {
    "sd15": {
        "StableDiffusionInpaintPipeline": "",
        "StableDiffusionControlNetInpaintPipeline": "canny",
        "StableDiffusionControlNetImg2ImgPipeline": "canny",
    },
    "sd15_inpaint": {
        "StableDiffusionInpaintPipeline": "",
        "StableDiffusionControlNetInpaintPipeline": "canny",
    },
    "sdxl": {
        "StableDiffusionXLInpaintPipeline": "",
        "StableDiffusionXLControlNetInpaintPipeline": "canny",
        "StableDiffusionXLControlNetImg2ImgPipeline": "canny",
    },
    "sdxl_inpaint": {
        "StableDiffusionXLInpaintPipeline": "",
        "StableDiffusionXLControlNetInpaintPipeline": "canny",
    },
    "sdxl_union": {
        "StableDiffusionXLControlNetUnionInpaintPipeline": "union",
        "StableDiffusionXLControlNetUnionImg2ImgPipeline": "union",
    },
    "sd3": {
        "StableDiffusion3InpaintPipeline": "",
        "StableDiffusion3ControlNetInpaintingPipeline": "inpaint",
    },
    "flux": {
        "FluxInpaintPipeline": "",
        "FluxControlNetInpaintPipeline": "canny",
        "FluxControlNetImg2ImgPipeline": "canny",
    },
    "flux_fill": {"FluxFillPipeline": ""},
    "qwen_image": {
        "QwenImageInpaintPipeline": "",
        "QwenImageControlNetInpaintPipeline": "inpaint",
    },
    "z_image": {"ZImageInpaintPipeline": "", "ZImageControlNetInpaintPipeline": "union"},
    "flux2_klein": {"Flux2KleinInpaintPipeline": ""},
    "chroma": {"ChromaInpaintPipeline": ""},
}
