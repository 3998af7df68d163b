"""The label model: what every format, and every training run, is told about an image.

    LabelledSet -> LabelledImage (file, split, group, defects) -> DefectLabel (class, box, mask)

Masks are the master, kept as COCO run lengths; boxes and areas are those of the masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.errors import ConfigError, RunError
from synthgen.exporting.intact import check_label_map, check_stored_image, check_tables
from synthgen.imaging.geometry import mask_to_box, mask_to_rle, rle_to_mask
from synthgen.imaging.headers import read_orientation
from synthgen.imaging.images import IGNORED, decode_image
from synthgen.progress import stage
from synthgen.realdata.records import GOOD, DatasetIndex
from synthgen.runs.manifest import is_augmented, photo_of
from synthgen.runs.reader import RunTables, read_present, read_run
from synthgen.runs.reviews.reviewed import read_review
from synthgen.runs.schema import columns_of
from synthgen.samples.sample import BoxXYWH
from synthgen.storage.files import check_name
from synthgen.storage.places import StoredFile
from synthgen.storage.provenance import ENHANCED, digital_source

__all__ = [
    "DefectLabel",
    "Include",
    "LabelledImage",
    "LabelledSet",
    "find_labelled",
    "label_defect",
    "label_images",
    "label_row",
    "read_defects",
    "read_labels",
]

Include = Literal["accepted", "reviewed", "all"]
STATUSES = {"accepted": ["accepted", "good"], "all": ["accepted", "good", "rejected"]}
NUMBERS = [column.name for column in columns_of("instances") if column.kind == "float64"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectLabel:
    """One defect of an image. ``rle``: COCO's compressed counts of its mask (column-major).

    ``facts``: its measurements and severity, where there are some.
    """

    class_id: int
    box: BoxXYWH
    area_px: int
    rle: str
    facts: Mapping[str, float] = field(default_factory=dict)

    def mask(self, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return its mask, (H, W) bool."""
        return rle_to_mask({"size": list(size_hw), "counts": self.rle})


def label_defect(class_id: int, mask: NDArray[np.bool_]) -> DefectLabel:
    """Return the label of a defect from its mask (H, W); raises ValueError for an empty one."""
    return DefectLabel(
        class_id=class_id,
        box=mask_to_box(mask),
        area_px=int(mask.sum()),
        rle=mask_to_rle(mask)["counts"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """One image and its defects; none = a good image.

    ``digital_source``: the IPTC's word for how it came to be, '' for a photograph.
    ``label_path``: a PNG of its class ids where there is one, 255 = neither good nor a defect.
    ``stored_ids``: the class id here of each id in that file; empty = they are the same.
    ``facts``: what else is known (prompt, seed, fill_fraction, ...); plain values. ``is_turned``:
    EXIF turns its file; sizes and masks are those of the upright image.
    """

    sample_id: str
    path: StoredFile
    split: str
    group: str  # the physical part; never in two splits
    size_hw: tuple[int, int]
    defects: tuple[DefectLabel, ...]
    digital_source: str = ""
    label_path: StoredFile | None = None
    stored_ids: Mapping[int, int] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    is_turned: bool = False

    @property
    def is_synthetic(self) -> bool:
        """Whether something in it was generated; a photo that was only varied is not synthetic."""
        return self.digital_source not in ("", ENHANCED)

    @property
    def file_name(self) -> str:
        """Its name in a dataset: the sample id and the suffix of its file there."""
        return f"{self.sample_id}{self.suffix}"

    @property
    def suffix(self) -> str:
        """What its file in a dataset ends with; one that EXIF turns becomes an upright PNG."""
        return ".png" if self.is_turned else self.path.suffix.lower()

    def class_map(self) -> NDArray[np.uint8]:
        """Return the class id of each pixel, (H, W) uint8; 0 = good, later defects on top."""
        classes = np.zeros(self.size_hw, np.uint8)
        for defect in self.defects:
            classes[defect.mask(self.size_hw)] = defect.class_id
        return classes

    def label_map(self) -> NDArray[np.uint8]:
        """Return the class ids with 255 where the run says neither good nor a defect, (H, W).

        They are read from ``label_path`` where there is one. Raises RunError where that file is
        gone, or is not the one that the run wrote.
        """
        file = self.label_path
        if file is None:
            return self.class_map()
        data, digest = read_present(file), str(self.facts.get("mask_digest") or "")
        check_stored_image(data, self.size_hw, digest, file)
        pixels = decode_image(data, str(file))
        own = {defect.class_id for defect in self.defects}
        if self.stored_ids:
            own = {stored for stored, class_id in self.stored_ids.items() if class_id in own}
        check_label_map(pixels, self.size_hw, frozenset({0, IGNORED, *own}), str(file))
        new_id = np.arange(256, dtype=np.uint8)
        for stored, class_id in self.stored_ids.items():
            new_id[stored] = class_id
        renumbered: NDArray[np.uint8] = new_id[pixels]
        return renumbered

    def instance_map(self) -> NDArray[np.uint16]:
        """Return the number of the defect of each pixel, 1.., (H, W) uint16; 0 = good."""
        numbers = np.zeros(self.size_hw, np.uint16)
        for number, defect in enumerate(self.defects, start=1):
            numbers[defect.mask(self.size_hw)] = number
        return numbers


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Images in the order of their ids, and the classes that they may hold, by name.

    Raises RunError for ids that are there twice, and for ids and splits that cannot name files.
    ``record``: what the run says of itself (config, versions, checkpoint), for the datasheet.
    ``run_ids``: the ids of the classes in the run, by name, where ``classes`` has other ones.
    """

    classes: Mapping[str, int]
    images: Sequence[LabelledImage]
    record: Mapping[str, Any] = field(default_factory=dict)
    run_ids: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ordered = sorted(self.images, key=lambda image: image.sample_id)
        object.__setattr__(self, "images", tuple(ordered))
        object.__setattr__(
            self, "classes", dict(sorted(self.classes.items(), key=lambda item: item[1]))
        )
        for split in self.splits:
            check_name(split, "split")
        ids = [check_name(image.sample_id, "sample_id") for image in self.images]
        if len(set(ids)) < len(ids):
            raise RunError("two images of the dataset have one sample_id; ids must differ")

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[LabelledImage]:
        return iter(self.images)

    @property
    def names(self) -> dict[int, str]:
        """Class names by id."""
        return {class_id: name for name, class_id in self.classes.items()}

    @property
    def splits(self) -> list[str]:
        """The splits in use: train, val, test first."""
        usual = {"train": 0, "val": 1, "test": 2}
        used = {image.split for image in self.images}
        return sorted(used, key=lambda split: (usual.get(split, 3), split))

    def of_split(self, split: str) -> list[LabelledImage]:
        """Return the images of one split, in order."""
        return [image for image in self.images if image.split == split]

    def kinds(self, image: LabelledImage) -> list[str]:
        """Return the names of the classes in an image; ["good"] for a good one."""
        names = self.names
        return sorted({names[defect.class_id] for defect in image.defects}) or [GOOD]

    def counts(self) -> pd.DataFrame:
        """Return images by class (rows, "good" last) and split (columns)."""
        rows = [(kind, image.split) for image in self.images for kind in self.kinds(image)]
        table = pd.DataFrame(rows, columns=["class", "split"])
        counted = pd.crosstab(table["class"], table["split"])
        order = [*self.classes, GOOD]
        return counted.reindex(index=order, columns=self.splits, fill_value=0)

    def with_splits(self, split_of: Mapping[str, str]) -> LabelledSet:
        """Return the set with the split of each group as given; every group must have one."""
        images = [replace(image, split=split_of[image.group]) for image in self.images]
        return replace(self, images=images)


def label_images(scanned: DatasetIndex) -> LabelledSet:
    """Return what a dataset's files say as labels; each image is a group of its own.

    Raises ValueError for a defect with an empty mask.
    """
    images = [
        LabelledImage(
            sample_id=one.name,
            path=StoredFile.at(one.path),
            split=one.split,
            group=one.name,
            size_hw=one.size_hw,
            defects=tuple(
                label_defect(scanned.classes[d.defect_class], d.mask) for d in one.defects
            ),
            digital_source=one.digital_source,
            is_turned=one.path.is_file() and read_orientation(one.path) != 1,
        )
        for one in scanned.images
    ]
    return LabelledSet(scanned.classes, images)


@stage("reading and checking the run")
def read_labels(run_folder: Path | str, include: Include = "accepted") -> LabelledSet:
    """Return the labelled images of a finished run, good ones among them.

    ``accepted``: what met the limits; ``reviewed``: what a person accepted, with the good images
    that nobody rejected; ``all``: rejected samples, too. A defect that left no label is never among
    them, since it would pass for a good image. Raises ConfigError, and RunError where the run's
    tables do not go together (see ``check_tables``).
    """
    if include not in (*STATUSES, "reviewed"):
        raise ConfigError(f"include={include!r} must be accepted, reviewed or all")
    run = read_run(run_folder)
    manifest, review = run.manifest, read_review(run)
    if include == "reviewed":
        if not review.reviewers:
            raise RunError(
                f"{run.root} has not been reviewed: it has no verdicts; export include=accepted, "
                "or review it first"
            )
        is_included = review.is_included
    else:
        is_included = manifest["status"].isin(STATUSES[include])
    rows = manifest[find_labelled(manifest) & is_included]
    if rows.empty:
        raise RunError(f"{run_folder} holds no sample to export; see {run_folder}/report.html")
    check_tables(run, rows)
    defects = read_defects(run)
    images = [
        label_row(run, row, defects.get(row["sample_id"], ())) for row in rows.to_dict("records")
    ]
    reviewed = {"reviewers": review.reviewers, "left_out": review.left_out}
    record = run.record | {"quality": run.quality, "review": reviewed}
    return LabelledSet(run.classes, images, record)


def find_labelled(manifest: pd.DataFrame) -> pd.Series:
    """Return which samples of a manifest have an image and, where it shows a defect, a label."""
    is_labelled = (manifest["defect_class"] == "") | (manifest["instances"] > 0)
    return is_labelled & (manifest["image"] != "")


def read_defects(run: RunTables) -> dict[str, list[DefectLabel]]:
    """Return the labels of a run's defects by sample."""
    defects: dict[str, list[DefectLabel]] = {}
    for row in run.instances.to_dict("records"):
        defect = DefectLabel(
            class_id=int(row["class_id"]),
            box=BoxXYWH(*(int(row[key]) for key in ("box_x", "box_y", "box_w", "box_h"))),
            area_px=int(row["area_px"]),
            rle=str(row["rle"]),
            facts={name: float(row[name]) for name in NUMBERS if pd.notna(row[name])},
        )
        defects.setdefault(row["sample_id"], []).append(defect)
    return defects


def label_row(
    run: RunTables, row: Mapping[Any, Any], defects: Sequence[DefectLabel]
) -> LabelledImage:
    """Return one row of a run's manifest with its defects as a labelled image."""
    made = (not photo_of(row), str(row["backend"]), str(row["checkpoint"]), is_augmented(row))
    return LabelledImage(
        sample_id=str(row["sample_id"]),
        path=run.stored(str(row["image"])),
        split=str(row["split"]),
        group=str(row["group"]),
        size_hw=(int(row["height"]), int(row["width"])),
        defects=tuple(defects),
        digital_source=digital_source(*made),
        label_path=run.stored(str(row["mask"])),
        facts={str(key): value for key, value in row.items()},
    )
