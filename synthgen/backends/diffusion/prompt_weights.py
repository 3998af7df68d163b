"""Prompts with weights, and prompts longer than a text encoder reads at once, by way of compel.

Syntax: ``a (deep)1.4 scratch``, ``metal++`` (1.1 a plus), ``metal-`` (0.9 a minus); see
https://github.com/damian0815/compel/blob/main/doc/syntax.md
"""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from typing import Any

from synthgen.backends.checkpoints.families import Family
from synthgen.errors import ConfigError

__all__ = ["encode_weighted", "why_no_weights"]

TOLD = "sequence-length-is-longer-than-the-specified-maximum"  # transformers' name of a warning


def why_no_weights(family: Family) -> str | None:
    """Return why a family takes no weights, a sentence; None where it does."""
    if not family.weighted_by:
        return (
            f"backend.painting.prompt_weights=true, but {family.title} takes no weighted prompts: "
            "compel knows Stable Diffusion 1.5, 2 and XL, and FLUX.1; set it to false"
        )
    if find_spec("compel") is None:
        return (
            "backend.painting.prompt_weights=true needs compel; install it with "
            "pip install 'synthgen-inspection[prompts]'"
        )
    return None


def encode_weighted(pipeline: Any, family: Family, prompt: str, negative: str) -> dict[str, Any]:
    """Return text states by the names of the pipeline's arguments; what it has not is left out.

    ``prompt_embeds`` and ``negative_prompt_embeds`` are (1, tokens, width) and equally long: for a
    longer prompt, a whole multiple of what the encoder reads. Pooled states are of the plain text,
    without weights, as far as the encoder reads it. Raises ConfigError.
    """
    import torch

    if reason := why_no_weights(family):
        raise ConfigError(reason)
    import compel

    device = pipeline._execution_device  # not .device: an offloaded model is elsewhere
    wrapper = getattr(compel, family.weighted_by)(pipeline, device=device)
    for part in ("tokenizer", "tokenizer_2"):  # they would warn of texts that compel cuts itself
        if (tokenizer := getattr(pipeline, part, None)) is not None:
            tokenizer.deprecation_warnings[TOLD] = True
    plain = [_plain_text(text) for text in (prompt, negative)]
    with torch.no_grad():
        states = wrapper(prompt, negative_prompt=negative)
        pooled = (states.pooled_embeds, states.negative_pooled_embeds)
        if family.weighted_by == "CompelForSDXL":
            # compel pools the text with the weights still written in it.
            pool = wrapper.compel_2.conditioning_provider.get_pooled_embeddings
            pooled = tuple(pool([text], device=device) for text in plain)
    found = {
        "prompt_embeds": states.embeds,
        "negative_prompt_embeds": states.negative_embeds,
        "pooled_prompt_embeds": pooled[0],
        "negative_pooled_prompt_embeds": pooled[1],
    }
    taken = inspect.signature(type(pipeline).__call__).parameters
    dtype = pipeline.text_encoder.dtype
    return {key: x.to(dtype) for key, x in found.items() if key in taken and x is not None}


def _plain_text(text: str) -> str:
    """Return a prompt without its weights; raises ConfigError where compel cannot read it."""
    from compel import Compel, PromptParser

    try:
        prompts = Compel.parse_prompt_string(text).prompts
    except (PromptParser.ParsingException, ValueError) as error:
        raise ConfigError(f"the prompt {text!r} cannot be read by compel: {error}") from error
    if any(prompt.wants_cross_attention_control for prompt in prompts):
        raise ConfigError(f"the prompt {text!r} asks for .swap(), which no pipeline here does")
    flat = [part for prompt in prompts for part in getattr(prompt, "prompts", [prompt])]
    return " ".join(fragment.text for part in flat for fragment in part.children)
