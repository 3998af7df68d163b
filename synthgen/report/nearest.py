"""Painted defects beside the real ones that they are most like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.errors import SourceError
from synthgen.imaging.images import IGNORED, decode_image, grey_window, to_rgb8
from synthgen.quality.bank import DefectBank
from synthgen.references.items import BankItem, read_bank
from synthgen.report.pictures import to_data_url
from synthgen.report.sheet import square_window
from synthgen.report.svg import format_number
from synthgen.runs.reader import RunTables

__all__ = ["NearestReal", "RealPair", "find_nearest_real"]

MAX_ITEMS = 600  # of a bank, whose looks are compared again to say which one is nearest
SIZE_PX = 144


@dataclass(frozen=True)
class RealPair:
    """A painted defect, the most alike real one, and the one that lent its look ('' = none)."""

    sample_id: str
    defect_class: str
    status: str
    bits: str
    painted: str
    nearest_id: str
    nearest: str
    reference_id: str
    reference: str


@dataclass(frozen=True)
class NearestReal:
    """The pairs that are most alike, the closest first, and what a reader must know of them."""

    pairs: list[RealPair]
    notes: list[str]


def find_nearest_real(run: RunTables, most: int) -> NearestReal | None:
    """Return the pairs of a run with a bank; None for a run without one."""
    path = (run.record["config"].get("bank") or {}).get("path")
    if path is None or "real_bits" not in run.manifest:
        return None
    measured = run.manifest[run.manifest["real_bits"].notna() & (run.manifest["image"] != "")]
    try:
        items = read_bank(path)
    except SourceError as error:
        return NearestReal([], [f"The real defects cannot be shown: {error}."])
    ordered = measured.sort_values(["real_bits", "sample_id"]).head(most)
    notes = [f"The closest {len(ordered)} of {len(measured):,} samples, rejected ones too."]
    bank = DefectBank(items) if len(items) <= MAX_ITEMS else None
    if bank is None:
        notes.append(
            f"The bank has {len(items):,} defects, over {MAX_ITEMS}: only the one that lent its "
            "look is shown; the bits are those to the nearest of all."
        )
    pairs = [_pair(run, row, items, bank) for _, row in ordered.iterrows()]
    return NearestReal(pairs, notes)


def _pair(
    run: RunTables, row: pd.Series, items: Sequence[BankItem], bank: DefectBank | None
) -> RealPair:
    image = _load(run, row["image"])
    label = np.isin(_load(run, row["mask"])[..., 0], (0, IGNORED), invert=True)
    found = None if bank is None else bank.find_nearest(row.get("perceptual_hash", ""))
    nearest = None if found is None else items[found[0]]
    reference = next((item for item in items if item.item_id == row.get("reference", "")), None)
    return RealPair(
        row["sample_id"],
        row["defect_class"],
        row["status"],
        format_number(float(row["real_bits"])),
        to_data_url(_view(image, label)),
        "" if nearest is None else nearest.item_id,
        "" if nearest is None else to_data_url(_view(nearest.crop, nearest.mask)),
        "" if reference is None else reference.item_id,
        "" if reference is None else to_data_url(_view(reference.crop, reference.mask)),
    )


def _load(run: RunTables, name: str) -> NDArray[np.uint8]:
    pixels = decode_image(run.read(name), str(run.stored(name)))
    return to_rgb8(pixels, grey_window(pixels))


def _view(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    cut = np.ascontiguousarray(image[square_window(mask)])
    how = cv2.INTER_AREA if cut.shape[0] > SIZE_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, (SIZE_PX, SIZE_PX), interpolation=how), np.uint8)
