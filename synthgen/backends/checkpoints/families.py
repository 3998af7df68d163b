"""A table of model families: which pipelines of diffusers run them, and how those are called.

Nothing else in synthgen asks for a family by name. A new family is a new row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from synthgen.errors import ConfigError, ModelError

__all__ = ["FAMILIES", "Call", "Family", "find_call", "find_family"]

DIFFUSERS = "diffusers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One pipeline of diffusers, and the names of its arguments; '' for what it does not take."""

    pipeline: str  # class name
    image: str = "image"  # what denoising starts from, and what surrounds the mask
    source: str = ""  # the image without a defect, where that is an argument of its own
    mask: str = "mask_image"  # white = repaint
    control: str = ""
    scale: str = ""
    start: str = ""
    end: str = ""
    mode: str = ""  # which kind of control an image is, for ControlNets that take several
    strength: str = "strength"
    guidance: str = "guidance_scale"
    signed: tuple[str, ...] = ()  # arguments that are given in -1..1; the others in 0..1
    max_controlnets: int = 8
    is_alone: bool = False  # one image a call: images of a batch would change one another
    is_alone_with_mode: bool = False  # one image a call where ControlNets are told their kind
    lists_one: bool = False  # one ControlNet for several images comes as a list of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that are built alike.

    ``controlled`` and ``varied`` (a whole image from another one, by ControlNet) by the class of
    ControlNet. ``guidance`` to ``dtype`` are what its makers recommend, or suits it: what settings
    that are None come to.
    """

    name: str
    title: str
    bases: tuple[str, ...]  # classes that model_index.json may name
    inpaint: Call | None  # by words and mask alone
    controlled: Mapping[str, Call] = field(default_factory=dict)
    varied: Mapping[str, Call] = field(default_factory=dict)
    module: str = DIFFUSERS
    denoiser: str = "transformer"
    cell_px: int = 8  # pixels a side of a mask cell
    size_multiple: int = 16  # both sides of what it paints
    texts: tuple[str, ...] = ()  # what encode_prompt returns, by argument; () = texts are passed
    is_guided_by_negative: bool = True  # guidance runs the model twice; else it is told a number
    unguided: float = 1.0  # up to this guidance it runs once
    guidance: float = 5.0
    strength: float = 0.85
    control_scale: float = 1.0
    steps: int = 30
    context_px: int = 32  # surface that is seen around a defect
    feather_px: float = 2
    is_native: bool = (
        False  # crops are painted at their own pixels, as it was trained at many sizes
    )
    dtype: str = "auto"
    must_agree: tuple[str, ...] = ()  # config keys that a ControlNet shares with the denoiser
    missing: Mapping[str, Any] = field(default_factory=dict)  # config keys that published ones lack
    weighted_by: str = ""  # compel's class for its weighted prompts; '' = it takes none
    reads_long_prompts: bool = False  # with weights; compel reads a long prompt in pieces
    max_tokens: Mapping[str, int] = field(default_factory=dict)  # by tokenizer, where fewer
    adapts: Literal["all", "low_ranks", ""] = ""  # which weights synthgen adapt teaches; '' = none


def _controlled(pipeline: str, **names: Any) -> Call:
    """Return the call of a pipeline with ControlNet, whose names are mostly the same."""
    shared = {
        "control": "control_image",
        "scale": "controlnet_conditioning_scale",
        "start": "control_guidance_start",
        "end": "control_guidance_end",
    }
    return Call(pipeline=pipeline, **{**shared, **names})


def _texts(*names: str) -> tuple[str, ...]:
    """Return names in the order in which encode_prompt gives them: each and its negative."""
    return tuple(part for name in names for part in (name, f"negative_{name}"))


UNET: dict[str, Any] = {
    "denoiser": "unet",
    "size_multiple": 8,
    "must_agree": ("cross_attention_dim", "block_out_channels"),
    "reads_long_prompts": True,
    "adapts": "low_ranks",
}
# ControlNets that read the image and the mask; there is no other control image. Their autoencoder
# draws noise from torch's global generator, so that an image would depend on those before it.
INPAINTING: dict[str, Any] = {
    "image": "control_image",
    "mask": "control_mask",
    "control": "",
    "strength": "",
    "signed": ("control_image",),
    "max_controlnets": 1,
    "is_alone": True,
}
# The attention of ControlNetUnionModel (diffusers 0.42.1) runs over the images of a batch.
UNION: dict[str, Any] = {"mode": "control_mode", "is_alone": True}
FLUX: dict[str, Any] = {
    "mode": "control_mode",
    "signed": ("control_image",),
    "is_alone_with_mode": True,
    "lists_one": True,
}

FAMILIES: tuple[Family, ...] = (
    Family(
        name="embedded",
        title="the embedded model",
        bases=("PatchControlNetInpaintPipeline",),
        inpaint=None,
        controlled={
            "ControlNetModel": _controlled(
                "PatchControlNetInpaintPipeline", image="init_image", source="image"
            )
        },
        module="synthgen.backends.diffusion.patch_inpaint",
        denoiser="unet",
        cell_px=1,
        texts=_texts("prompt_embeds"),
        guidance=1.0,
        strength=0.5,
        steps=4,
        context_px=16,
        feather_px=4,
        is_native=True,
        dtype="float32",
        weighted_by="CompelForSD",  # and no long ones: it has learned from short ones only
        adapts="all",
    ),
    Family(
        name="sd",
        title="Stable Diffusion 1.5 and 2",
        bases=(
            "StableDiffusionPipeline",
            "StableDiffusionInpaintPipeline",
            "StableDiffusionControlNetPipeline",
            "StableDiffusionControlNetInpaintPipeline",
        ),
        inpaint=Call(pipeline="StableDiffusionInpaintPipeline"),
        controlled={"ControlNetModel": _controlled("StableDiffusionControlNetInpaintPipeline")},
        varied={
            "ControlNetModel": _controlled("StableDiffusionControlNetImg2ImgPipeline", mask="")
        },
        texts=_texts("prompt_embeds"),
        guidance=7.5,
        weighted_by="CompelForSD",
        **UNET,
    ),
    Family(
        name="sdxl",
        title="Stable Diffusion XL",
        bases=(
            "StableDiffusionXLPipeline",
            "StableDiffusionXLInpaintPipeline",
            "StableDiffusionXLControlNetPipeline",
            "StableDiffusionXLControlNetInpaintPipeline",
            "StableDiffusionXLControlNetUnionPipeline",
            "StableDiffusionXLControlNetUnionInpaintPipeline",
        ),
        inpaint=Call(pipeline="StableDiffusionXLInpaintPipeline"),
        controlled={
            "ControlNetModel": _controlled("StableDiffusionXLControlNetInpaintPipeline"),
            "ControlNetUnionModel": _controlled(
                "StableDiffusionXLControlNetUnionInpaintPipeline", **UNION
            ),
        },
        varied={
            "ControlNetModel": _controlled("StableDiffusionXLControlNetImg2ImgPipeline", mask=""),
            "ControlNetUnionModel": _controlled(
                "StableDiffusionXLControlNetUnionImg2ImgPipeline", mask="", **UNION
            ),
        },
        texts=_texts("prompt_embeds", "pooled_prompt_embeds"),
        weighted_by="CompelForSDXL",
        **UNET,
    ),
    Family(
        name="sd3",
        title="Stable Diffusion 3",
        bases=("StableDiffusion3Pipeline", "StableDiffusion3InpaintPipeline"),
        inpaint=Call(pipeline="StableDiffusion3InpaintPipeline"),
        controlled={
            "SD3ControlNetModel": _controlled(
                "StableDiffusion3ControlNetInpaintingPipeline", **INPAINTING
            )
        },
        texts=_texts("prompt_embeds", "pooled_prompt_embeds"),
        guidance=7.0,
        must_agree=("joint_attention_dim",),
        max_tokens={"tokenizer_3": 256},
    ),
    Family(
        name="flux",
        title="FLUX.1",
        bases=("FluxPipeline", "FluxInpaintPipeline", "FluxControlNetPipeline"),
        inpaint=Call(pipeline="FluxInpaintPipeline"),
        controlled={"FluxControlNetModel": _controlled("FluxControlNetInpaintPipeline", **FLUX)},
        varied={
            "FluxControlNetModel": _controlled("FluxControlNetImg2ImgPipeline", mask="", **FLUX)
        },
        texts=("prompt_embeds", "pooled_prompt_embeds", ""),
        is_guided_by_negative=False,
        guidance=3.5,
        control_scale=0.7,
        must_agree=("joint_attention_dim",),
        weighted_by="CompelForFlux",
    ),
    Family(
        name="flux_fill",
        title="FLUX.1 Fill",
        bases=("FluxFillPipeline",),
        inpaint=Call(pipeline="FluxFillPipeline"),
        texts=("prompt_embeds", "pooled_prompt_embeds", ""),
        is_guided_by_negative=False,
        guidance=30.0,
        strength=1.0,
        weighted_by="CompelForFlux",
    ),
    Family(
        name="qwen_image",
        title="Qwen-Image",
        bases=("QwenImagePipeline", "QwenImageInpaintPipeline"),
        inpaint=Call(pipeline="QwenImageInpaintPipeline", guidance="true_cfg_scale"),
        controlled={
            "QwenImageControlNetModel": _controlled(
                "QwenImageControlNetInpaintPipeline",
                guidance="true_cfg_scale",
                **INPAINTING,
            )
        },
        guidance=4.0,
        must_agree=("joint_attention_dim",),
    ),
    Family(
        name="z_image",
        title="Z-Image",
        bases=("ZImagePipeline", "ZImageInpaintPipeline"),
        inpaint=Call(pipeline="ZImageInpaintPipeline"),
        controlled={
            "ZImageControlNetModel": _controlled(
                "ZImageControlNetInpaintPipeline",
                strength="",
                start="",
                end="",
                signed=("image", "control_image"),
                max_controlnets=1,
            )
        },
        unguided=0.0,
        control_scale=0.75,
    ),
    Family(
        name="flux2_klein",
        title="FLUX.2 klein",
        bases=("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"),
        inpaint=Call(pipeline="Flux2KleinInpaintPipeline"),
        texts=("prompt_embeds", ""),
        cell_px=16,
        is_guided_by_negative=False,
        guidance=4.0,
    ),
    Family(
        name="chroma",
        title="Chroma",
        bases=("ChromaPipeline", "ChromaInpaintPipeline"),
        inpaint=Call(pipeline="ChromaInpaintPipeline"),
        texts=(
            *("prompt_embeds", "", "prompt_attention_mask"),
            *("negative_prompt_embeds", "", "negative_prompt_attention_mask"),
        ),
        missing={"guidance_embeds": False},
    ),
)
BY_BASE = {base: family for family in FAMILIES for base in family.bases}


def find_family(class_name: str, folder: Path) -> Family:
    """Return the family of a checkpoint by its pipeline's class; raises ModelError for others.

    ``folder``: the checkpoint's, for the error.
    """
    if class_name not in BY_BASE:
        titles = ", ".join(family.title for family in FAMILIES)
        raise ModelError(
            f"the checkpoint in {folder} is a {class_name}, which synthgen does not run; "
            f"it runs {titles}"
        )
    return BY_BASE[class_name]


def find_call(family: Family, controlnet: str | None, is_varied: bool) -> Call:
    """Return how a family is called with a class of ControlNet, None = without.

    ``is_varied``: for whole images. Raises ConfigError where it has no such pipeline.
    """
    calls = family.varied if is_varied else family.controlled
    if controlnet is None:
        if is_varied or family.inpaint is None:
            raise ConfigError(
                f"{family.title} needs a ControlNet for this; give one in backend.model.controlnets"
            )
        return family.inpaint
    if controlnet in calls:
        return calls[controlnet]
    if is_varied and controlnet in family.controlled:
        raise ConfigError(f"diffusers has no pipeline for it with {family.title}")
    takes = " or ".join(family.controlled) or "none"
    raise ConfigError(
        f"backend.model.controlnets: {family.title} takes {takes} as ControlNet, not a {controlnet}"
    )
