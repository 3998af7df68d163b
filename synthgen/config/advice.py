"""The notes of a run: what will not come out as it was asked for, a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from synthgen.backends.backend import BackendInfo
from synthgen.backends.diffusion.tokens import explain_cuts, find_cuts
from synthgen.defects.drawing.lines import Line
from synthgen.planning.plan import DefectClass, Splits, find_empty_train
from synthgen.references.lending import Donors
from synthgen.samples.sample import SampleSpec
from synthgen.sources import Sources

__all__ = [
    "advise",
    "find_donors_elsewhere",
    "find_faint_donors",
    "find_long_prompts",
    "find_other_names",
    "find_own_lines",
    "find_unused_words",
]


def advise(
    info: BackendInfo,
    classes: Mapping[str, DefectClass],
    donors: Donors | None,
    sources: Sources,
    specs: Sequence[SampleSpec],
    splits: Splits,
) -> list[str]:
    """Return all notes of a plan; empty where it will come out as asked."""
    return [
        *find_empty_train(specs, splits),
        *find_long_prompts(info, specs),
        *find_unused_words(info.taught, classes),
        *find_faint_donors(donors),
        *find_donors_elsewhere(specs, donors),
        *find_other_names(donors, sources, splits),
        *find_own_lines(donors, classes),
    ]


def find_long_prompts(info: BackendInfo, specs: Sequence[SampleSpec]) -> list[str]:
    """Return a sentence where the checkpoint's text encoders do not read all of the prompts."""
    folder = info.tokenizers
    if folder is None:
        return []
    texts = {text: None for spec in specs for text in (spec.prompt, spec.negative_prompt) if text}
    return explain_cuts(folder, find_cuts(folder, list(texts)), len(texts))


def find_unused_words(taught: Mapping[str, str], classes: Mapping[str, DefectClass]) -> list[str]:
    """Return a sentence where an adapter has learned a word that no class of the run is called."""
    asked = {kind.noun for kind in classes.values()}
    unused = sorted(set(taught.values()) - asked)
    if not unused or not classes:
        return []
    return [
        f"the adapter has learned {', '.join(unused)}, which no class of this run is called; give "
        f"bank.path, or the word to a class, e.g. defect.{next(iter(classes))}.noun={unused[0]!r}"
    ]


def find_faint_donors(donors: Donors | None) -> list[str]:
    """Return a sentence where real defects lend nothing because they are hardly visible."""
    if donors is None or not donors.faint:
        return []
    counts = Counter(item.defect_class for item in donors.faint)
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return [
        f"{len(donors.faint)} of the bank's {len(donors.items)} defects lend nothing ({told}): "
        f"under {donors.settings.least_visible:.0%} of their mask visibly differs from the surface "
        "without them (bank.least_visible)"
    ]


def find_own_lines(donors: Donors | None, classes: Mapping[str, DefectClass]) -> list[str]:
    """Return a sentence where drawn lines are like the bank's though nobody asked for it."""
    if donors is None or donors.settings.own_lines != "auto" or not donors.share_of_lines:
        return []
    drawn = sorted(name for name, kind in classes.items() if isinstance(kind.shape, Line))
    if not drawn:
        return []
    count, total = donors.images_with_lines
    return [
        f"{count} of the bank's {total} images hold lines: drawn ones ({', '.join(drawn)}) are as "
        "many, long, wide, straight and strong; bank.own_lines=false leaves them as their kinds are"
    ]


def find_other_names(donors: Donors | None, sources: Sources, splits: Splits) -> list[str]:
    """Return a sentence where parts of the bank may be parts of the source under other names, and
    so come into two splits unseen."""
    photos = sorted({entry.group for entry in sources.entries if entry.path is not None})
    parts = donors.groups if donors else []
    several = sum(share > 0 for share in splits.values()) > 1
    if not (several and photos and parts) or set(photos) & set(parts):
        return []
    return [
        f"no part of the bank ({parts[0]}, ...) is one of the source's ({photos[0]}, ...): if they "
        "are the same parts under other names, these can be in two splits; give "
        "source.group_by=<a CSV with image and group>, or 'splits={train: 1}'"
    ]


def find_donors_elsewhere(specs: Sequence[SampleSpec], donors: Donors | None) -> list[str]:
    """Return a sentence where real defects lend to smaller splits, and so not to the largest."""
    if donors is None or not any(spec.donor for spec in specs):
        return []
    largest = Counter(spec.split for spec in specs).most_common(1)[0][0]
    parts: dict[str, set[str]] = {}
    others: dict[str, set[str]] = {}
    for spec in specs:
        if spec.donor and spec.defect_class:
            kept = parts if spec.split == largest else others
            kept.setdefault(spec.defect_class, set()).add(spec.donor_group or "")
    if not others:
        return []
    told = (
        f"{name} {len(parts.get(name, ()))} of {len(donors.groups_of(name))}"
        for name in sorted(others)
    )
    return [
        f"the split {largest} is drawn after some of the bank's parts only, the others lend to "
        f"smaller splits ({', '.join(told)}); 'splits={{{largest}: 1}}' gives it all"
    ]
