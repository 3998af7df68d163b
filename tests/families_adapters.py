"""Tiny LoRAs and IP-Adapters of the checkpoints of families.py, in their published formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.families_parts import seeded

IMAGE_WIDTH = 16  # of the tiny image encoder
IMAGE_TOKENS = 4  # an image is that many words to the UNet


def save_tiny_lora(base: Path, folder: Path) -> Path:
    """Save a LoRA of the denoiser's attention that changes what it paints; return its file."""
    part, denoiser = _load_denoiser(base)
    projections = ["to_q", "to_k", "to_v", "to_out.0"]
    with seeded(7):
        denoiser.add_adapter(
            LoraConfig(
                r=4, lora_alpha=16, init_lora_weights=False, target_modules=projections
            )  # not initialised: its own start is zero, which changes nothing
        )
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(denoiser))
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    pipeline = getattr(diffusers, index["_class_name"])
    pipeline.save_lora_weights(folder, **{f"{part}_lora_layers": layers})
    return folder / "pytorch_lora_weights.safetensors"


def _load_denoiser(base: Path) -> tuple[str, Any]:
    part = "unet" if (base / "unet").is_dir() else "transformer"
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    kind = getattr(diffusers, index[part][1])
    return part, kind.from_pretrained(base / part, local_files_only=True)


def save_tiny_ip_adapter(base: Path, folder: Path) -> Path:
    """Save an IP-Adapter of a Stable Diffusion 1.5 or SDXL base, as its hub folder is.

    Returns ``folder``: ``load_ip_adapter(folder, subfolder=, weight_name=)`` reads
    ``models/ip-adapter_sd15.safetensors`` or ``sdxl_models/ip-adapter_sdxl.safetensors`` and the
    ``image_encoder`` beside it.
    """
    is_xl = (base / "text_encoder_2").is_dir()
    place = folder / ("sdxl_models" if is_xl else "models")
    with seeded(8):
        encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=IMAGE_WIDTH,
                intermediate_size=IMAGE_WIDTH,
                projection_dim=IMAGE_WIDTH,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=32,
                patch_size=8,
            )
        )
        weights = _ip_adapter_weights(_load_denoiser(base)[1])
    encoder.save_pretrained(place / "image_encoder")
    save_file(weights, place / f"ip-adapter_{'sdxl' if is_xl else 'sd15'}.safetensors")
    return folder


def _ip_adapter_weights(unet: Any) -> dict[str, torch.Tensor]:
    """Return its projection and, per cross attention, keys and values of the image's words.

    Cross attentions have the odd numbers, in the order of the UNet's attention processors.
    """
    width = unet.config.cross_attention_dim
    weights = {
        "image_proj.proj.weight": torch.randn(IMAGE_TOKENS * width, IMAGE_WIDTH),
        "image_proj.proj.bias": torch.zeros(IMAGE_TOKENS * width),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    crossing = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(crossing):
        hidden = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for kind in ("to_k_ip", "to_v_ip"):
            weights[f"ip_adapter.{2 * number + 1}.{kind}.weight"] = torch.randn(hidden, width)
    return weights
