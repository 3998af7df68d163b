"""The real defects of a run's bank, as a page shows them beside the painted ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthgen.errors import SynthgenError
from synthgen.references.items import BankItem, read_bank
from synthgen.report.pictures import to_data_url
from synthgen.report.sheet import LABEL, draw_outline, fit_view, view_side_px
from synthgen.report.svg import format_number
from synthgen.runs.reader import RunTables
from synthgen.samples.arrays import Image

__all__ = [
    "RealClass",
    "RealTile",
    "RunBank",
    "describe_sizes",
    "draw_real",
    "read_run_bank",
    "show_real",
]


@dataclass(frozen=True, eq=False)
class RunBank:
    """The bank that a run was painted after; ``failure`` says why ``items`` is empty, '' = it is
    not."""

    items: Sequence[BankItem]
    failure: str = ""

    def of_class(self, name: str) -> list[BankItem]:
        """Return its defects of one class, in the bank's order."""
        return [item for item in self.items if item.defect_class == name]


@dataclass(frozen=True, kw_only=True)
class RealTile:
    """One real defect; ``result`` (as it is), ``label`` (outlined) and ``source`` (removed) are
    data URLs."""

    item_id: str
    numbers: str
    where: str
    result: str
    label: str
    source: str


@dataclass(frozen=True, kw_only=True)
class RealClass:
    """Those real defects of a class that are shown, and how large and strong all of them are."""

    count: int
    numbers: str
    tiles: list[RealTile]


def read_run_bank(run: RunTables) -> RunBank | None:
    """Return the bank of a run; None for a run without one. A broken bank has no defects."""
    path = ((run.record.get("config") or {}).get("bank") or {}).get("path")
    if path is None:
        return None
    try:
        return RunBank(read_bank(path))
    except SynthgenError as error:
        return RunBank([], str(error))


def show_real(bank: RunBank, name: str, most: int, size_px: int, max_bytes: int) -> RealClass:
    """Return at most so many real defects of a class, evenly over their sizes.

    Each is cropped as the samples are, so that the two can be compared.
    """
    own = sorted(bank.of_class(name), key=lambda item: (-item.area_px, item.item_id))
    places = np.linspace(0, len(own) - 1, min(most, len(own))).round().astype(int)
    contrasts = [item.contrast_delta_e for item in own if np.isfinite(item.contrast_delta_e)]
    areas = [float(item.area_px) for item in own]
    return RealClass(
        count=len(own),
        numbers=describe_sizes(areas, contrasts),
        tiles=[_show(own[place], size_px, max_bytes) for place in places],
    )


def describe_sizes(areas: Sequence[float], contrasts: Sequence[float]) -> str:
    """Return the medians of areas (pixels) and contrasts (CIELAB) in words; '' without any.

    >>> describe_sizes([80, 120, 400], [9.5])
    'median 120 px, contrast 9.5'
    """
    if not len(areas):
        return ""
    told = f"median {format_number(float(np.median(areas)))} px"
    if len(contrasts):
        told += f", contrast {format_number(float(np.median(contrasts)))}"
    return told


def draw_real(item: BankItem, side_px: int, size_px: int) -> tuple[Image, Image, Image]:
    """Return a real defect as it is, outlined, and removed, (h, w, 3) each.

    They show ``side_px`` of the photo around its middle, less where the bank's crop ends, scaled
    until the longer side is ``size_px``.
    """
    rows, columns = np.nonzero(item.mask)
    spans = []
    for places, length in zip((rows, columns), item.mask.shape, strict=True):
        start = (int(places.min()) + int(places.max()) - side_px) // 2
        start = int(np.clip(start, 0, max(0, length - side_px)))
        spans.append(slice(start, min(length, start + side_px)))
    window = tuple(spans)
    real, clean = fit_view(item.crop[window], size_px), fit_view(item.clean[window], size_px)
    marked = real.copy()
    draw_outline(marked, item.mask[window], LABEL)
    return real, marked, clean


def _show(item: BankItem, size_px: int, max_bytes: int) -> RealTile:
    side_px = view_side_px(item.mask)
    real, marked, clean = draw_real(item, side_px, size_px)
    contrast = ""
    if np.isfinite(item.contrast_delta_e):
        contrast = f" · contrast {format_number(item.contrast_delta_e)}"
    return RealTile(
        item_id=item.item_id,
        numbers=f"{item.area_px:,} px{contrast}",
        where=f"part {item.group}, {item.split}",
        result=to_data_url(real, max_bytes),
        label=to_data_url(marked, max_bytes),
        source=to_data_url(clean, max_bytes),
    )
