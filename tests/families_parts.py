"""Tiny parts that the families of families.py share: tokenizers, text encoders, VAEs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from synthgen.training.embedded import build_tokenizer

WIDTH = 32  # of every text encoder
WORDS = ("scratch", "metal", "stain")
# What the pipelines ask of a chat template: turns between these marks, and who speaks next.
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class TinyModel:
    """A saved checkpoint, its ControlNets by name, and the side of the images to try it with."""

    base: Path
    controlnets: dict[str, Path]
    side_px: int


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Draw weights from ``seed``; torch's own generator is as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@torch.no_grad()
def wake(model: Any, seed: int) -> Any:
    """Fill the weights that a model starts at zero: an untrained ControlNet adds nothing.

    The layers that read a control image start again: untrained, they answer every image alike.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        is_reader = "cond_embedding" in name
        if is_reader and parameter.ndim == 1:
            parameter.zero_()
        elif is_reader:
            parameter.normal_(0, 2 / parameter[0].numel() ** 0.5, generator=generator)
        elif parameter.ndim > 1 and not parameter.any():
            parameter.normal_(0, 0.2, generator=generator)
    return model


def save_controlnets(folder: Path, **models: Any) -> dict[str, Path]:
    """Save woken ControlNets, each in a folder of its name."""
    paths = {}
    for seed, (name, model) in enumerate(models.items(), start=1):
        paths[name] = folder / f"controlnet-{name}"
        wake(model, seed).save_pretrained(paths[name])
    return paths


def clip_tokenizer() -> CLIPTokenizer:
    return build_tokenizer(WORDS, 77)


def clip_text(tokenizer: CLIPTokenizer, with_projection: bool = False) -> Any:
    kind = CLIPTextModelWithProjection if with_projection else CLIPTextModel
    return kind(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=37,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def t5_tokenizer(max_length: int = 512) -> T5Tokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz,."
    pieces = ["<pad>", "</s>", "<unk>", "▁", *letters, *(f"▁{word}" for word in WORDS)]
    # Unigram prefers what scores higher: a whole word over its letters.
    vocabulary = [(piece, -2.0 if len(piece) == 1 else 0.0) for piece in pieces]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=max_length)


def t5_text(tokenizer: T5Tokenizer, width: int = WIDTH) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=width,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Byte level without merges: one token per byte, as Qwen's, and its chat marks."""
    tokenizer = Qwen2Tokenizer(
        vocab={token: n for n, token in enumerate([*sorted(ByteLevel.alphabet())])},
        merges=[],
        model_max_length=2048,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def qwen_sizes(tokenizer: Qwen2Tokenizer, layers: int = 2) -> dict[str, Any]:
    """Return the arguments that the configs of Qwen 2.5 VL's text and of Qwen 3 share."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 37,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def qwen3_config(tokenizer: Qwen2Tokenizer, layers: int = 2) -> Qwen3Config:
    return Qwen3Config(**qwen_sizes(tokenizer, layers), head_dim=8, tie_word_embeddings=True)


def vae(latent_channels: int = 4, **settings: Any) -> AutoencoderKL:
    """Four levels, so that one latent is 8 x 8 px as in every published one."""
    return still(
        AutoencoderKL(
            block_out_channels=(8, 8, 16, 16),
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=latent_channels,
            norm_num_groups=8,
            sample_size=128,
            **settings,
        )
    )


@torch.no_grad()
def still(model: Any) -> Any:
    """Make a VAE's latents certain, as a trained one's are: else an image is lost in their noise.

    The second half of what the encoder says is the logarithm of the latents' variance.
    """
    last = getattr(model, "quant_conv", None)
    if last is None:
        last = model.encoder.conv_out
    half = last.weight.shape[0] // 2
    last.weight[half:] = 0
    last.bias[half:] = -20
    return model


def flow_scheduler(**settings: Any) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(**settings)
