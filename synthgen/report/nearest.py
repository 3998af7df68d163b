"""Painted defects beside the real ones that they are most like."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.images import IGNORED
from synthgen.quality.bank import DefectBank
from synthgen.report.pictures import to_data_url
from synthgen.report.real import RunBank
from synthgen.report.sheet import read_view, square_window
from synthgen.report.svg import format_number
from synthgen.runs.reader import RunTables

__all__ = ["NearestReal", "RealPair", "find_nearest_real"]

MAX_ITEMS = 600  # of a bank whose perceptual hashes are compared again to say which is nearest
SIZE_PX = 144


@dataclass(frozen=True, kw_only=True)
class RealPair:
    """A painted defect, the most alike real one, and the one that lent its look ('' = none).

    ``bits``: how many bits of their perceptual hashes differ, in words. ``painted``, ``nearest``
    and ``reference`` are data URLs.
    """

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


def find_nearest_real(run: RunTables, bank: RunBank | None, most: int) -> NearestReal | None:
    """Return the ``most`` closest pairs of a run with a ``bank``; None for a run without one.

    Rejected samples count too. A bank that cannot be read gives no pairs and a note that says why;
    one of over 600 defects gives pairs without the nearest one.
    """
    if bank is None or "real_bits" not in run.manifest:
        return None
    if bank.failure:
        return NearestReal([], [f"The real defects cannot be shown: {bank.failure}."])
    items = bank.items
    measured = run.manifest[run.manifest["real_bits"].notna() & (run.manifest["image"] != "")]
    ordered = measured.sort_values(["real_bits", "sample_id"]).head(most)
    notes = [f"The closest {len(ordered)} of {len(measured):,} samples, rejected ones too."]
    hashes = DefectBank(items) if len(items) <= MAX_ITEMS else None
    if hashes is None:
        notes.append(
            f"The bank has {len(items):,} defects, over {MAX_ITEMS}: only the one that lent its "
            "look is shown; the bits are those to the nearest of all."
        )
    by_id = {item.item_id: item for item in items}
    pairs = []
    for _, row in ordered.iterrows():
        label = np.isin(read_view(run, row["mask"])[..., 0], (0, IGNORED), invert=True)
        found = None if hashes is None else hashes.find_nearest(row.get("perceptual_hash", ""))
        nearest = None if found is None else items[found[0]]
        reference = by_id.get(row.get("reference", ""))
        pairs.append(
            RealPair(
                sample_id=row["sample_id"],
                defect_class=row["defect_class"],
                status=row["status"],
                bits=format_number(float(row["real_bits"])),
                painted=_draw(read_view(run, row["image"]), label),
                nearest_id="" if nearest is None else nearest.item_id,
                nearest="" if nearest is None else _draw(nearest.crop, nearest.mask),
                reference_id="" if reference is None else reference.item_id,
                reference="" if reference is None else _draw(reference.crop, reference.mask),
            )
        )
    return NearestReal(pairs, notes)


def _draw(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """Return a square around the mask, 144 px a side, as a data URL."""
    cut = np.ascontiguousarray(image[square_window(mask)])
    how = cv2.INTER_AREA if cut.shape[0] > SIZE_PX else cv2.INTER_CUBIC
    return to_data_url(cv2.resize(cut, (SIZE_PX, SIZE_PX), interpolation=how))
