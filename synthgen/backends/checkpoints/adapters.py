"""Adapters: what a checkpoint has learned of a customer's defects, in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from synthgen.backends.checkpoints.digests import file_digest
from synthgen.backends.checkpoints.find import Checkpoint
from synthgen.backends.checkpoints.weights import check_safetensors
from synthgen.errors import ModelError

__all__ = ["LORA", "RECORD", "WEIGHTS", "Adapter", "add_words", "apply_adapter", "find_adapter"]

WEIGHTS, RECORD = "adapter.safetensors", "adapter.yaml"
LORA = ".lora_"


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter folder, checked. ``words``: new words, by the known one that each started as."""

    folder: Path
    base_digest: str
    classes: Mapping[str, str]  # class: its noun in prompts
    words: Mapping[str, str]

    @property
    def weights(self) -> Path:
        """The file of what was learned."""
        return self.folder / WEIGHTS


def find_adapter(name: str, base: Checkpoint) -> Adapter:
    """Read the adapter folder ``name`` and check that it belongs to a checkpoint.

    Raises ModelError where its record is missing or damaged, its weights are other ones than the
    record names, or it was made for another checkpoint.
    """
    folder = Path(name).expanduser()
    record = folder / RECORD
    if not record.is_file() or not (folder / WEIGHTS).is_file():
        raise ModelError(
            f"backend.model.adapter={name!r} holds no {RECORD} with {WEIGHTS}; give the folder "
            "that synthgen adapt wrote"
        )
    check_safetensors(folder / WEIGHTS)
    try:
        facts = yaml.safe_load(record.read_text(encoding="utf-8"))
        adapter = Adapter(
            folder,
            str(facts["base"]["digest"]),
            {str(k): str(v) for k, v in facts["classes"].items()},
            {str(k): str(v) for k, v in facts["new_words"].items()},
        )
        digest = str(facts["sha256"])
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"{record} is damaged ({error!r}); run synthgen adapt again") from error
    if file_digest(folder / WEIGHTS) != digest:
        raise ModelError(f"{folder / WEIGHTS} is not the file that {record} names; adapt again")
    if adapter.base_digest != base.digest:
        raise ModelError(
            f"backend.model.adapter={name!r} was made for the checkpoint {facts['base']['name']} "
            f"({adapter.base_digest}), not for {base.name} ({base.digest}); adapt that one again"
        )
    return adapter


def add_words(pipeline: Any, words: Mapping[str, str]) -> None:
    """Teach a patch model's tokenizer words; each starts as the known word it is given with.

    Changes tokenizer and text encoder in place: a row of its embeddings is added per word.
    """
    import torch
    from tokenizers import AddedToken

    if not words:
        return
    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    old = encoder.get_input_embeddings().weight.detach().clone()
    known = [tokenizer(start, add_special_tokens=False).input_ids for start in words.values()]
    rows = [old[tokens].mean(dim=0) for tokens in known]  # of several tokens, their mean
    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in words])
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        encoder.get_input_embeddings().weight[len(tokenizer) - len(words) :] = torch.stack(rows)


def apply_adapter(pipeline: Any, adapter: Adapter) -> None:
    """Add an adapter to a loaded pipeline, for good: new words, changed weights, low ranks.

    What it holds of a whole weight is a difference, which is added. Low ranks (Hu et al. 2021,
    https://arxiv.org/abs/2106.09685) are multiplied out into the UNet, so that they cost no time.
    """
    import torch
    from safetensors.torch import load_file

    add_words(pipeline, adapter.words)
    low: dict[str, Any] = {}
    with torch.no_grad():
        for key, value in load_file(adapter.weights).items():
            part, _, name = key.partition(".")
            if LORA in name:
                low[key] = value
            else:
                weight = getattr(pipeline, part).get_parameter(name)
                weight += value.to(weight)
    if low:
        pipeline.unet.load_lora_adapter(low, prefix="unet", adapter_name="adapted")
        pipeline.unet.fuse_lora()
        pipeline.unet.unload_lora()
