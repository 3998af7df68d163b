"""Tiny checkpoints of the families whose denoiser is a transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    ChromaPipeline,
    ChromaTransformer2DModel,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxControlNetModel,
    FluxFillPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImageControlNetModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImageControlNetModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from tests.families_parts import (
    WIDTH,
    TinyModel,
    clip_text,
    clip_tokenizer,
    flow_scheduler,
    qwen3_config,
    qwen_sizes,
    qwen_tokenizer,
    save_controlnets,
    seeded,
    still,
    t5_text,
    t5_tokenizer,
    vae,
)

LATENTS = 16  # channels of the VAE of all but FLUX.2
PACKED = 4 * LATENTS  # 2 x 2 latents are one token
HEADS = {"num_attention_heads": 2, "attention_head_dim": 16}
ROPE = (4, 6, 6)  # its sum is attention_head_dim
UNION_MODES = 10  # kinds of control, of the published FLUX.1 union ControlNet
SHIFTED = {"use_dynamic_shifting": True, "shift": 3.0}


def save_sd3(folder: Path) -> TinyModel:
    """SD 3; its inpainting ControlNet reads the masked image's latents and the mask."""
    with seeded():
        tokenizer, pieces = clip_tokenizer(), t5_tokenizer()
        sizes = {
            **HEADS,
            "sample_size": 16,
            "in_channels": LATENTS,
            "num_layers": 2,
            "joint_attention_dim": 2 * WIDTH,
            "caption_projection_dim": 32,
            "pooled_projection_dim": 2 * WIDTH,
            "pos_embed_max_size": 16,
        }
        pipeline = StableDiffusion3Pipeline(
            transformer=SD3Transformer2DModel(**sizes),
            scheduler=flow_scheduler(shift=3.0),
            vae=_shifted_vae(1.5305, 0.0609),
            text_encoder=clip_text(tokenizer, with_projection=True),
            tokenizer=tokenizer,
            text_encoder_2=clip_text(tokenizer, with_projection=True),
            tokenizer_2=clip_tokenizer(),
            text_encoder_3=t5_text(pieces, 2 * WIDTH),
            tokenizer_3=pieces,
        )
        inpaint = SD3ControlNetModel(**sizes, extra_conditioning_channels=1)
    pipeline.save_pretrained(folder / "base")
    return TinyModel(folder / "base", save_controlnets(folder, inpaint=inpaint), 64)


def save_flux(folder: Path) -> TinyModel:
    """FLUX.1 with plain ControlNets and with a union one."""
    with seeded():
        pipeline = FluxPipeline(
            **_flux_parts(), transformer=FluxTransformer2DModel(**_flux_sizes(), in_channels=PACKED)
        )
        plain = {"canny": None, "depth": None, "union": UNION_MODES}
        controlnets = {
            name: FluxControlNetModel(**_flux_sizes(), in_channels=PACKED, num_mode=modes)
            for name, modes in plain.items()
        }
    pipeline.save_pretrained(folder / "base")
    return TinyModel(folder / "base", save_controlnets(folder, **controlnets), 64)


def save_flux_fill(folder: Path) -> TinyModel:
    """FLUX.1 Fill: latents, masked latents and the mask of 8 x 8 px a latent, as channels."""
    with seeded():
        transformer = FluxTransformer2DModel(
            **_flux_sizes(), in_channels=2 * PACKED + 4 * 8 * 8, out_channels=PACKED
        )
        pipeline = FluxFillPipeline(**_flux_parts(), transformer=transformer)
    pipeline.save_pretrained(folder / "base")
    return TinyModel(folder / "base", {}, 64)


def _flux_parts() -> dict[str, Any]:
    tokenizer, pieces = clip_tokenizer(), t5_tokenizer()
    return {
        "scheduler": flow_scheduler(**SHIFTED),
        "vae": _shifted_vae(0.3611, 0.1159),
        "text_encoder": clip_text(tokenizer),
        "tokenizer": tokenizer,
        "text_encoder_2": t5_text(pieces),
        "tokenizer_2": pieces,
    }


def _flux_sizes() -> dict[str, Any]:
    return {
        **HEADS,
        "num_layers": 1,
        "num_single_layers": 1,
        "joint_attention_dim": WIDTH,
        "pooled_projection_dim": WIDTH,
        "guidance_embeds": True,
        "axes_dims_rope": ROPE,
    }


def _shifted_vae(scaling: float, shift: float) -> Any:
    return vae(
        LATENTS,
        scaling_factor=scaling,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def save_qwen_image(folder: Path) -> TinyModel:
    """Qwen-Image; its inpainting ControlNet reads the mask beside the masked image's latents."""
    with seeded():
        tokenizer = qwen_tokenizer()
        sizes = {
            **HEADS,
            "in_channels": PACKED,
            "out_channels": LATENTS,
            "num_layers": 2,
            "joint_attention_dim": WIDTH,
            "axes_dims_rope": ROPE,
        }
        pipeline = QwenImagePipeline(
            scheduler=flow_scheduler(**SHIFTED),
            vae=still(AutoencoderKLQwenImage(base_dim=8, z_dim=LATENTS, num_res_blocks=1)),
            text_encoder=_qwen_vl(tokenizer),
            tokenizer=tokenizer,
            transformer=QwenImageTransformer2DModel(**sizes),
        )
        inpaint = QwenImageControlNetModel(**sizes, extra_condition_channels=4)
    pipeline.save_pretrained(folder / "base")
    return TinyModel(folder / "base", save_controlnets(folder, inpaint=inpaint), 64)


def _qwen_vl(tokenizer: Any) -> Qwen2_5_VLForConditionalGeneration:
    text = qwen_sizes(tokenizer)
    text["rope_scaling"] = {"type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6}
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": WIDTH,
        "fullatt_block_indexes": [0],
    }
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    )


def save_z_image(folder: Path) -> TinyModel:
    """Z-Image; its ControlNet shares the transformer's first layers, which it is given on loading.

    It reads the control's latents, the mask, and the masked image's latents.
    """
    with seeded():
        tokenizer = qwen_tokenizer()
        sizes = {"dim": 32, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}
        pipeline = ZImagePipeline(
            scheduler=flow_scheduler(shift=3.0),
            vae=_shifted_vae(0.3611, 0.1159),
            text_encoder=Qwen3Model(qwen3_config(tokenizer)),
            tokenizer=tokenizer,
            transformer=ZImageTransformer2DModel(
                **sizes,
                in_channels=LATENTS,
                n_layers=2,
                cap_feat_dim=WIDTH,
                axes_dims=list(ROPE),
            ),
        )
        union = ZImageControlNetModel(
            **sizes,
            control_layers_places=[0],
            control_refiner_layers_places=[0],
            control_in_dim=2 * LATENTS + 1,
            add_control_noise_refiner="control_noise_refiner",
        )
    pipeline.save_pretrained(folder / "base")
    return TinyModel(folder / "base", save_controlnets(folder, union=union), 64)


def save_flux2_klein(folder: Path) -> TinyModel:
    """FLUX.2 klein; its text is what layers 9, 18 and 27 of Qwen 3 say, side by side."""
    with seeded():
        tokenizer = qwen_tokenizer()
        pipeline = Flux2KleinPipeline(
            scheduler=flow_scheduler(**SHIFTED),
            vae=still(
                AutoencoderKLFlux2(
                    block_out_channels=(8, 8, 16, 16),
                    layers_per_block=1,
                    latent_channels=32,
                    norm_num_groups=8,
                    sample_size=128,
                )
            ),
            text_encoder=Qwen3ForCausalLM(qwen3_config(tokenizer, layers=28)),
            tokenizer=tokenizer,
            transformer=Flux2Transformer2DModel(
                **HEADS,
                in_channels=128,
                num_layers=1,
                num_single_layers=1,
                joint_attention_dim=3 * WIDTH,
                axes_dims_rope=(4, 4, 4, 4),
                guidance_embeds=False,
            ),
            is_distilled=True,
        )
    pipeline.save_pretrained(folder / "base")
    return TinyModel(folder / "base", {}, 64)


def save_chroma(folder: Path) -> TinyModel:
    with seeded():
        pieces = t5_tokenizer()
        pipeline = ChromaPipeline(
            scheduler=flow_scheduler(),
            vae=_shifted_vae(0.3611, 0.1159),
            text_encoder=t5_text(pieces),
            tokenizer=pieces,
            transformer=ChromaTransformer2DModel(
                **HEADS,
                in_channels=PACKED,
                num_layers=1,
                num_single_layers=1,
                joint_attention_dim=WIDTH,
                axes_dims_rope=ROPE,
                approximator_hidden_dim=32,
                approximator_layers=1,
            ),
        )
    pipeline.save_pretrained(folder / "base")
    return TinyModel(folder / "base", {}, 64)
