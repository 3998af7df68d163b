"""Texts as a pipeline's arguments; each prompt is encoded once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from synthgen.backends.checkpoints.families import Family

__all__ = ["PromptEncoder"]

KEPT = 256  # text states; 0.2 MB each for Stable Diffusion 1.5
Encode = Callable[[Any, Family, str, str], Mapping[str, Any]]


class PromptEncoder:
    """Turns prompts into arguments of a pipeline of a family, and keeps what it encoded.

    ``encode`` (pipeline, family, prompt, negative) takes the place of the pipeline's own way.
    """

    def __init__(self, pipeline: Any, family: Family, encode: Encode | None = None) -> None:
        self._pipeline, self._family = pipeline, family
        self._own = encode
        self._encode: Callable[[str, str, bool], Mapping[str, Any]] = lru_cache(KEPT)(self._states)

    def __call__(self, texts: Sequence[tuple[str, str]], is_guided: bool) -> dict[str, Any]:
        """Return the arguments for (prompt, negative prompt) pairs, one row each.

        The negatives count if ``is_guided``. The texts must be of one ``length``.
        """
        import torch

        if not self._family.texts:
            given = {"prompt": [prompt for prompt, _ in texts]}
            return given | ({"negative_prompt": [text for _, text in texts]} if is_guided else {})
        encoded = [self._encode(prompt, negative, is_guided) for prompt, negative in texts]
        return {name: torch.cat([one[name] for one in encoded]) for name in encoded[0]}

    def is_guided(self, guidance: float) -> bool:
        """Say whether the negative prompt counts, so that the model runs twice a step."""
        return self._family.is_guided_by_negative and guidance > self._family.unguided

    def length(self, text: tuple[str, str], is_guided: bool) -> int:
        """Return how many tokens a text has once it is encoded; only equal ones go together.

        0 where the family's pipelines take the texts themselves.
        """
        if not self._family.texts:
            return 0
        return int(next(iter(self._encode(*text, is_guided).values())).shape[1])

    def _states(self, prompt: str, negative: str, is_guided: bool) -> Mapping[str, Any]:
        """Return the states of one prompt by the pipeline's arguments, each of one row."""
        import torch

        if self._own is not None:
            with torch.no_grad():
                states = self._own(self._pipeline, self._family, prompt, negative)
            if is_guided:
                return states
            return {name: x for name, x in states.items() if not name.startswith("negative_")}
        known = inspect.signature(self._pipeline.encode_prompt).parameters
        wanted = {
            "prompt": [prompt],
            "prompt_2": None,  # the second and third encoder read the same
            "prompt_3": None,
            "device": self._pipeline._execution_device,
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": is_guided,
            "negative_prompt": [negative] if negative else None,  # None: as the model was trained
        }
        with torch.no_grad():
            returned = self._pipeline.encode_prompt(
                **{name: value for name, value in wanted.items() if name in known}
            )
        named = zip(self._family.texts, returned, strict=False)
        return {name: value for name, value in named if name and value is not None}
