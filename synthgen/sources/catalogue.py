"""What a catalogue of good images offers."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from synthgen.samples.sample import Part, SourceImage

__all__ = ["SourceEntry", "SourceIndex", "Sources"]


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One good image of a catalogue. ``path`` is None where the image is drawn."""

    source_id: str
    group: str  # the physical part
    path: str | None
    surface: str  # its material in prompts


class Sources(Protocol):
    """A catalogue of good images.

    One that can be pickled is sent to workers as it is; of another one they build their own.
    """

    entries: Sequence[SourceEntry]  # sorted by source_id
    skipped: Sequence[str]  # a sentence per file that is left out

    def read(self, source_id: str) -> SourceImage:
        """Return the image of an entry; raises SourceError where it cannot be read."""
        ...

    def part(self, source: SourceImage) -> Part:
        """Return where the part is, and where on it defects may go."""
        ...


class SourceIndex:
    """A catalogue that one process hands to others, so that no photo is opened twice.

    ``sources`` is None where it came from another process and could not be pickled there.
    """

    def __init__(self, sources: Sources | None) -> None:
        self.sources = sources

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return _receive, (pickle.dumps(self.sources),)
        except (pickle.PicklingError, TypeError, AttributeError):  # each says it in its own way
            return _receive, (None,)


def _receive(data: bytes | None) -> SourceIndex:
    return SourceIndex(None if data is None else pickle.loads(data))
