"""What goes into an export: which samples, in which splits, with which real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.errors import ConfigError
from synthgen.exporting.labels import Include, LabelledSet, read_labels
from synthgen.exporting.media import Media, MediaMode
from synthgen.exporting.mix import mix, read_real_images
from synthgen.exporting.numbering import (
    ClassIds,
    check_same_ids,
    number_contiguously,
    read_class_ids,
)
from synthgen.exporting.signing import make_signer
from synthgen.exporting.splits import split_anew
from synthgen.realdata.records import GOOD
from synthgen.realdata.settings import RealSettings

__all__ = ["ExportContent", "ExportSettings", "MixSettings", "gather", "make_media"]

STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, config=STRICT)
class MixSettings(RealSettings):
    """The ``real`` part of the config: what is mixed in, and how much is added to it.

    ``synthetic_per_real``: synthetic images per real one in the split train; None = all.
    """

    synthetic_per_real: Annotated[float, Field(ge=0)] | None = None


@checked(frozen=True, config=STRICT)
class SignSettings:
    """The ``sign`` part of the config: PEM files, and the algorithm of the key."""

    certificate: Annotated[str, Field(min_length=1)]
    key: Annotated[str, Field(min_length=1)]
    alg: str = "es256"


@checked(frozen=True, config=STRICT)
class ExportSettings:
    """What an export is told, beside the run and the formats.

    ``ids``: class ids of the config, or 1, 2, 3, ... without gaps. ``split`` None keeps the splits
    of the plan. ``seed`` is for new splits and for the choice of synthetic images. ``licence`` is
    the dataset's; None = as the record of the run has it.
    """

    out: Annotated[str, Field(min_length=1)]
    include: Include = "accepted"
    media: MediaMode = "copy"
    ids: ClassIds = "config"
    split: Mapping[str, float] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    real: MixSettings = MixSettings()
    sign: SignSettings | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class ExportContent:
    """The labelled images of an export, and sentences that its user should read."""

    labels: LabelledSet
    notes: Sequence[str]


def gather(run_folder: Path | str, settings: ExportSettings) -> ExportContent:
    """Return what is to be exported, with notes on what was left out and what splits lack.

    Raises RunError for a run that is damaged or not reviewed, SourceError and ShapeError for real
    data that cannot be read, ConfigError for settings that exclude each other.
    """
    labels = read_labels(run_folder, settings.include)
    reviewed = settings.include == "reviewed"
    notes: list[str] = [labels.record["review"]["left_out"]] if reviewed else []
    if settings.real.path is not None:
        if settings.split is not None:
            raise ConfigError(
                "split and real.path exclude each other: real splits stay as they are"
            )
        told: list[str] = []
        real = read_real_images(settings.real, told)
        mixed = mix(labels, real, settings.real.synthetic_per_real, settings.seed)
        labels = mixed.labels
        notes += [*mixed.notes, *told]
        # labels are of the upright image, whatever its file says
        turned = sum(image.is_turned for image in real)
        if turned and settings.media == "refer":
            notes.append(
                f"{turned} real images are turned by EXIF: readers that ignore it see them lie "
                "across their labels; media=copy writes them upright"
            )
        elif turned:
            notes.append(f"{turned} real images that EXIF turns are written upright, as PNG")
    elif settings.split is not None:
        labels = split_anew(labels, settings.split, settings.seed)
        notes += [
            f"split {name} is empty: there are too few parts for {fraction:g} of them"
            for name, fraction in settings.split.items()
            if fraction > 0 and name not in labels.splits
        ]
    if settings.ids == "contiguous":
        before = read_class_ids(settings.real.path) if settings.real.path else None
        goes_on = before is not None and before[0] == "contiguous"
        labels = number_contiguously(labels, before[1] if before and goes_on else None)
    check_same_ids(labels, settings.ids, settings.real)
    if settings.licence is not None:
        labels = replace(labels, record={**labels.record, "licence": settings.licence})
    return ExportContent(labels, [*notes, *_gaps(labels)])


def make_media(settings: ExportSettings) -> Media:
    """Return what puts images into the dataset; raises ConfigError where it cannot sign."""
    if settings.sign is None:
        return Media(settings.media)
    if settings.media == "refer":
        raise ConfigError("sign and media=refer exclude each other; give media=copy to sign images")
    sign = settings.sign
    return Media(settings.media, make_signer(Path(sign.certificate), Path(sign.key), sign.alg))


def _gaps(labels: LabelledSet) -> list[str]:
    """Say which classes a split lacks though others have them."""
    counts = labels.counts()
    sentences = []
    for split in labels.splits:
        lacking = [
            str(kind)
            for kind in counts.index
            if counts.loc[kind].sum() and not counts.loc[kind, split]
        ]
        if lacking:
            what = ", ".join("good images" if kind == GOOD else kind for kind in lacking)
            sentences.append(f"split {split} has no {what}")
    return sentences
