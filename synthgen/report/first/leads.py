"""What a person must know of a run before its numbers: what needs attention, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from synthgen.quality.measures import MEASURES
from synthgen.report.facts import ACCEPTED, REJECTED, RunFacts
from synthgen.report.real import RunBank
from synthgen.report.svg import format_number
from synthgen.runs.progress import describe_found_parts
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.decide import count_reasons
from synthgen.sources.findings import is_doubtful, list_names

__all__ = ["Lead", "collect_leads", "list_leads"]

FEW = 0.5  # fraction of a class that was accepted, below which it is told
FEWEST_ASKED = 3
MANY_REJECTED = 0.1  # of the defect samples
ON_BACKGROUND = 0.2  # fraction of a label, as far as the usual limit goes
USUAL_EDGE = (0.85, 1.25)  # of the median width of edges over what the photo's blur gives
USUAL_GRAIN = (0.8, 1.25)  # of the median grain inside over that around
USUAL_SIZE = (0.8, 1.25)  # of the median area of labels over the asked one
USUAL_REAL = (0.5, 2.0)  # of the median area or contrast over that of the real ones
FAINT = 2.0  # of the median contrast of a class, CIELAB, which is hardly seen
FEWEST_MEASURED, FEWEST_REAL = 4, 3
FEW_PHOTOS, IMAGES_A_PHOTO = 10, 10
COPIES = ("real_bits", "reference_delta_e")  # limits that a copy of a real defect breaks
MAX_REASONS = 4  # limits told in one sentence
REMEDIES = {one.name: one.remedy for one in MEASURES}
TITLES = {one.name: one.title for one in MEASURES}
SEEN = (
    "look at some; if you cannot see them either, reject them by synthgen inspect quality=strict, "
    "or raise defect.<class>.shape.contrast, which classes of a bank do not have"
)
OPTICS = (  # column, what is usual, the words below and above it, and how it is told
    (
        "edge_width_ratio",
        USUAL_EDGE,
        ("sharper", "softer"),
        "The defects are {} than their photos: their edges are {} times as wide as "
        "the photo's own blur would make them (median).",
    ),
    (
        "grain_ratio",
        USUAL_GRAIN,
        ("smoother", "grainier"),
        "The defects are {} than the surface around them: their grain is {} times "
        "that of the photo there (median).",
    ),
    (
        "size_ratio",
        USUAL_SIZE,
        ("smaller", "larger"),
        "The labels are {} than asked for: their area is {} times the asked one (median).",
    ),
)
AGAINST_REAL = (  # column, what is off, its unit, and what to do
    (
        "area_px",
        "Sizes",
        " px",
        "see whether photos and bank show parts at one scale; sizes follow the part",
    ),
    (
        "contrast_delta_e",
        "Contrasts",
        "",
        "compare the real and the painted ones below; backend.painting.strength changes it",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Lead:
    """One sentence on a run. ``remedy``: what to do about it, '' = nothing, or it says so itself.

    ``needs_attention`` False: a fact that a person looks for first.
    """

    sentence: str
    needs_attention: bool = True
    remedy: str = ""


def list_leads(run: RunTables, facts: RunFacts) -> list[str]:
    """Return the sentences of ``collect_leads``, without the comparison with a bank."""
    return [one.sentence for one in collect_leads(run, facts)]


def collect_leads(run: RunTables, facts: RunFacts, bank: RunBank | None = None) -> list[Lead]:
    """Return what a person must know; what needs attention first, the most important of it first.

    Photos whose part was not found, labels on the background, classes of which few were accepted,
    what stopped the rejected ones, samples without an image, copies, sizes and contrasts that are
    off, also those of the real defects of ``bank``, and blur and grain that are not the photo's.
    """
    accepted = run.manifest[run.manifest["status"] == ACCEPTED]
    leads = [
        Lead(sentence=sentence, needs_attention=is_doubtful(sentence))
        for sentence in describe_found_parts(run.manifest)
    ]
    leads += _tell_background(accepted)
    leads += _tell_rejected(run.manifest, facts)
    leads += _tell_copies(run.manifest, accepted)
    leads += _tell_sizes(accepted, bank)
    leads += _tell_photos(facts)
    leads.sort(key=lambda one: not one.needs_attention)
    told = [one.remedy for one in leads]
    return [  # what to do is said once
        replace(one, remedy="") if one.remedy in told[:place] else one
        for place, one in enumerate(leads)
    ]


def _tell_background(accepted: pd.DataFrame) -> Iterator[Lead]:
    off_part = _numbers(accepted, "off_part_fraction")
    if count := int((off_part > ON_BACKGROUND).sum()):
        yield Lead(
            sentence=f"{count} of {len(off_part)} accepted labels lie on the background with more "
            f"than {100 * ON_BACKGROUND:.0f} % of their pixels, by the look of the photo.",
            remedy=REMEDIES["off_part_fraction"],
        )


def _tell_rejected(manifest: pd.DataFrame, facts: RunFacts) -> Iterator[Lead]:
    """Yield which classes came out short, what stopped the rejected ones, and what has no image."""
    few = [one for one in facts.classes if one.asked >= FEWEST_ASKED and one.accept_rate < FEW]
    if few:
        told = list_names([f"{one.name} {one.accepted} of {one.asked}" for one in few])
        rejected = manifest[manifest["defect_class"].isin([one.name for one in few])]
        cause = next(iter(count_reasons(rejected)))
        yield Lead(
            sentence=f"Few samples were accepted of {told}; what stopped most of them: {cause}.",
            remedy=_name_remedy(cause, rejected),
        )
    rejected = manifest[(manifest["status"] == REJECTED) & (manifest["image"] != "")]
    if len(rejected):
        reasons = count_reasons(rejected)
        told = ", ".join(
            f"{TITLES.get(name, name)} ({name}) {count}"
            for name, count in list(reasons.items())[:MAX_REASONS]
        )
        # without a defect class it is whole images that were varied
        asked = facts.accepted + facts.rejected if facts.classes else facts.asked
        what = "defect samples" if facts.classes else "varied images"
        yield Lead(
            sentence=f"{len(rejected)} of {asked} {what} were rejected in their last try, "
            f"by limit: {told}.",
            needs_attention=len(rejected) > MANY_REJECTED * asked,
            remedy="" if few else _name_remedy(next(iter(reasons)), rejected),
        )
    is_lost = (manifest["status"] == REJECTED) & (manifest["image"] == "")
    if count := int(is_lost.sum()):
        samples, their = ("1 sample", "its reason") if count == 1 else (f"{count} samples", "why")
        yield Lead(sentence=f"{samples} came to no image; {their} is told under Rejected.")


def _name_remedy(limit: str, rejected: pd.DataFrame) -> str:
    """Return what to do about a limit, for the class that broke it most often."""
    is_broken = rejected["reasons"].str.contains(limit, regex=False)
    classes = rejected.loc[is_broken, "defect_class"].value_counts().sort_index().index
    remedy = REMEDIES.get(limit, "")
    return remedy.replace("<class>", str(classes[0])) if len(classes) == 1 else remedy


def _tell_copies(manifest: pd.DataFrame, accepted: pd.DataFrame) -> Iterator[Lead]:
    """Yield how near the painted defects are to real ones and to one another."""
    reasons = count_reasons(manifest)
    if broken := {name: reasons[name] for name in COPIES if name in reasons}:
        told = ", ".join(f"{name} {count}" for name, count in broken.items())
        yield Lead(
            sentence=f"Some samples copied a real defect and were rejected: {told}.",
            remedy=REMEDIES["real_bits"],
        )
    if count := reasons.get("near_duplicate_bits", 0):
        yield Lead(
            sentence=f"{count} samples were rejected since they look like an earlier one.",
            remedy=REMEDIES["near_duplicate_bits"],
        )
    bits = _numbers(accepted, "real_bits")
    if len(bits):
        nearest = accepted["sample_id"].loc[bits.index[int(bits.argmin())]]
        yield Lead(
            sentence="The accepted defect that is most like a real one differs from it in "
            f"{format_number(float(bits.min()))} of 64 bits ({nearest}); see Nearest real.",
            needs_attention=False,
        )


def _tell_sizes(accepted: pd.DataFrame, bank: RunBank | None) -> Iterator[Lead]:
    """Yield what is off in size, contrast, blur and grain."""
    faint = [
        f"{name} {format_number(float(own.median()), 2)}"
        for name, rows in accepted.groupby("defect_class")
        if len(own := _numbers(rows, "contrast_delta_e")) >= FEWEST_MEASURED
        and own.median() < min(FAINT, _real_contrast(str(name), bank))
    ]
    if faint:
        yield Lead(
            sentence=f"Hardly to be seen, by their median contrast: {list_names(faint)}.",
            remedy=SEEN,
        )
    if bank is not None:
        yield from _tell_against_real(accepted, bank)
    for column, (least, most), (below, above), sentence in OPTICS:
        values = _numbers(accepted, column)
        middle = float(np.median(values)) if len(values) >= FEWEST_MEASURED else float("nan")
        if middle < least or middle > most:
            words = below if middle < least else above
            yield Lead(
                sentence=sentence.format(words, format_number(middle, 2)),
                remedy=REMEDIES[column],
            )


def _real_contrast(name: str, bank: RunBank | None) -> float:
    """Return the median contrast of the real defects of a class, or infinity where none is known.

    What is as faint in reality may be so here.
    """
    known = [] if bank is None else [item.contrast_delta_e for item in bank.of_class(name)]
    return float(np.nanmedian(known)) if len(known) >= FEWEST_REAL else float("inf")


def _tell_against_real(accepted: pd.DataFrame, bank: RunBank) -> Iterator[Lead]:
    """Yield which classes differ from the real defects of the bank in size or contrast."""
    for column, what, unit, remedy in AGAINST_REAL:
        off = []
        for name, rows in accepted.groupby("defect_class"):
            real = pd.Series([getattr(one, column) for one in bank.of_class(str(name))]).dropna()
            painted = _numbers(rows, column)
            if column == "area_px" and "instances" in rows:  # of one defect
                painted = painted / rows.loc[painted.index, "instances"].clip(lower=1)
            if len(painted) < FEWEST_MEASURED or len(real) < FEWEST_REAL or real.median() <= 0:
                continue
            ours, theirs = float(painted.median()), float(real.median())
            if not USUAL_REAL[0] <= ours / theirs <= USUAL_REAL[1]:
                times, ours_told, theirs_told = (
                    format_number(value, 2) for value in (ours / theirs, ours, theirs)
                )
                off.append(f"{name} {times} times ({ours_told} against {theirs_told}{unit})")
        if off:
            yield Lead(
                sentence=f"{what} are not those of the real defects, by the medians: "
                f"{list_names(off)}.",
                remedy=remedy,
            )


def _tell_photos(facts: RunFacts) -> Iterator[Lead]:
    images = facts.accepted + facts.good
    if not facts.drawn and facts.sources < FEW_PHOTOS and images > IMAGES_A_PHOTO * facts.sources:
        photos = "1 photo" if facts.sources == 1 else f"{facts.sources} photos"
        yield Lead(
            sentence=f"{images:,} images come from {photos}: a model may learn these by heart.",
            remedy="add photos of other good parts",
        )


def _numbers(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return what is known of a measurement; older runs do not have each of them."""
    return rows[name].dropna() if name in rows else pd.Series(dtype=float)
