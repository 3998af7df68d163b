"""Good images that are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from synthgen.errors import ConfigError
from synthgen.imaging.decoding import MAX_PIXELS
from synthgen.samples.sample import Part, SourceImage
from synthgen.samples.seeds import stream
from synthgen.sources.catalogue import SourceEntry
from synthgen.sources.surfaces import SURFACES, draw_surface

__all__ = ["ProceduralSources"]

MAX = 10_000_000  # images


class ProceduralSources:
    """A catalogue of ``count`` drawn surfaces; each is a group of its own.

    ``size_hw``: sides of 64 px or more. ``kinds``: keys of SURFACES, which take turns; empty = all.
    One ``seed`` (0..2**63 - 1) gives the same surfaces, whatever ``count`` is.
    Raises ConfigError for values out of range.
    """

    skipped: Sequence[str] = ()

    def __init__(
        self, count: int, size_hw: Sequence[int], kinds: Sequence[str] = (), seed: int = 0
    ) -> None:
        if not isinstance(count, int) or not 1 <= count <= MAX:
            raise ConfigError(f"source.count={count!r} must be a whole number of 1 to {MAX}")
        if len(size_hw) != 2 or any(not isinstance(s, int) or s < 64 for s in size_hw):
            raise ConfigError(f"source.size_hw={list(size_hw)} must be two sides of 64 px or more")
        if size_hw[0] * size_hw[1] > MAX_PIXELS:
            raise ConfigError(
                f"source.size_hw={list(size_hw)} has more than {MAX_PIXELS} pixels in all"
            )
        if not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ConfigError(
                f"source.seed={seed} must be a whole number of 0 or more, and below 2**63"
            )
        for kind in kinds:
            if kind not in SURFACES:
                raise ConfigError(
                    f"source.kinds names {kind!r}; choose from {', '.join(sorted(SURFACES))}"
                )
        self.size_hw = (size_hw[0], size_hw[1])
        names = list(kinds) or sorted(SURFACES)
        self._seed = seed
        self._drawn = {
            f"{names[n % len(names)]}-{n:06d}": (n, names[n % len(names)]) for n in range(count)
        }
        self.entries: Sequence[SourceEntry] = [
            SourceEntry(source_id, source_id, None, SURFACES[kind][1])
            for source_id, (_, kind) in sorted(self._drawn.items())
        ]

    def read(self, source_id: str) -> SourceImage:
        """Draw the surface of an entry, (H, W, 3) uint8 RGB; the same at each call."""
        number, kind = self._drawn[source_id]
        surface = draw_surface(stream(self._seed, "source", number), self.size_hw, kind)
        return SourceImage(
            source_id=source_id,
            group=source_id,
            pixels=surface.image,
            window=(0.0, 255.0),
            path=None,
            surface=surface.name,
        )

    def part(self, source: SourceImage) -> Part:
        """Return that all of the image is surface."""
        return Part(finding="surface")
