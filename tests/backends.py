"""Diffusion backends for tests, in one line: settings by name, whatever part has them."""

from __future__ import annotations

from typing import Any

from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.runs.renamed import RENAMED

__all__ = ["make_diffusion"]

KEYS = [now.split(".") for former, now in RENAMED.items() if former.startswith("backend.")]
PART_OF = {key: part for _, part, key in KEYS}


def make_diffusion(checkpoint: str, **settings: Any) -> DiffusionBackend:
    """Return a backend, e.g. ``make_diffusion("embedded", steps=2, device="cpu")``."""
    parts: dict[str, dict[str, Any]] = {"model": {"checkpoint": checkpoint}}
    for key, value in settings.items():
        parts.setdefault(PART_OF[key], {})[key] = value
    return DiffusionBackend(**parts)  # type: ignore[arg-type]
