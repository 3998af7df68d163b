"""Tiny random checkpoints in the real folder format."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetInpaintPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel

from synthgen.training.embedded import build_pipeline, build_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def save_tiny_stable_diffusion(folder: Path) -> Path:
    """Stable Diffusion 1.5's parts, all of them, at a millionth of the size."""
    torch.default_generator.manual_seed(0)
    tokenizer = build_tokenizer(["scratch", "metal"], 77)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8,
        sample_size=128,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    StableDiffusionControlNetInpaintPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        controlnet=_wake(ControlNetModel.from_unet(unet)),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_tiny_patch_model(folder: Path, words: Sequence[str] = ()) -> Path:
    pipeline = build_pipeline(["scratch", "metal", *words], widths=(16, 32, 32), text_width=32)
    _wake(pipeline.controlnet)
    pipeline.save_pretrained(folder)
    return folder


@torch.no_grad()
def _wake(controlnet: ControlNetModel) -> ControlNetModel:
    """An untrained ControlNet adds nothing, since its last layers are zero; fill them."""
    for number, parameter in enumerate(controlnet.parameters()):
        if not parameter.any():
            parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(number))
    return controlnet


def put_into_hub(folder: Path, cache: Path, name: str, commit: str = COMMIT) -> Path:
    """Lay a folder into a hub cache as a download does: large files as links to their SHA-256."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot, blobs = repository / "snapshots" / commit, repository / "blobs"
    blobs.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        is_large = path.suffix == ".safetensors"
        blob = blobs / (digest if is_large else digest[:40])
        shutil.copyfile(path, blob)
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot
