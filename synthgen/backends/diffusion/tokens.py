"""What a checkpoint's text encoders read of a prompt, and which words they never see."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from synthgen.backends.checkpoints.families import BY_BASE, Family
from synthgen.errors import ModelError

__all__ = ["Cut", "Reader", "explain_cuts", "find_cuts"]

# max_sequence_length of diffusers' pipelines, where the tokenizer itself would take more.
MAX_TOKENS = 512
SHOWN = 60  # letters of what is lost
CHAT_TOKENS = 16  # kept free for what a chat template puts around a prompt


class Cut(NamedTuple):
    """What is lost of one prompt; the first word may be lost in part."""

    lost_tokens: int
    lost_words: str


@dataclass(frozen=True, slots=True)
class Reader:
    """One tokenizer of a checkpoint, by the name of its folder.

    It reads ``limit`` tokens, its own marks at both ends among them. ``cuts``: by prompt, only
    those that are longer.
    """

    name: str
    limit: int
    cuts: Mapping[str, Cut]


def find_cuts(folder: Path, prompts: Sequence[str]) -> list[Reader]:
    """Return what each tokenizer in a checkpoint's folder cuts off.

    Every prompt counts once. Loads tokenizers, no weights; a second for 1,000 prompts. Raises
    ModelError for a tokenizer that does not load.
    """
    distinct = list(dict.fromkeys(prompts))
    family = _family_of(folder)
    readers = []
    for path in sorted(folder.glob("tokenizer*/tokenizer_config.json")):
        tokenizer, name = _load_tokenizer(path.parent), path.parent.name
        most = family.max_tokens.get(name, MAX_TOKENS) if family else MAX_TOKENS
        limit = min(tokenizer.model_max_length, most)
        room = limit - tokenizer.num_special_tokens_to_add()
        if getattr(tokenizer, "chat_template", None):
            room -= CHAT_TOKENS
        places = []  # of each token of each prompt: its first character, and one past its last
        if distinct:
            places = tokenizer(
                distinct, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )["offset_mapping"]
        cuts = {
            prompt: Cut(len(spans) - room, _words_from(prompt, spans[room][0]))
            for prompt, spans in zip(distinct, places, strict=True)
            if len(spans) > room
        }
        readers.append(Reader(name, limit, cuts))
    return readers


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the tokenizer in {folder} does not load: {reason}") from error


def _family_of(folder: Path) -> Family | None:
    """Return the family that a folder's model_index.json names; None where it names none."""
    index = folder / "model_index.json"
    if not index.is_file():
        return None
    return BY_BASE.get(str(json.loads(index.read_text(encoding="utf-8")).get("_class_name")))


def _words_from(text: str, start: int) -> str:
    """Return what begins with the word that the character at ``start`` belongs to.

    >>> _words_from("a scratch on steel", 4)
    'scratch on steel'
    """
    while 0 < start < len(text) and not (text[start].isspace() or text[start - 1].isspace()):
        start -= 1
    return text[start:].strip()


def explain_cuts(folder: Path, readers: Sequence[Reader], total: int) -> list[str]:
    """Return a sentence for each limit that some of ``total`` distinct prompts break."""
    family = _family_of(folder)
    can_read_more = family is not None and family.reads_long_prompts
    remedy = ", or set backend.painting.prompt_weights=true" if can_read_more else ""
    sentences = []
    for limit in sorted({reader.limit for reader in readers if reader.cuts}):
        cutting = [r for r in readers if r.limit == limit and r.cuts]
        whole = [f"{r.name} reads {r.limit}" for r in readers if not r.cuts]
        # A prompt that several cut is told of once, as the first of them cuts it.
        cuts = {prompt: cut for reader in reversed(cutting) for prompt, cut in reader.cuts.items()}
        names = " and ".join(reader.name for reader in cutting)
        others = f" ({', '.join(whole)})" if whole else ""
        are, them = ("is", "it") if len(cuts) == 1 else ("are", "them")
        lost = shorten(next(iter(cuts.values())).lost_words, SHOWN, placeholder=" ...")
        sentences.append(
            f"{len(cuts)} of {total} prompts {are} longer than the {limit} tokens that "
            f"{names} {'reads' if len(cutting) == 1 else 'read'}{others}; the first loses "
            f"{lost!r}: shorten {them}{remedy}"
        )
    return sentences
