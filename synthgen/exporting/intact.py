"""Whether a run is what it says: its tables before anything is written, its files as they are read.

What a person or a program changed, cut off or mixed up ends the export with one sentence; a wrong
dataset would not be noticed until a model has learned from it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.errors import RunError
from synthgen.exporting.lengths import are_labels_sound
from synthgen.imaging.geometry import MAX_PIXELS, read_run_lengths
from synthgen.imaging.images import decode_image
from synthgen.runs.reader import RunTables
from synthgen.samples.sample import BoxXYWH
from synthgen.storage.files import digest_file
from synthgen.storage.places import StoredFile
from synthgen.storage.provenance import SIGNATURE

__all__ = ["check_label_map", "check_stored_image", "check_tables"]

SAMPLE = ("sample_id", "defect_class", "class_id", "height", "width", "instances", "area_px")
BOX = ("box_x", "box_y", "box_w", "box_h")
LABEL = ("sample_id", "instance_id", "defect_class", "class_id", "rle", "area_px", *BOX)


def check_tables(run: RunTables, rows: pd.DataFrame) -> None:
    """Raise RunError where ``rows`` of a run's manifest and its instances do not go together.

    Ids that are there twice, classes that the run does not have, sizes and counts that cannot be,
    labels that are empty or not of the size and the box that they say. The sentence names the
    first that is wrong.
    """
    where, instances = f"{run.root}/instances.parquet", run.instances[list(LABEL)]
    rows = rows[list(SAMPLE)]  # without what would only be copied
    told = f"{run.root}/manifest.parquet"
    _check_classes(rows, {"": 0, **run.classes}, told)  # "" = a good image
    height, width = rows["height"], rows["width"]
    wrong = (height < 1) | (width < 1) | (height.astype(float) * width > MAX_PIXELS)
    if wrong.any():
        row = rows[wrong].iloc[0]
        raise RunError(
            f"{told}: {row['sample_id']} is {row['height']} x {row['width']} px, which no image "
            "can be; the run folder is damaged"
        )
    twice = instances.duplicated(["sample_id", "instance_id"])
    if twice.any():
        row = instances[twice].iloc[0]
        raise RunError(
            f"{where} has defect {row['instance_id']} of {row['sample_id']} twice; the run folder "
            "is damaged"
        )
    lost = instances[~instances["sample_id"].isin(run.manifest["sample_id"])]
    if len(lost):
        raise RunError(
            f"{where} has defects of {lost['sample_id'].iloc[0]!r}, which the manifest does not "
            "know; the run folder is damaged"
        )
    own = instances[instances["sample_id"].isin(rows["sample_id"])]
    _check_classes(own, run.classes, where)
    sides = (
        rows.set_index("sample_id")[["height", "width"]].loc[own["sample_id"]].to_numpy(np.int64)
    )
    if not are_labels_sound(own, sides):  # of all at once; one by one only to name the first
        _find_unsound(own, sides, where)
    _check_counts(rows, own, where)


def _find_unsound(own: pd.DataFrame, sizes_hw: NDArray[np.int64], where: str) -> None:
    """Raise RunError with the first label that is not what its row says."""
    columns = ("sample_id", "instance_id", "rle", "area_px", *BOX)
    rows = zip(*(own[name] for name in columns), sizes_hw.tolist(), strict=True)
    for sample_id, number, rle, area, x, y, width, height, size_hw in rows:
        try:
            _check_label(str(rle), size_hw, int(area), BoxXYWH(x, y, width, height))
        except (ValueError, TypeError, OverflowError) as error:
            raise RunError(
                f"{where}: the label of defect {number} of {sample_id} is damaged: {error}"
            ) from error


def _check_classes(rows: pd.DataFrame, classes: Mapping[str, int], where: str) -> None:
    """Raise RunError where a row has another class, or another id for it, than the run."""
    for name, class_id in zip(rows["defect_class"], rows["class_id"], strict=True):
        if classes.get(name) != class_id:
            known = ", ".join(f"{own} {number}" for own, number in classes.items() if own)
            raise RunError(
                f"{where} names the class {name!r} with id {class_id}, which run.yaml does not "
                f"have ({known}); the run folder is damaged"
            )


def _check_label(rle: str, size_hw: Sequence[int], area: int, box: BoxXYWH) -> None:
    """Raise ValueError where run lengths are not those of a mask of that size, area and box."""
    lengths = read_run_lengths(rle, size_hw)
    ends = np.cumsum(lengths)[1::2]
    starts = ends - lengths[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        raise ValueError("it is empty")
    if int((ends - starts).sum()) != area:
        raise ValueError(f"it has {int((ends - starts).sum())} pixels, not area_px={area}")
    height, lasts = int(size_hw[0]), ends - 1  # pixels are counted down the columns
    x, right = int(starts[0]) // height, int(lasts[-1]) // height
    if (starts // height != lasts // height).any():  # from the foot of a column to the head of one
        y, bottom = 0, height - 1
    else:
        y, bottom = int((starts % height).min()), int((lasts % height).max())
    found = BoxXYWH(x, y, right + 1 - x, bottom + 1 - y)
    if found != box:
        raise ValueError(f"its box is {tuple(found)}, not {tuple(box)}")


def _check_counts(rows: pd.DataFrame, own: pd.DataFrame, where: str) -> None:
    """Raise RunError where the manifest counts other defects, or other pixels, than there are."""
    totals = own.groupby("sample_id")["area_px"].agg(["count", "sum"])
    found = totals.reindex(rows["sample_id"], fill_value=0)
    for name, column in (("instances", "count"), ("area_px", "sum")):
        told = rows[name].to_numpy()
        wrong = np.flatnonzero(told != found[column].to_numpy())
        if len(wrong):
            at = int(wrong[0])
            raise RunError(
                f"{where} gives {rows['sample_id'].iloc[at]} {name}={found[column].iloc[at]}, its "
                f"manifest {told[at]}; the run folder is damaged"
            )


def check_stored_image(
    data: bytes, size_hw: tuple[int, int], digest: str, file: StoredFile
) -> None:
    """Raise RunError where a run's image is not the one that was written.

    By its digest, where the run has stored one, '' = none; else it is decoded, which finds files
    that are cut off. ``size_hw``: what the manifest says.
    """
    if digest:
        if digest_file(data) != digest:
            raise RunError(_changed(str(file)))
        if data.startswith(SIGNATURE) and struct.unpack_from(">II", data, 16)[::-1] == size_hw:
            return
    name = str(file)
    _check_chunks(data, name)
    shape = decode_image(data, name).shape[:2]
    if shape != size_hw:
        raise RunError(
            f"{name} is {shape[0]} x {shape[1]} px (height, width) but the manifest says "
            f"{size_hw[0]} x {size_hw[1]}; the run folder is damaged"
        )


def check_label_map(
    pixels: NDArray[Any], size_hw: tuple[int, int], known: frozenset[int], name: str
) -> None:
    """Raise RunError where a run's mask is of another size or holds ids of no class.

    ``pixels`` should be (H, W) = ``size_hw``; ``known``: the ids that may be in it. ``name`` is
    that of its file.
    """
    if pixels.shape != size_hw:
        raise RunError(
            f"{name} is {pixels.shape} but its image is {size_hw} (height, width); the run folder "
            "is damaged"
        )
    if strange := set(np.unique(pixels).tolist()) - known:
        raise RunError(
            f"{name} holds the id {min(strange)}, which no class has; the run folder is damaged"
        )


def _check_chunks(data: bytes, name: str) -> None:
    """Raise RunError where a PNG is cut off, or one of its chunks has another checksum.

    A decoder may show a part of such a file without a word.
    """
    if not data.startswith(SIGNATURE):
        return
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise RunError(_changed(name))
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(data):
            raise RunError(_changed(name))
        if zlib.crc32(data[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise RunError(_changed(name))
        at = end + 4


def _changed(name: str) -> str:
    """Return the sentence on a file that is not as it was written."""
    return (
        f"{name} is not the file that was written: it was changed or cut off; take it from a "
        "backup, or delete its run and generate it again"
    )
