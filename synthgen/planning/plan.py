"""The plan: every choice for every sample, drawn before anything is painted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import count as count_up
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field, SkipValidation
from pydantic.dataclasses import dataclass

from synthgen.defects import DefectKind
from synthgen.defects.drawing.checks import Span
from synthgen.defects.drawing.lines import Line
from synthgen.errors import ConfigError
from synthgen.planning.missed import MissedDefect, severity_for
from synthgen.planning.prompts import PromptSettings, PromptWriter, SeverityWords, Template, Wording
from synthgen.progress import stage
from synthgen.references.lending import References
from synthgen.samples.sample import SampleSpec
from synthgen.samples.seeds import stream
from synthgen.sources import SourceEntry, Sources

__all__ = ["DefectClass", "Splits", "draw_plan", "find_empty_train", "split_groups"]

CHECKED = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
Splits = Mapping[str, float]


@dataclass(frozen=True, config=CHECKED)
class DefectClass:
    """One kind of flaw: its id in labels, its word in prompts, how it is drawn, how much of it.

    ``shape`` None: drawn only from real defects of a bank. Raises ValueError where a span does not
    run upward within its bounds.
    """

    class_id: Annotated[int, Field(ge=1, le=254)]  # 255 = ignored
    noun: Annotated[str, Field(min_length=1)]
    shape: SkipValidation[DefectKind | None]
    weight: Annotated[float, Field(gt=0)] = 1.0  # how many images it gets, relative to others
    instances: tuple[int, int] = (1, 1)  # defects an image, from .. to
    severity: Span = (0.15, 1.0)  # 0 = barely visible .. 1 = strong
    close_px: Annotated[int, Field(ge=0, le=15)] = 2  # a gap in the change that is still one defect
    synonyms: tuple[Annotated[str, Field(min_length=1)], ...] | None = None  # None = the known ones
    template: Template | None = None  # None, here and below: as the run's prompts are
    severity_words: SeverityWords | None = None
    negative: str | None = None
    place: Literal["anywhere", "edge"] = "anywhere"  # edge: of the part, where one is seen

    def __post_init__(self) -> None:
        low, high = self.instances
        if not 1 <= low <= high <= 20:
            raise ValueError(f"instances [{low}, {high}] must run upward between 1 and 20")
        if not 0 <= self.severity[0] <= self.severity[1] <= 1:
            raise ValueError(f"severity {list(self.severity)} must lie between 0 and 1")

    def wording(self) -> Wording:
        """Return what its prompts are made of."""
        return Wording(self.noun, self.synonyms, self.template, self.severity_words, self.negative)


@stage("planning")
def draw_plan(
    sources: Sources,
    classes: Mapping[str, DefectClass],
    count: int,
    good: int,
    splits: Splits,
    seed: int,
    prompts: PromptWriter | None = None,
    missed: Sequence[MissedDefect] = (),
    missed_fraction: float = 0.0,
    references: References | None = None,
) -> list[SampleSpec]:
    """Return ``count`` defect samples and ``good`` good ones, in order.

    Classes come in the ratio of their weights; sources are gone through in a shuffled order, again
    and again; the split is that of the source's group. ``prompts`` None: each class by its noun.
    ``missed_fraction`` 0..1 of the defect samples ask for what is in ``missed``, one after the
    other. Parts whose real defects lend their look are split like those of the sources: a reference
    defect's part and what is drawn after it are in one split. Raises ConfigError for classes that
    share an id, impossible splits, and a class whose real defects are in no split of the sources.
    """
    names = _spread_classes(classes, count)
    prompts = prompts or PromptWriter(PromptSettings(synonym_fraction=0.0))
    groups = [e.group for e in sources.entries]
    split_of = split_groups(groups + (references.groups if references else []), splits, seed)
    lenders = _Lenders(references, classes, split_of, {split_of[group] for group in groups})
    wishes: dict[int, MissedDefect] = {}
    if missed:  # in turn, anywhere along the run
        chosen = stream(seed, "gaps").permutation(count)[: round(count * missed_fraction)]
        wishes = {int(index): missed[n % len(missed)] for n, index in enumerate(sorted(chosen))}
    endless = (  # each source once a turn, every turn in another order
        sources.entries[int(place)]
        for turn in count_up()
        for place in stream(seed, "sources", turn).permutation(len(sources.entries))
    )
    specs = []
    for index in range(count + good):
        miss = wishes.get(index)
        name = names[index] if index < count else None
        if miss is not None:
            name = miss.defect_class
        entry = next(e for e in endless if lenders.can_draw(name, split_of[e.group]))
        spec = _draw_spec(entry, split_of[entry.group], name, classes, seed, index, prompts)
        spec = lenders.name_reference(spec, seed)
        if miss is None:
            specs.append(lenders.count_lines(spec, seed))
            continue
        contrast, span = miss.contrast_delta_e, classes[miss.defect_class].severity
        asked = replace(
            spec,
            severity=spec.severity if contrast is None else severity_for(contrast, span),
            asked_area_px=miss.area_px,
            asked_x=spec.asked_x if miss.x is None else miss.x,
            asked_y=spec.asked_y if miss.y is None else miss.y,
        )
        specs.append(asked)
    return specs


class _Lenders:
    """Which samples are drawn after a real defect, and after which.

    A sample's reference defect is of its class and of a part in its own split. Raises ConfigError
    where a class without a shape has none in the ``splits`` that the sources are in.
    """

    def __init__(
        self,
        references: References | None,
        classes: Mapping[str, DefectClass],
        split_of: Mapping[str, str],
        splits: Collection[str],
    ) -> None:
        self._references, self._classes = references, classes
        self._due: dict[str, float] = {}  # by class: how much of a fraction is still to be lent
        self._groups: dict[tuple[str, str], list[str]] = {}
        for name in references.classes if references else ():
            for group in sorted(references.groups_of(name) if references else ()):
                self._groups.setdefault((name, split_of[group]), []).append(group)
        for name, kind in classes.items():
            lent = sorted(split for own, split in self._groups if own == name)
            if kind.shape is None and not set(lent) & set(splits):
                raise ConfigError(
                    f"the bank's defects of class {name!r} are in the split {', '.join(lent)}, "
                    f"where no source is, only in {', '.join(sorted(splits))}; give more sources, "
                    "or splits={train: 1}"
                )

    def can_draw(self, name: str | None, split: str) -> bool:
        """Say whether a sample of a class, None = a good one, can be drawn in a split."""
        return name is None or self._classes[name].shape is not None or self._has(name, split)

    def _has(self, name: str, split: str) -> bool:
        return (name, split) in self._groups

    def name_reference(self, spec: SampleSpec, seed: int) -> SampleSpec:
        """Return the spec with a reference defect, or as it is where none is due.

        With ``own_place`` the spec also asks for the place that the bank gives for that defect.
        """
        name = spec.defect_class
        if self._references is None or name is None or not self._has(name, spec.split):
            return spec
        # the name decides the draws: plans of before stay as they were
        rng, settings = stream(seed, "donor", spec.index), self._references.settings
        if self._classes[name].shape is not None:
            # half a defect to begin with, so that the count is rounded and not cut
            self._due[name] = self._due.get(name, 0.5) + settings.fraction
            if self._due[name] < 1:
                return spec
            self._due[name] -= 1
        item = self._references.pick(rng, name, self._groups[name, spec.split])
        spec = replace(spec, reference=item.item_id, reference_group=item.group)
        if not settings.own_place:
            return spec
        x, y = self._references.place(rng, item)
        return replace(spec, asked_x=x, asked_y=y)

    def count_lines(self, spec: SampleSpec, seed: int) -> SampleSpec:
        """Return a spec of drawn lines with as many of them as the bank's images have."""
        name = spec.defect_class
        if self._references is None or name is None or spec.reference:
            return spec
        if not isinstance(self._classes[name].shape, Line):
            return spec
        count = self._references.count_lines(stream(seed, "lines", spec.index))
        return spec if count is None else replace(spec, instances=count)


def _spread_classes(classes: Mapping[str, DefectClass], count: int) -> list[str]:
    """Return class names in the ratio of their weights, evenly mixed along the run.

    Raises ConfigError where there is no class, or two of them have one id.
    """
    if count and not classes:
        raise ConfigError("defect names no class; give at least one, e.g. defect=[scratch,crack]")
    seen: dict[int, str] = {}
    for name, kind in classes.items():
        if kind.class_id in seen:
            raise ConfigError(
                f"defect.{name}.class_id={kind.class_id} is also that of "
                f"{seen[kind.class_id]!r}; give each class its own"
            )
        seen[kind.class_id] = name
    if not count:
        return []
    names = sorted(classes)
    weights = np.array([classes[name].weight for name in names], float)
    fractions = weights / weights.sum()
    due = np.zeros(len(names))  # what each class is still owed; the largest claim comes next
    order = []
    for _ in range(count):
        due += fractions
        pick = int(due.argmax())
        due[pick] -= 1
        order.append(names[pick])
    return order


def _draw_spec(
    entry: SourceEntry,
    split: str,
    name: str | None,
    classes: Mapping[str, DefectClass],
    seed: int,
    index: int,
    prompts: PromptWriter,
) -> SampleSpec:
    """Return one sample of a class, ``name`` None = a good one, drawn from a stream of its own."""
    rng = stream(seed, "spec", index)
    own_seed = int(rng.integers(2**63 - 1))
    kind = None if name is None else classes[name]
    severity = 0.0 if kind is None else float(rng.uniform(*kind.severity))
    wording = None if kind is None else kind.wording()
    low, high = (0, 0) if kind is None else kind.instances
    texts = prompts.write(name, wording, severity, entry.surface, own_seed)
    return SampleSpec(
        sample_id=f"{name or 'good'}-{index:06d}",
        index=index,
        seed=own_seed,
        defect_class=name,
        class_id=0 if kind is None else kind.class_id,
        source_id=entry.source_id,
        group=entry.group,
        split=split,
        prompt=texts.prompt,
        negative_prompt=texts.negative_prompt,
        instances=0 if kind is None else int(rng.integers(low, high + 1)),
        severity=severity,
    )


def split_groups(groups: Sequence[str], splits: Splits, seed: int) -> dict[str, str]:
    """Return the split of each group: whole groups, in the given shares, shuffled by ``seed``.

    Shares are relative: they need not sum to 1. Raises ConfigError for a negative one, and where
    all are 0.

    >>> split_groups(["a", "b"], {"train": 1.0}, 0)
    {'a': 'train', 'b': 'train'}
    """
    fractions = {name: fraction for name, fraction in splits.items() if fraction > 0}
    if not fractions or any(fraction < 0 for fraction in splits.values()):
        raise ConfigError(f"splits={dict(splits)} must hold shares of 0 or more, not all 0")
    unique = sorted(set(groups))
    order = stream(seed, "splits").permutation(len(unique))
    bounds = np.cumsum(list(fractions.values())) / sum(fractions.values())
    names = list(fractions)
    # a group belongs where its middle lies, so that shares are rounded for every split alike
    middle = (np.arange(len(unique)) + 0.5) / len(unique)
    chosen = np.minimum(np.searchsorted(bounds, middle), len(names) - 1)
    return dict(sorted((unique[int(o)], names[int(c)]) for o, c in zip(order, chosen, strict=True)))


def find_empty_train(specs: Sequence[SampleSpec], splits: Splits) -> list[str]:
    """Return a sentence where no sample is in the split train, though ``splits`` asks for some."""
    if splits.get("train", 0) <= 0 or any(spec.split == "train" for spec in specs):
        return []
    parts = len({spec.group for spec in specs})
    used = ", ".join(sorted({spec.split for spec in specs}))
    return [
        f"nothing is in the split train: {parts} parts are all in {used}; give photos of more "
        "parts, or another splits="
    ]
