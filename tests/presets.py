"""The published configurations at full width, with less depth and few words, weights random.

They show that what runs with the tiny models of families.py runs with the real class graph and the
real widths. Numbers are those of the ``config.json`` of each part on the hub; the repository is
named beside them, and what is smaller here is marked "less".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3InpaintPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from synthgen.backends.diffusion.loading import best_precision
from tests.families_parts import clip_tokenizer, seeded, t5_tokenizer

__all__ = ["PRESETS"]

# emulated, bfloat16 takes many times as long
DTYPE = torch.bfloat16 if best_precision() == "bf16" else torch.float32
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@torch.no_grad()
def filled(build: Callable[[], Any]) -> Any:
    """Return a model with random weights at the speed of copying: a few numbers, repeated.

    It is built without memory first, as drawing so many numbers would take most of the time.
    """
    with torch.device("meta"):
        model = build()
    model = model.to(DTYPE).to_empty(device="cpu")
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(DTYPE)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.ndim == 1 and name.endswith("weight"):  # the scale of a norm
            tensor.fill_(1)
            continue
        flat = tensor.view(-1)
        for start in range(0, flat.numel(), noise.numel()):
            piece = flat[start : start + noise.numel()]
            piece.copy_(noise[: piece.numel()])
    return model.eval()


def clip_l(with_projection: bool = False) -> Any:
    """openai/clip-vit-large-patch14, the text half: less are its layers (12) and words (49408)."""
    kind = CLIPTextModelWithProjection if with_projection else CLIPTextModel
    return _clip(kind, 768, 3072, 12, "quick_gelu")


def clip_g() -> Any:
    """The second of SDXL and SD 3 (OpenCLIP bigG): less are its layers (32) and words (49408)."""
    return _clip(CLIPTextModelWithProjection, 1280, 5120, 20, "gelu")


def _clip(kind: Any, width: int, inner: int, heads: int, activation: str) -> Any:
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=inner,
        projection_dim=width,
        num_hidden_layers=2,  # less; 2, as SDXL and SD 3 read the last but one
        num_attention_heads=heads,
        hidden_act=activation,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with seeded():
        return kind(config).to(DTYPE).eval()


def t5_xxl() -> T5EncoderModel:
    """google/t5-v1_1-xxl, the encoder: less are its layers (24) and words (32128)."""
    config = T5Config(
        vocab_size=len(t5_tokenizer()),
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=1,  # less
        num_heads=64,
        feed_forward_proj="gated-gelu",
    )
    return filled(lambda: T5EncoderModel(config))


def autoencoder(**settings: Any) -> AutoencoderKL:
    """The VAE that all of these share in shape; less are its layers_per_block (2)."""
    return filled(
        lambda: AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,  # less
            norm_num_groups=32,
            **settings,
        )
    )


def build_sd15() -> StableDiffusionControlNetInpaintPipeline:
    """stable-diffusion-v1-5/stable-diffusion-v1-5 and lllyasviel/control_v11p_sd15_canny."""

    def unet() -> UNet2DConditionModel:
        return UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            layers_per_block=1,  # less: 2
            cross_attention_dim=768,
            attention_head_dim=8,
        )

    return StableDiffusionControlNetInpaintPipeline(
        vae=autoencoder(latent_channels=4, sample_size=512, scaling_factor=0.18215),
        text_encoder=clip_l(),
        tokenizer=clip_tokenizer(),
        unet=filled(unet),
        controlnet=filled(lambda: ControlNetModel.from_unet(unet())),
        scheduler=DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_sdxl() -> StableDiffusionXLControlNetInpaintPipeline:
    """stabilityai/stable-diffusion-xl-base-1.0 and diffusers/controlnet-canny-sdxl-1.0."""

    def unet() -> UNet2DConditionModel:
        return UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,  # less: 2
            transformer_layers_per_block=(1, 1, 1),  # less: 1, 2, 10
            cross_attention_dim=2048,
            attention_head_dim=(5, 10, 20),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )

    return StableDiffusionXLControlNetInpaintPipeline(
        vae=autoencoder(latent_channels=4, sample_size=1024, scaling_factor=0.13025),
        text_encoder=clip_l(),
        text_encoder_2=clip_g(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=filled(unet),
        controlnet=filled(lambda: ControlNetModel.from_unet(unet())),
        scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", steps_offset=1),
    )


def build_sd35_medium() -> StableDiffusion3InpaintPipeline:
    """stabilityai/stable-diffusion-3.5-medium."""
    return _build_sd35(24, 384, dual_attention_layers=(0,))  # less: layers 0 to 12 of 24


def build_sd35_large() -> StableDiffusion3InpaintPipeline:
    """stabilityai/stable-diffusion-3.5-large."""
    return _build_sd35(38, 192)


def _build_sd35(heads: int, positions: int, **settings: Any) -> StableDiffusion3InpaintPipeline:
    def transformer() -> SD3Transformer2DModel:
        return SD3Transformer2DModel(
            sample_size=128,
            in_channels=16,
            num_layers=2,  # less: 24 and 38
            attention_head_dim=64,
            num_attention_heads=heads,
            joint_attention_dim=4096,
            caption_projection_dim=64 * heads,
            pooled_projection_dim=2048,
            pos_embed_max_size=positions,
            qk_norm="rms_norm",
            **settings,
        )

    return StableDiffusion3InpaintPipeline(
        transformer=filled(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_shifted_autoencoder(1.5305, 0.0609),
        text_encoder=clip_l(with_projection=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_g(),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_xxl(),
        tokenizer_3=t5_tokenizer(),
    )


def build_flux_fill() -> FluxFillPipeline:
    """black-forest-labs/FLUX.1-Fill-dev."""

    def transformer() -> FluxTransformer2DModel:
        return FluxTransformer2DModel(
            in_channels=384,
            out_channels=64,
            num_layers=1,  # less: 19
            num_single_layers=1,  # less: 38
            attention_head_dim=128,
            num_attention_heads=24,
            joint_attention_dim=4096,
            pooled_projection_dim=768,
            guidance_embeds=True,
            axes_dims_rope=(16, 56, 56),
        )

    return FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_shifted_autoencoder(0.3611, 0.1159),
        text_encoder=clip_l(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_xxl(),
        tokenizer_2=t5_tokenizer(),
        transformer=filled(transformer),
    )


def _shifted_autoencoder(scaling: float, shift: float) -> AutoencoderKL:
    return autoencoder(
        latent_channels=16,
        sample_size=1024,
        scaling_factor=scaling,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


PRESETS: dict[str, Callable[[], Any]] = {
    "sd15": build_sd15,
    "sdxl": build_sdxl,
    "sd35_medium": build_sd35_medium,
    "sd35_large": build_sd35_large,
    "flux_fill": build_flux_fill,
}
