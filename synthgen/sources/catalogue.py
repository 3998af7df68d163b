"""What a catalogue of good images offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from synthgen.sample import Part, SourceImage

__all__ = ["SourceEntry", "Sources"]


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One good image of a catalogue. ``path`` is None where it is drawn."""

    source_id: str
    group: str  # the physical part
    path: str | None
    surface: str  # its material in prompts


class Sources(Protocol):
    """A catalogue of good images."""

    entries: Sequence[SourceEntry]  # sorted by source_id
    skipped: Sequence[str]  # a sentence per file that is left out

    def read(self, source_id: str) -> SourceImage:
        """Return the image; raises SourceError where it cannot be read."""
        ...

    def part(self, source: SourceImage) -> Part:
        """Return where the part is, and where on it defects may go."""
        ...
