"""The notes of a run: what will not come out as it was asked for, a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from synthgen.backends.backend import BackendInfo
from synthgen.backends.diffusion.tokens import explain_cuts, find_cuts
from synthgen.defects.drawing.lines import Line
from synthgen.planning.plan import DefectClass, Splits, find_empty_train
from synthgen.references.lending import References
from synthgen.samples.sample import SampleSpec
from synthgen.sources import Sources

__all__ = [
    "advise",
    "find_faint_references",
    "find_long_prompts",
    "find_other_names",
    "find_own_lines",
    "find_references_elsewhere",
    "find_unused_words",
]


def advise(
    info: BackendInfo,
    classes: Mapping[str, DefectClass],
    references: References | None,
    sources: Sources,
    specs: Sequence[SampleSpec],
    splits: Splits,
) -> list[str]:
    """Return all notes of a plan, in a fixed order; empty where it will come out as asked.

    ``specs``: the whole plan. Each note is one sentence: what will not come out as asked, and most
    say which key changes that.
    """
    return [
        *find_empty_train(specs, splits),
        *find_long_prompts(info, specs),
        *find_unused_words(info.taught, classes),
        *find_faint_references(references),
        *find_references_elsewhere(specs, references),
        *find_other_names(references, sources, splits),
        *find_own_lines(references, classes),
    ]


def find_long_prompts(info: BackendInfo, specs: Sequence[SampleSpec]) -> list[str]:
    """Return a sentence where the checkpoint's text encoders do not read all of the prompts.

    Each prompt and negative prompt counts once. A backend without tokenizers gets no note.
    """
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


def find_faint_references(references: References | None) -> list[str]:
    """Return a sentence where real defects lend nothing because they are hardly visible."""
    if references is None or not references.faint:
        return []
    counts = Counter(item.defect_class for item in references.faint)
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    visible = references.settings.min_visible_fraction
    return [
        f"{len(references.faint)} of the bank's {len(references.items)} defects lend nothing "
        f"({told}): under {visible:.0%} of their mask visibly differs from the surface without "
        "them (bank.min_visible_fraction)"
    ]


def find_own_lines(references: References | None, classes: Mapping[str, DefectClass]) -> list[str]:
    """Return a sentence where drawn lines are like the bank's though nobody asked for it.

    So it is with ``bank.own_lines=auto`` where most of the bank's images hold a line.
    """
    if (
        references is None
        or references.settings.own_lines != "auto"
        or not references.line_fraction
    ):
        return []
    drawn = sorted(name for name, kind in classes.items() if isinstance(kind.shape, Line))
    if not drawn:
        return []
    count, total = references.images_with_lines
    return [
        f"{count} of the bank's {total} images hold lines: drawn ones ({', '.join(drawn)}) are as "
        "many, long, wide, straight and strong; bank.own_lines=false leaves them as their kinds are"
    ]


def find_other_names(references: References | None, sources: Sources, splits: Splits) -> list[str]:
    """Return a sentence where parts may come into two splits unseen, under two names.

    So it is where the groups of the bank and those of the source have no name in common, and there
    is more than one split.
    """
    photos = sorted({entry.group for entry in sources.entries if entry.path is not None})
    parts = references.groups if references else []
    several = sum(fraction > 0 for fraction in splits.values()) > 1
    if not (several and photos and parts) or set(photos) & set(parts):
        return []
    return [
        f"no part of the bank ({parts[0]}, ...) is one of the source's ({photos[0]}, ...): if they "
        "are the same parts under other names, these can be in two splits; give "
        "source.group_by=<a CSV with image and group>, or 'splits={train: 1}'"
    ]


def find_references_elsewhere(
    specs: Sequence[SampleSpec], references: References | None
) -> list[str]:
    """Return a sentence where real defects lend to smaller splits, and so not to the largest.

    The sentence counts, by class, the parts that lend to the largest.
    """
    if references is None or not any(spec.reference for spec in specs):
        return []
    largest = Counter(spec.split for spec in specs).most_common(1)[0][0]
    parts: dict[str, set[str]] = {}
    others: dict[str, set[str]] = {}
    for spec in specs:
        if spec.reference and spec.defect_class:
            kept = parts if spec.split == largest else others
            kept.setdefault(spec.defect_class, set()).add(spec.reference_group or "")
    if not others:
        return []
    told = (
        f"{name} {len(parts.get(name, ()))} of {len(references.groups_of(name))}"
        for name in sorted(others)
    )
    return [
        f"the split {largest} is drawn after some of the bank's parts only, the others lend to "
        f"smaller splits ({', '.join(told)}); 'splits={{{largest}: 1}}' gives it all"
    ]
