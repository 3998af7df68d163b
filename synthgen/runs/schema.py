"""The one table of what a run records: a row per column of its tables.

Derived from ``COLUMNS``: the tables that are written, the values of columns that an older run
lacks, what the review shows and where, which columns a drawn label decides, which are paths that no
dataset takes along, and the columns in docs/reference/run-folder.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synthgen.quality.measures import MEASURES, Measure

__all__ = [
    "COLUMNS",
    "FILLERS",
    "GROUPS",
    "Column",
    "Kind",
    "Table",
    "columns_of",
    "fill_values",
    "measure_names",
    "names_of",
]

Kind = Literal["str", "int64", "float64"]
Table = Literal["manifest", "instances", "tries", "timings", "files"]
Group = Literal["review", "sample", "measures", "how it was made", ""]
GROUPS: tuple[Group, ...] = ("review", "sample", "measures", "how it was made")  # as shown
FILLERS: Mapping[Kind, Any] = {"str": "", "int64": 0, "float64": float("nan")}
MANIFEST: tuple[Table, ...] = ("manifest",)
LABELS: tuple[Table, ...] = ("manifest", "instances")
TRIES: tuple[Table, ...] = ("manifest", "tries")
ALL: tuple[Table, ...] = ("manifest", "instances", "tries")
INSTANCES: tuple[Table, ...] = ("instances",)
TIMINGS: tuple[Table, ...] = ("timings",)
FILES: tuple[Table, ...] = ("files",)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of one or several tables.

    ``group``: under what the review shows it; "" = not as a field of its own. ``since``: the
    version that first wrote it; a reader gives older runs the value of ``FILLERS`` for its kind.
    ``is_path``: a file of the run or of this machine, or its digest; neither means anything in a
    dataset.
    ``from_label``: decided again when a person draws the label. ``meaning``: one sentence for
    docs/reference/run-folder.md. A column of a field of SampleSpec or Attempt is written by its
    name alone.
    """

    name: str
    kind: Kind
    tables: tuple[Table, ...]
    meaning: str
    group: Group = ""
    since: str = "0.1.0"
    is_path: bool = False
    from_label: bool = False


def _measure_column(measure: Measure) -> Column:
    """Return the column of a measure. One of a label is of each defect, too, and is measured again
    where a person draws the label."""
    of_label = measure.scope == "label"
    return Column(
        measure.name,
        "float64",
        ALL if of_label else MANIFEST if measure.scope == "run" else TRIES,
        measure.in_words,
        "measures",
        measure.since,
        from_label=of_label,
    )


SAMPLE: Group = "sample"
MADE: Group = "how it was made"
COLUMNS: tuple[Column, ...] = (
    Column("sample_id", "str", (*ALL, *TIMINGS), "text id, also the stem of the files"),
    Column("instance_id", "int64", INSTANCES, "number of the defect in its image, from 1"),
    Column("status", "str", TRIES, "accepted, rejected or good", SAMPLE),
    Column("reasons", "str", TRIES, "the broken limits, joined by `; `", SAMPLE),
    Column("attempt", "int64", TRIES, "number of the try, from 0", SAMPLE),
    Column("step", "str", ("tries",), "what was changed for it: first, noise, stronger, place"),
    Column("revision", "int64", MANIFEST, "how often people had it made again", SAMPLE),
    Column(
        "edited_by",
        "str",
        MANIFEST,
        "who drew its label, '' where it was measured",
        "review",
        from_label=True,
    ),
    Column("defect_class", "str", LABELS, "its name, '' for a good image", SAMPLE, from_label=True),
    Column(
        "class_id",
        "int64",
        LABELS,
        "id of the class in masks, 1..254, or 0 for a good image",
        SAMPLE,
        from_label=True,
    ),
    Column("source_id", "str", MANIFEST, "the good image that it was made from", MADE),
    Column("source_path", "str", MANIFEST, "the clean image, to the pixel", is_path=True),
    Column(
        "photo",
        "str",
        MANIFEST,
        "the real photo behind it, '' for a drawn surface",
        MADE,
        is_path=True,
    ),
    Column(
        "part_finding",
        "str",
        MANIFEST,
        "how the part was found: part, surface, unsure, given",
        MADE,
        "0.2.0",
    ),
    Column(
        "part",
        "str",
        MANIFEST,
        "its outline: height, width and run lengths of a small mask",
        since="0.2.0",
    ),
    Column(
        "group", "str", MANIFEST, "the physical part behind the source, never in two splits", MADE
    ),
    Column("split", "str", MANIFEST, "train, val, test", SAMPLE),
    Column(
        "reference",
        "str",
        MANIFEST,
        "the real defect of a bank that lent its look, or ''",
        MADE,
    ),
    Column("reference_group", "str", MANIFEST, "the part that it was on", MADE),
    Column(
        "seed",
        "int64",
        MANIFEST,
        "of the sample, which with placement, attempt and variant fixes all draws",
        MADE,
    ),
    Column(
        "placement", "int64", TRIES, "how often shape and place were drawn again", MADE, "0.2.0"
    ),
    Column("boost", "int64", TRIES, "how often the painting was boosted since then", MADE, "0.2.0"),
    Column(
        "variant", "int64", TRIES, "which of several paintings of the try, from 0", MADE, "0.2.0"
    ),
    Column(
        "guidance_factor",
        "float64",
        TRIES,
        "by which the try multiplied the guidance",
        MADE,
        "0.2.0",
    ),
    Column(
        "strength_added",
        "float64",
        TRIES,
        "what the try added to the strength",
        MADE,
        "0.2.0",
    ),
    Column("backend", "str", MANIFEST, "what painted it, '' where nothing was painted", MADE),
    Column("checkpoint", "str", MANIFEST, "the weights, with revision or digest", MADE),
    Column("prompt", "str", MANIFEST, "what the model was told", MADE),
    Column("severity", "float64", LABELS, "from 0, hardly visible, to 1, strong", MADE),
    Column("image", "str", MANIFEST, "the finished image, '' where there is none", is_path=True),
    Column("mask", "str", MANIFEST, "class id of each pixel", is_path=True, from_label=True),
    Column(
        "image_digest",
        "str",
        MANIFEST,
        "CRC-32 and length of the image's file, hexadecimal",
        since="0.2.0",
        is_path=True,
    ),
    Column(
        "mask_digest",
        "str",
        MANIFEST,
        "the same of the mask's",
        since="0.2.0",
        is_path=True,
        from_label=True,
    ),
    Column("requested", "str", MANIFEST, "the mask that was asked for", is_path=True),
    Column("control", "str", MANIFEST, "the first control image", is_path=True),
    Column("width", "int64", MANIFEST, "of the image, pixels"),
    Column("height", "int64", MANIFEST, "of the image, pixels"),
    Column("instances", "int64", MANIFEST, "number of defects", SAMPLE, from_label=True),
    Column("area_px", "int64", ALL, "pixels of the label", SAMPLE, from_label=True),
    Column("box_x", "int64", LABELS, "left edge of the label's box, pixels", from_label=True),
    Column("box_y", "int64", LABELS, "its top edge", from_label=True),
    Column(
        "box_w", "int64", LABELS, "its width, where the right edge is exclusive", from_label=True
    ),
    Column(
        "box_h", "int64", LABELS, "its height, where the bottom edge is exclusive", from_label=True
    ),
    Column("rle", "str", INSTANCES, "COCO run lengths of the defect's mask, column-major"),
    *(_measure_column(one) for one in MEASURES if one.name != "area_px" and one.scope != "run"),
    Column(
        "perceptual_hash",
        "str",
        MANIFEST,
        "perceptual hash around the label, hexadecimal",
        from_label=True,
    ),
    Column(
        "colours", "str", MANIFEST, "mean colours around the label, hexadecimal", from_label=True
    ),
    Column(
        "near_duplicate_id",
        "str",
        MANIFEST,
        "the accepted sample that is most alike, or ''",
        "measures",
    ),
    *(_measure_column(one) for one in MEASURES if one.scope == "run"),
    Column("condition", "float64", TIMINGS, "seconds until the model could paint"),
    Column("paint", "float64", TIMINGS, "seconds of painting"),
    Column("inspect", "float64", TIMINGS, "seconds of measuring and labelling"),
    Column("write", "float64", TIMINGS, "seconds of writing"),
    Column("name", "str", FILES, "a file that lies in a tar, as the manifest names it"),
    Column("tar", "str", FILES, "the tar"),
    Column("offset", "int64", FILES, "where its bytes begin"),
    Column("size", "int64", FILES, "how many bytes"),
    Column("sample_id", "str", FILES, "its sample, '' for a source, which many samples share"),
)


def columns_of(table: Table) -> tuple[Column, ...]:
    """Return the columns of a table, in order."""
    return tuple(column for column in COLUMNS if table in column.tables)


def names_of(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return the names of columns.

    >>> names_of(columns_of("files"))
    ('name', 'tar', 'offset', 'size', 'sample_id')
    """
    return tuple(column.name for column in columns)


def measure_names(*, of_mask: bool) -> tuple[str, ...]:
    """Return the measurements that each defect has of its own, or those of whole images."""
    measured = (column for column in columns_of("tries") if column.group == "measures")
    return names_of(column for column in measured if ("instances" in column.tables) == of_mask)


def fill_values(table: Table, present: Iterable[str]) -> dict[str, Any]:
    """Return a value for each column of a table that is not among ``present``: '', 0 or NaN."""
    known = set(present)
    return {c.name: FILLERS[c.kind] for c in columns_of(table) if c.name not in known}
