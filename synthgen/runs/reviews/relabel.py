"""A label that a person drew: measured against the files of the run, as rows of its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import RunError, ShapeError
from synthgen.imaging.geometry import mask_to_box, mask_window, nearest_instance
from synthgen.imaging.images import decode_image, encode_png, grey_window, to_rgb8
from synthgen.quality.measures import WINDOW_PX, ChangeView, measure_label
from synthgen.quality.realised import to_lab
from synthgen.runs.manifest import file_stem, instance_row, label_columns
from synthgen.runs.reader import RunTables
from synthgen.samples.arrays import Mask
from synthgen.samples.sample import Annotation
from synthgen.storage.files import digest_file

__all__ = ["EditedInstance", "RelabelResult", "check_label", "relabel"]

MAX_INSTANCES = 255


@dataclass(frozen=True, slots=True, eq=False)
class EditedInstance:
    """One defect as a person sees it. ``mask`` (H, W) bool, in the size of the image."""

    defect_class: str
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class RelabelResult:
    """``row``: the columns of the manifest that are ``from_label``. ``instances``: rows of that
    table.

    ``label``: the PNG of class ids, to lie where ``row["mask"]`` says.
    """

    row: Mapping[str, Any]
    instances: Sequence[Mapping[str, Any]]
    label: bytes


def relabel(
    run: RunTables, row: Mapping[str, Any], instances: Sequence[EditedInstance], reviewer: str
) -> RelabelResult:
    """Measure a new label of a sample, whose ``row`` is that of the manifest.

    The image is as it was, so only what tells of the label is measured. NaN is what the files of a
    run do not tell: ``off_object_fraction``, and ``change_delta_e`` and ``clipped_fraction`` where
    the source is gone. Of the asked mask each pixel belongs to the nearest defect. The class of the
    sample is that of most pixels. ``check_label`` goes before it. Raises RunError.
    """
    sample_id = str(row["sample_id"])
    owners, classes = (np.zeros((int(row["height"]), int(row["width"])), np.uint8) for _ in "12")
    for number, one in enumerate(instances, start=1):
        owners[one.mask] = number
        classes[one.mask] = run.classes[one.defect_class]
    image, source = _read_pair(run, row)
    asked = decode_image(run.read(str(row["requested"])), sample_id) > 0
    for what, shape in (("image", image.shape[:2]), ("requested", asked.shape)):
        if shape != owners.shape:
            raise ShapeError(
                f"{row[what]} is {shape} but the manifest says {owners.shape} (height, width); the "
                "run folder is damaged"
            )
    view, nearest = _view(image, source, asked, owners > 0), nearest_instance(owners)
    annotations = [
        Annotation(
            number,
            one.defect_class,
            run.classes[one.defect_class],
            one.mask,
            int(one.mask.sum()),
            mask_to_box(one.mask),
            measure_label(view.of(one.mask, asked & (nearest == number)), source is not None),
        )
        for number, one in enumerate(instances, start=1)
    ]
    measured = measure_label(view, source is not None)
    name = _main_class(annotations) or str(row["defect_class"])
    changed = label_columns(annotations, measured, image, owners > 0) | {
        "defect_class": name,
        "class_id": run.classes.get(name, 0),
        "mask": f"masks/{file_stem(sample_id, int(row['revision']))}.edited.png",
        "edited_by": reviewer,
    }
    label = encode_png(classes)
    changed["mask_digest"] = digest_file(label)
    rows = [instance_row(sample_id, float(row["severity"]), one) for one in annotations]
    return RelabelResult(changed, rows, label)


def check_label(
    run: RunTables, row: Mapping[str, Any], instances: Sequence[EditedInstance]
) -> None:
    """Raise RunError or ShapeError where a label does not fit a sample and the run's classes."""
    sample_id, size_hw = row["sample_id"], (int(row["height"]), int(row["width"]))
    if not row["image"]:
        raise RunError(f"{sample_id} came to no image, so its label cannot be edited")
    if len(instances) > MAX_INSTANCES:
        raise RunError(f"{sample_id} has {len(instances)} defects; {MAX_INSTANCES} is the most")
    for one in instances:
        if one.defect_class not in run.classes:
            raise RunError(
                f"the label of {sample_id} names the class {one.defect_class!r}, which the run "
                f"does not have; its classes are {', '.join(run.classes)}"
            )
        if one.mask.shape != size_hw or one.mask.dtype != np.bool_:
            raise ShapeError(
                f"the mask of a {one.defect_class} of {sample_id} is {one.mask.dtype} of "
                f"{one.mask.shape} but its image is {size_hw} (height, width); give it as bool in "
                "the size of the image"
            )
        if not one.mask.any():
            raise RunError(
                f"the mask of a {one.defect_class} of {sample_id} is empty; leave that defect out"
            )


def _read_pair(
    run: RunTables, row: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return image and source as 8-bit RGB; None for a source that is gone."""
    pixels = decode_image(run.read(str(row["image"])), str(row["image"]))
    path = str(row["source_path"])
    if not run.stored(path).is_file():
        return to_rgb8(pixels, grey_window(pixels)), None
    source = decode_image(run.read(path), path)
    window = grey_window(source)
    return to_rgb8(pixels, window), to_rgb8(source, window)


def _view(
    image: NDArray[np.uint8], source: NDArray[np.uint8] | None, asked: Mask, realised: Mask
) -> ChangeView:
    """Return what the measures of a mask look at: the masks and 16 px around."""
    window = mask_window(asked | realised, WINDOW_PX)
    finished = image[window]
    clean = finished if source is None else source[window]
    return ChangeView(
        source=clean,
        finished=finished,
        source_lab=to_lab(clean),
        finished_lab=to_lab(finished),
        asked=asked[window],
        repaint=asked[window],  # the true one is not stored; no measure of a mask looks at it
        realised=realised[window],
        allowed=None,
        window=window,
    )


def _main_class(annotations: Sequence[Annotation]) -> str:
    """Return the class of most pixels, '' where there is no defect."""
    areas: Counter[str] = Counter()
    for one in annotations:
        areas[one.defect_class] += one.area_px
    return max(sorted(areas), key=areas.__getitem__, default="")
