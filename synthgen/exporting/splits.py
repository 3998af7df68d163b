"""Splits by part, stratified by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from synthgen.errors import ConfigError
from synthgen.exporting.labels import LabelledSet
from synthgen.samples.seeds import stream

__all__ = ["split_anew", "stratify"]


def split_anew(labels: LabelledSet, fractions: Mapping[str, float], seed: int) -> LabelledSet:
    """Return the set split again by the given shares: whole groups, every class in its share.

    Groups with samples after real defects of one part stay together, and with that part. Raises
    ConfigError where that ties too many of them.
    """
    tied = _tie_groups(labels)
    kinds: dict[str, list[str]] = {}
    for image in labels:
        kinds.setdefault(tied[image.group], []).extend(labels.kinds(image))
    wanted = sum(fraction > 0 for fraction in fractions.values())
    if len(kinds) < wanted and len({image.group for image in labels}) >= wanted:
        raise ConfigError(
            f"split={dict(fractions)}: shared reference defects tie the parts into {len(kinds)}; "
            "split when the run is planned (splits=), where the samples of a reference defect stay "
            "in one split"
        )
    split_of = stratify(kinds, fractions, seed)
    return labels.with_splits({group: split_of[first] for group, first in tied.items()})


def _tie_groups(labels: LabelledSet) -> dict[str, str]:
    """Return, for each group, the first of those that it must share a split with.

    Groups that share a reference defect's part are one, as are those linked by a chain of such.
    """
    first: dict[str, str] = {}

    def find(group: str) -> str:
        """Return the first of the groups that one is tied to so far."""
        first.setdefault(group, group)
        while first[group] != group:
            group = first[group]
        return group

    for image in labels:
        ends = [find(image.group)]
        if reference := str(image.facts.get("reference_group") or ""):
            ends.append(find(reference))
        for end in ends:
            first[end] = min(ends)
    return {image.group: find(image.group) for image in labels}


def stratify(
    kinds: Mapping[str, Sequence[str]], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the split of each group so that every kind comes in the given shares.

    ``kinds``: the kinds of a group's images. Iterative stratification (Sechidis et al. 2011,
    https://doi.org/10.1007/978-3-642-23808-6_10), of groups: the rarest kind first, each group to
    the split that lacks most of it. A kind of as many groups as splits is in all of them. Raises
    ConfigError for impossible shares.

    >>> kinds = {"a": ["pit"], "b": ["pit"], "c": ["good"], "d": ["good"]}
    >>> sorted(stratify(kinds, {"train": 0.5, "test": 0.5}, 0).values())
    ['test', 'test', 'train', 'train']
    """
    names = [name for name, fraction in fractions.items() if fraction > 0]
    if not names or any(fraction < 0 for fraction in fractions.values()):
        raise ConfigError(f"split={dict(fractions)} must hold shares of 0 or more, not all 0")
    groups = sorted(kinds)
    known = sorted({kind for own in kinds.values() for kind in own})
    tallies = [Counter(kinds[group]) for group in groups]
    counts = np.array([[tally[kind] for kind in known] for tally in tallies])
    fraction = np.array([fractions[name] for name in names]) / sum(fractions.values())
    lacking = fraction[:, None] * counts.sum(axis=0)[None]  # (splits, kinds)
    held = np.zeros(lacking.shape, bool)  # which split has some of which kind
    place: dict[int, int] = {}
    waiting = [int(n) for n in stream(seed, "stratify").permutation(len(groups))]
    while waiting:
        left = (counts[waiting] > 0).sum(axis=0)
        kind = int(np.where(left > 0, left, len(groups) + 1).argmin())
        own = [n for n in waiting if counts[n, kind] > 0]
        for number, group in enumerate(own):
            empty = np.flatnonzero(~held[:, kind])
            is_scarce = len(empty) > 0 and len(own) - number <= len(empty)
            choice = [int(s) for s in empty] if is_scarce else list(range(len(names)))
            wants = [(lacking[s, kind], lacking[s].sum()) for s in choice]
            split = choice[wants.index(max(wants))]
            place[group] = split
            lacking[split] -= counts[group]
            held[split] |= counts[group] > 0
        waiting = [n for n in waiting if n not in place]
    return {group: names[place[number]] for number, group in enumerate(groups)}
