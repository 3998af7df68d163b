"""Who may learn from which real images: validation part and budgets, by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from synthgen.errors import SourceError
from synthgen.samples.seeds import stream
from synthgen.training.pictures import Picture

__all__ = [
    "GOOD",
    "Tally",
    "carve_validation",
    "classes_of",
    "cut_good_areas",
    "draw_budget",
    "tally",
]

GOOD = "good"
MARGIN_PX = 4  # around a defect: surface that is not taken for good


@dataclass(frozen=True)
class Tally:
    """How many images of how many physical parts show a class; GOOD: no defect."""

    name: str
    images: int
    parts: int


def tally(pictures: Sequence[Picture]) -> list[Tally]:
    """Count images and parts of each class, by name, good ones last."""
    groups: dict[str, list[str]] = {name: [] for name in (*classes_of(pictures), GOOD)}
    for picture in pictures:
        for name in picture.masks or (GOOD,):
            groups[name].append(picture.group)
    return [Tally(name, len(own), len(set(own))) for name, own in groups.items() if own]


def cut_good_areas(pictures: Sequence[Picture], min_px: int) -> list[Picture]:
    """Return the largest square without a defect of each picture, as a good picture of its group.

    For data without good images. Squares keep 4 px away from defects; those of less than ``min_px``
    a side are left out.
    """
    cut = []
    for one in pictures:
        free = np.pad(~one.mask, 1).astype(np.uint8)
        reach = cv2.distanceTransform(free, cv2.DIST_C, 3)[1:-1, 1:-1] - MARGIN_PX
        row, column = np.unravel_index(int(reach.argmax()), reach.shape)
        half = int(reach[row, column]) - 1
        if 2 * half + 1 < min_px:
            continue
        rows, columns = (slice(at - half, at + half + 1) for at in (int(row), int(column)))
        pixels = np.ascontiguousarray(one.pixels[rows, columns])
        cut.append(Picture(name=f"{one.name}-good", group=one.group, pixels=pixels, masks={}))
    return cut


def classes_of(pictures: Sequence[Picture]) -> list[str]:
    """Return the defect classes that the pictures hold, by name."""
    return sorted({name for picture in pictures for name in picture.masks})


def carve_validation(pictures: Sequence[Picture], fraction: float, seed: int) -> set[str]:
    """Return the groups of the validation part: about ``fraction`` of each class's groups.

    Classes with few groups choose first; each has at least one group here and one left to learn
    from. Raises SourceError for a class of a single group, which cannot be in both.
    """
    kinds = {
        name: sorted({one.group for one in pictures if name in (set(one.masks) or {GOOD})})
        for name in [*classes_of(pictures), GOOD]
    }
    for name, groups in kinds.items():
        if len(groups) < 2:
            raise SourceError(
                f"all training images of {name!r} are of {len(groups)} group; two or more are "
                "needed, to learn from and to set the threshold on"
            )
    chosen: set[str] = set()
    for name in sorted(kinds, key=lambda one: (len(kinds[one]), one)):
        groups = kinds[name]
        wanted = min(max(1, round(fraction * len(groups))), len(groups) - 1)
        order = [str(group) for group in stream(seed, "validation", name).permutation(groups)]
        missing = wanted - len(chosen & set(groups))
        chosen.update([group for group in order if group not in chosen][: max(0, missing)])
    return chosen


def draw_budget(pictures: Sequence[Picture], budget: int | None, seed: int) -> list[Picture]:
    """Return the defect images of one draw: ``budget`` per class, None = all.

    Groups take turns, so that five images show five parts where there are as many. An image of two
    classes counts for both. A smaller budget's draw is part of a larger one's where images have one
    class each.
    """
    bad = [picture for picture in pictures if picture.masks]
    if budget is None:
        return bad
    chosen: list[Picture] = []
    for name in classes_of(bad):
        have = sum(name in picture.masks for picture in chosen)
        taken = {picture.name for picture in chosen}
        queue = [one for one in _take_turns(bad, name, seed) if one.name not in taken]
        chosen += queue[: max(0, budget - have)]
    return chosen


def _take_turns(pictures: Sequence[Picture], name: str, seed: int) -> list[Picture]:
    """Return the images of a class, shuffled, one of each group before the second of any."""
    rng = stream(seed, "budget", name)
    groups: dict[str, list[Picture]] = {}
    for picture in pictures:
        if name in picture.masks:
            groups.setdefault(picture.group, []).append(picture)
    order = [groups[str(group)] for group in rng.permutation(sorted(groups))]
    ranked = [
        (rank, turn, own[int(at)])
        for turn, own in enumerate(order)
        for rank, at in enumerate(rng.permutation(len(own)))
    ]
    return [picture for _, _, picture in sorted(ranked, key=lambda entry: entry[:2])]
