"""The embedded model before it has learned anything: its parts, their sizes, its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from synthgen.backends.diffusion.loading import silence_loading
from synthgen.backends.diffusion.patch_inpaint import PatchControlNetInpaintPipeline
from synthgen.errors import ModelError

__all__ = ["build_pipeline", "build_tokenizer", "start_from"]

PATCH_SIZE = 4
TOKENS = 16


def build_tokenizer(words: Sequence[str], max_length: int = TOKENS) -> CLIPTokenizer:
    """Return a CLIP tokenizer in which each word is one token and other text falls to bytes.

    Words are added tokens, not merges: merges of one word would break another that shares letters.
    """
    letters = sorted(ByteLevel.alphabet())
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=max_length)
    whole = [
        AddedToken(w, single_word=True, normalized=True) for w in sorted(set(words)) if len(w) > 1
    ]
    tokenizer.add_tokens(whole)
    return tokenizer


def build_pipeline(
    words: Sequence[str],
    widths: Sequence[int] = (96, 128, 192),
    text_width: int = 128,
    seed: int = 0,
) -> PatchControlNetInpaintPipeline:
    """Return an untrained pipeline with random weights drawn from ``seed``."""
    channels = 3 * PATCH_SIZE**2
    sizes: dict[str, Any] = {
        "layers_per_block": 1,
        "block_out_channels": tuple(widths),
        "cross_attention_dim": text_width,
        "attention_head_dim": 8,
        "norm_num_groups": 16,
    }
    plain = len(widths) - 1
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the weights' constructors take no generator
        unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=2 * channels + PATCH_SIZE**2,  # noisy change, source, mask
            out_channels=channels,
            down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * plain),
            up_block_types=(*["CrossAttnUpBlock2D"] * plain, "UpBlock2D"),
            **sizes,
        )
        controlnet = ControlNetModel(
            in_channels=channels,
            conditioning_channels=channels,  # the control image in patches, too
            conditioning_embedding_out_channels=(64,),
            down_block_types=("DownBlock2D",) * len(widths),
            mid_block_type="UNetMidBlock2D",
            **sizes,
        )
        tokenizer = build_tokenizer(words)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=text_width,
                intermediate_size=4 * text_width,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=TOKENS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    return PatchControlNetInpaintPipeline(
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        controlnet=controlnet,
        scheduler=scheduler,
        patch_size=PATCH_SIZE,
    )


def start_from(
    pipeline: PatchControlNetInpaintPipeline, folder: Path, parts: Sequence[str]
) -> None:
    """Load some ``parts`` of another patch model; its words may be other ones.

    A word that it does not know starts as the mean of the pieces that it is read as there. Raises
    ModelError.
    """
    silence_loading()
    try:
        other = PatchControlNetInpaintPipeline.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the model in {folder} cannot be trained further: {reason}") from error
    try:
        for name in parts:
            state = getattr(other, name).float().state_dict()
            if name == "text_encoder":
                state = _with_words(state, other.tokenizer, pipeline.tokenizer)
            getattr(pipeline, name).load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"the {name} in {folder} has other sizes than the embedded model's; "
            "pretrain.start takes a model that synthgen pretrain made"
        ) from error


def _with_words(
    state: dict[str, torch.Tensor], known: CLIPTokenizer, tokenizer: CLIPTokenizer
) -> dict[str, torch.Tensor]:
    """Return a text encoder's weights with its embedding's rows in the order of a tokenizer."""
    [key] = [name for name in state if name.endswith("token_embedding.weight")]
    numbers, rows = known.get_vocab(), {}
    for word, number in tokenizer.get_vocab().items():
        pieces = known(word.removesuffix("</w>"), add_special_tokens=False).input_ids
        rows[number] = state[key][[numbers[word]] if word in numbers else pieces].mean(dim=0)
    return state | {key: torch.stack([rows[number] for number in range(len(rows))])}
