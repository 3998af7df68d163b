"""What was found of the parts on photos, in sentences that a person reads first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthgen.errors import SourceError
from synthgen.progress import track
from synthgen.sources.catalogue import SourceEntry, Sources

__all__ = [
    "Finding",
    "describe_parts",
    "is_doubtful",
    "list_names",
    "name_photos",
    "tell_findings",
]

MAX_NAMES = 3  # of photos, in one sentence
ALIKE = 1.5  # times the smallest part: sizes that one number stands for
DOUBTFUL = ("Part not found on ", "Part not clear on ")  # how a sentence on such photos begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found on one photo; ``finding`` as in ``Part``.

    ``part_fraction``: how much of the picture the part covers, 0..1; NaN where all of it counts as
    part.
    """

    name: str
    finding: str
    part_fraction: float


def describe_parts(sources: Sources, most: int = 40) -> list[str]:
    """Return sentences on where the parts are, from at most ``most`` photos, evenly spread.

    Drawn surfaces get none. A photo that cannot be read is not counted. Raises ShapeError for a
    mask of another size than its photo.
    """
    photos = [entry for entry in sources.entries if entry.path is not None]
    places = np.linspace(0, len(photos) - 1, min(most, len(photos))).round().astype(int)
    names = name_photos(photos)
    findings, ruled_out = [], 0
    for place in track(places, "finding the parts", unit="photos"):
        try:
            part = sources.part(sources.read(photos[place].source_id))
        except SourceError:
            continue
        fraction = float("nan") if part.mask is None else float(part.mask.mean())
        found = Finding(name=names[place], finding=part.finding, part_fraction=fraction)
        findings.append(found)
        ruled_out += part.illegal is not None
    sentences = tell_findings(findings, len(photos))
    if ruled_out:
        of = _count_photos(len(findings), len(photos))
        sentences.append(f"Masks of source.illegal keep defects out on {ruled_out} of {of}.")
    return sentences


def tell_findings(findings: Sequence[Finding], total: int) -> list[str]:
    """Return sentences on the photos that were looked at; what is doubtful comes first.

    ``total`` counts all photos, looked at or not.

    >>> found = [Finding(name=name, finding="part", part_fraction=0.11) for name in "ab"]
    >>> tell_findings(found, 2)
    ['Part found on 2 of 2 photos, 11 % of the picture.']
    >>> tell_findings([Finding(name="a.png", finding="unsure", part_fraction=float("nan"))], 9)
    ['Part not found on 1 of 1 photo looked at, of 9 (a.png): defects may go anywhere there; \
give masks with source=folder source.legal=...']
    >>> tell_findings([Finding(name="a.png", finding="unsure", part_fraction=0.1)], 1)
    ['Part not clear on 1 of 1 photo (a.png): its outline there is a guess; \
give masks with source=folder source.legal=...']
    """
    of = _count_photos(len(findings), total)
    unsure, guessed, found, bare, given, whole = (
        [one for one in findings if one.finding == finding and np.isnan(one.part_fraction) == empty]
        for finding, empty in (
            ("unsure", True),
            ("unsure", False),
            ("part", False),
            ("surface", True),
            ("given", False),
            ("given", True),
        )
    )
    sentences: list[str] = []
    if unsure:
        names = list_names([one.name for one in unsure])
        sentences.append(
            f"{DOUBTFUL[0]}{len(unsure)} of {of} ({names}): defects may go anywhere there; "
            "give masks with source=folder source.legal=..."
        )
    if guessed:
        names = list_names([one.name for one in guessed])
        sentences.append(
            f"{DOUBTFUL[1]}{len(guessed)} of {of} ({names}): its outline there is a guess; "
            "give masks with source=folder source.legal=..."
        )
    joint = ", " if total == len(findings) else "; it is "
    if found:
        size = _tell_size(found)
        sentences.append(f"Part found on {len(found)} of {of}{joint}{size} of the picture.")
    if bare:
        there = "" if len(bare) == len(findings) else " there"
        sentences.append(
            f"No background seen on {len(bare)} of {of}: defects may go anywhere{there}."
        )
    if given:
        size = _tell_size(given)
        sentences.append(
            f"Part given by a mask on {len(given)} of {of}{joint}{size} of the picture."
        )
    if whole:
        sentences.append(
            f"All of the picture counts as part on {len(whole)} of {of}, as it was asked for."
        )
    return sentences


def is_doubtful(sentence: str) -> bool:
    """Say whether a sentence of ``tell_findings`` tells of photos whose part is not known."""
    return sentence.startswith(DOUBTFUL)


def _count_photos(looked_at: int, total: int) -> str:
    photos = f"{looked_at} photo{'' if looked_at == 1 else 's'}"
    return photos if looked_at == total else f"{photos} looked at, of {total}"


def _tell_size(findings: Sequence[Finding]) -> str:
    fractions = [one.part_fraction for one in findings]
    low, high = min(fractions), max(fractions)
    if high <= ALIKE * low or high - low < 0.01:
        return f"{_percent(float(np.median(fractions)))} %"
    return f"{_percent(low)} to {_percent(high)} %"


def _percent(fraction: float) -> str:
    """Return a share in per cent, with one digit at least.

    >>> _percent(0.113), _percent(0.0042)
    ('11', '0.4')
    """
    return f"{100 * fraction:.0f}" if fraction >= 0.0095 else f"{100 * fraction:.1g}"


def list_names(names: Sequence[str]) -> str:
    """Return names for a sentence: the first three, and how many more there are.

    >>> list_names(["a.png", "b.png", "c.png", "d.png", "e.png"])
    'a.png, b.png, c.png and 2 more'
    """
    rest = len(names) - MAX_NAMES
    shown = ", ".join(names[:MAX_NAMES])
    return f"{shown} and {rest} more" if rest > 0 else shown


def name_photos(photos: Sequence[SourceEntry]) -> list[str]:
    """Return the file name of each photo, or its id where another photo has the same name."""
    names = [Path(entry.path or entry.source_id).name for entry in photos]
    taken = Counter(names)
    return [
        name if taken[name] == 1 else entry.source_id
        for name, entry in zip(names, photos, strict=True)
    ]
