"""Tiny Stable Diffusion 1.5 and SDXL checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from tests.families_parts import (
    WIDTH,
    TinyModel,
    clip_text,
    clip_tokenizer,
    save_controlnets,
    seeded,
    vae,
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
UNION_TYPES = 6  # kinds of control, of the published union ControlNet (8 in its promax version)


def save_sd15(folder: Path) -> TinyModel:
    """A 4-channel UNet. Its safety checker blacks out everything, so that a test sees it run."""
    return _save_sd15(folder, StableDiffusionPipeline, 4)


def save_sd15_inpaint(folder: Path) -> TinyModel:
    """A 9-channel UNet (latents, mask, masked image) with ControlNets of a 4-channel one."""
    return _save_sd15(folder, StableDiffusionInpaintPipeline, 9)


def _save_sd15(folder: Path, kind: Any, channels: int) -> TinyModel:
    with seeded():
        tokenizer = clip_tokenizer()
        pipeline = kind(
            vae=vae(),
            text_encoder=clip_text(tokenizer),
            tokenizer=tokenizer,
            unet=_sd15_unet(channels),
            scheduler=PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1),
            safety_checker=_safety_checker(),
            feature_extractor=CLIPImageProcessor(
                size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
            ),
        )
        plain = _sd15_unet(4)
        controlnets = {name: ControlNetModel.from_unet(plain) for name in ("canny", "depth")}
    pipeline.save_pretrained(folder / "base")
    return TinyModel(folder / "base", save_controlnets(folder, **controlnets), 64)


def _sd15_unet(channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        norm_num_groups=8,
    )


@torch.no_grad()
def _safety_checker() -> StableDiffusionSafetyChecker:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    vision = sizes | {"num_hidden_layers": 1, "image_size": 32, "patch_size": 16}
    text = sizes | {"num_hidden_layers": 1, "vocab_size": 8, "bos_token_id": 0, "eos_token_id": 1}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config=vision, text_config=text, projection_dim=16)
    )
    checker.concept_embeds_weights.fill_(-2)  # a threshold that every likeness passes
    return checker


def save_sdxl(folder: Path) -> TinyModel:
    return _save_sdxl(folder, StableDiffusionXLPipeline, 4)


def save_sdxl_inpaint(folder: Path) -> TinyModel:
    """A 9-channel UNet with ControlNets of a 4-channel one."""
    return _save_sdxl(folder, StableDiffusionXLInpaintPipeline, 9)


def save_sdxl_union(folder: Path) -> TinyModel:
    """SDXL with one ControlNet for several kinds of control."""
    with seeded(1):
        union = _union_controlnet()
    base = _save_sdxl(folder, StableDiffusionXLPipeline, 4, names=()).base
    return TinyModel(base, save_controlnets(folder, union=union), 64)


def _save_sdxl(
    folder: Path, kind: Any, channels: int, names: tuple[str, ...] = ("canny", "depth")
) -> TinyModel:
    with seeded():
        tokenizer = clip_tokenizer()
        pipeline = kind(
            vae=vae(scaling_factor=0.13025, force_upcast=False),
            text_encoder=clip_text(tokenizer),
            text_encoder_2=clip_text(tokenizer, with_projection=True),
            tokenizer=tokenizer,
            tokenizer_2=clip_tokenizer(),
            unet=UNet2DConditionModel(**_sdxl_sizes(), in_channels=channels, out_channels=4),
            scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", steps_offset=1),
        )
        plain = UNet2DConditionModel(**_sdxl_sizes(), in_channels=4, out_channels=4)
        controlnets = {name: ControlNetModel.from_unet(plain) for name in names}
    pipeline.save_pretrained(folder / "base")
    return TinyModel(folder / "base", save_controlnets(folder, **controlnets), 64)


def _sdxl_sizes() -> dict[str, Any]:
    return {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": 1,
        "cross_attention_dim": 2 * WIDTH,  # both text encoders, side by side
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "norm_num_groups": 8,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,  # six sizes, one pooled text
    }


def _union_controlnet() -> ControlNetUnionModel:
    sizes = _sdxl_sizes()
    for key in ("sample_size", "up_block_types"):
        del sizes[key]
    return ControlNetUnionModel(
        **sizes,
        conditioning_embedding_out_channels=(16, 32, 96, 256),
        num_control_type=UNION_TYPES,
        num_trans_channel=16,
        num_trans_head=2,
        num_proj_channel=16,
    )
