"""preview.html: where defects will go and how large they will be, before a model paints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic import dataclasses as checked
from rich.table import Table

from synthgen.errors import PlacementError, SourceError
from synthgen.imaging.geometry import mask_window
from synthgen.imaging.images import composite
from synthgen.progress import track
from synthgen.quality.belonging import range_fraction
from synthgen.report.facts import name_run
from synthgen.report.page import render
from synthgen.report.pictures import to_data_url
from synthgen.report.sheet import LABEL, PART, fit_view, mark_whole, square_window
from synthgen.report.svg import colour_classes, format_number
from synthgen.runs.folder import check_run_folder
from synthgen.samples.sample import Condition, SampleSpec
from synthgen.sources.findings import list_names
from synthgen.sources.parts import short_side_px
from synthgen.storage.places import StoredFile, open_storage

__all__ = [
    "NUMBERS",
    "ClassSizes",
    "Preview",
    "PreviewSettings",
    "PreviewTile",
    "choose_specs",
    "draw_preview",
    "tabulate_sizes",
    "write_preview",
]

Window = tuple[slice, slice]  # rows, columns

VIEW_PX = 280
MAX_BYTES = 16_000  # of one picture
MANY = 100  # photos on a page from which on their pictures are half as large
MAX_WEIGHED = 200  # specs of a class that the shown ones are chosen from
AROUND_PX = 4
NUMBERS = {  # by the field of a Drawn: the head of its column
    "length_px": "length, px",
    "length_percent": "length, % of the part's short side",
    "area_px": "area, px",
    "change_levels": "contrast, grey levels",
    "change_percent": "contrast, % of the photo's range",
    "kernel_px": "photo's blur, px",
}


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PreviewSettings:
    """The ``preview`` part of the config."""

    count: int = Field(ge=1, le=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnDefect:
    """The numbers of one drawn defect.

    ``length_px`` is the longer side of the smallest turned box around it. ``change_levels`` is its
    mean grey change against the photo; ``change_percent`` is that of the room that the photo's
    black or white level leaves. ``kernel_px``: the deviation of the Gaussian that blurs the photo.
    """

    defect_class: str
    length_px: float
    length_percent: float
    area_px: float
    change_levels: float
    change_percent: float
    kernel_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewTile:
    """One photo as the page shows it; ``pictures`` are data URLs."""

    sample_id: str
    defect_class: str
    photo: str
    numbers: str
    whole: str
    drawn: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSizes:
    """The drawn defects of a class; ``spans``: least, median, most of each of ``NUMBERS``.

    A span is NaN where no defect has that number. ``shown`` counts photos, of the ``planned`` ones.
    """

    name: str
    shown: int
    planned: int
    defects: int
    spans: dict[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the page says. ``sentences``: what a person must know, the most important first."""

    planned: int
    sentences: list[str]
    rows: list[ClassSizes]
    tiles: list[PreviewTile] = field(repr=False)


def draw_preview(
    specs: Sequence[SampleSpec],
    condition: Callable[..., Condition],
    count: int,
    notes: Sequence[str] = (),
    skipped: Sequence[str] = (),
) -> Preview:
    """Draw ``count`` of a plan's defects, as they are drawn for a model at the first try.

    ``condition`` draws one; what finds no room or has an unreadable photo is told instead of shown.
    ``notes`` and ``skipped`` are a Job's: sentences that come first, a sentence per left out file.
    """
    planned = [spec for spec in specs if not spec.is_defect_free]
    chosen = choose_specs(planned, count)
    tiles: list[PreviewTile] = []
    numbers: list[DrawnDefect] = []
    without_room: list[SampleSpec] = []
    unreadable: list[str] = []
    size_px = VIEW_PX if len(chosen) <= MANY else VIEW_PX // 2
    for spec in track(chosen, "drawing the defects", unit="photos"):
        try:
            drawn = condition(spec)
        except PlacementError:
            without_room.append(spec)
            continue
        except SourceError as error:
            unreadable.append(str(error))
            continue
        own = list(_measure(drawn))
        numbers += own
        tiles.append(_show(drawn, own, size_px))
    sentences = []
    if without_room:
        who = list_names([f"{spec.sample_id} on {spec.source_id}" for spec in without_room])
        sentences.append(
            f"{len(without_room)} of {len(chosen)} defects find no room on their part at the first "
            f"try ({who}): synthgen generate draws them again; make them smaller, or the place "
            "where they may lie larger"
        )
    sentences += [*dict.fromkeys(unreadable), *notes]
    if skipped:
        files = "1 file is" if len(skipped) == 1 else f"{len(skipped)} files are"
        sentences.append(f"{files} left out; the first: {skipped[0]}")
    rows = list(_count_classes(planned, tiles, numbers))
    tiles.sort(key=lambda tile: (tile.defect_class, tile.sample_id))
    return Preview(planned=len(planned), sentences=sentences, rows=rows, tiles=tiles)


def write_preview(folder: Path | str, preview: Preview) -> StoredFile:
    """Write ``preview.html`` into a run's folder, new or begun; return it.

    A run's own files stay as they are. Raises RunError where the folder holds something else.
    """
    check_run_folder(folder)
    storage = open_storage(folder)
    page = render(
        "preview.html.j2",
        name=name_run(storage.local("") or storage.location),
        preview=preview,
        numbers=NUMBERS,
        colours=colour_classes([row.name for row in preview.rows]),
        part_colour=_css(PART),
        defect_colour=_css(LABEL),
        view_px=VIEW_PX,
    )
    storage.write("preview.html", page.encode("utf-8"))
    return StoredFile(storage, "preview.html")


def tabulate_sizes(preview: Preview) -> Table:
    """Return one row per class for a terminal: how many, how long, how strong.

    A cell has the median, and least and most where they differ: ``3 (2 .. 12)``.
    """
    table = Table("class", "shown")
    for head in ("length px", "% of the part", "contrast levels"):
        table.add_column(head, justify="right")
    for row in preview.rows:
        cells = []
        for name in ("length_px", "length_percent", "change_levels"):
            low, middle, high = (format_number(value, 2) for value in row.spans[name])
            cells.append(middle if low == high else f"{middle} ({low} .. {high})")
        table.add_row(row.name, f"{row.shown} of {row.planned}", *cells)
    return table


def choose_specs(specs: Sequence[SampleSpec], count: int) -> list[SampleSpec]:
    """Return at most ``count`` specs, evenly over classes and, within that, over sources.

    Of a class with over 200 specs only so many are weighed, evenly over the plan.
    """
    groups: dict[str, list[SampleSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.defect_class or "", []).append(spec)
    for name, group in groups.items():
        places = np.linspace(0, len(group) - 1, min(MAX_WEIGHED, len(group))).round()
        groups[name] = [group[int(place)] for place in places]
    used: Counter[str] = Counter()
    chosen: list[SampleSpec] = []
    while len(chosen) < count and any(groups.values()):
        for name in sorted(groups):
            if groups[name] and len(chosen) < count:
                rarest = min(groups[name], key=lambda spec: used[spec.source_id])
                groups[name].remove(rarest)
                used[rarest.source_id] += 1
                chosen.append(rarest)
    return chosen


def _measure(condition: Condition) -> Iterator[DrawnDefect]:
    """Yield the numbers of each defect of a condition."""
    short_px = short_side_px(condition.allowed, condition.source.size_hw)
    for instance_id, window in _find_instances(condition):
        mask = condition.instance_map[window] == instance_id
        image, sketch = condition.image[window], condition.sketch[window]
        change = cv2.cvtColor(sketch, cv2.COLOR_RGB2GRAY).astype(np.float32)
        change -= cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        turned = cv2.minAreaRect(cv2.findNonZero(mask.astype(np.uint8)))
        length_px = float(max(turned[1])) + 1.0  # from the middle of a pixel to its edges
        yield DrawnDefect(
            defect_class=condition.class_of(instance_id)[0],
            length_px=length_px,
            length_percent=100 * length_px / short_px,
            area_px=float(mask.sum()),
            change_levels=float(np.abs(change[mask]).mean()),
            change_percent=100 * range_fraction(image, sketch, mask, condition.optics),
            kernel_px=condition.optics.kernel_px,
        )


def _find_instances(condition: Condition) -> Iterator[tuple[int, Window]]:
    """Yield each defect of a condition, and the part of the image that it lies in."""
    for instance_id in range(1, int(condition.instance_map.max()) + 1):
        mask = condition.instance_map == instance_id
        if mask.any():
            yield instance_id, mask_window(mask, AROUND_PX)


def _show(condition: Condition, numbers: Sequence[DrawnDefect], size_px: int) -> PreviewTile:
    """Return the photo, small and whole, with the outlines of the part and of the defects, and
    close up with and without them."""
    spec, source = condition.spec, condition.source
    seen = composite(  # as the photo's camera would see it: grey on a grey photo
        condition.image, (0.0, 255.0), condition.image, condition.sketch, condition.repaint_mask
    )
    drawn = np.asarray(seen, np.uint8)
    whole = fit_view(drawn, size_px)
    mark_whole(whole, condition.allowed, condition.defect_mask)
    window = square_window(condition.defect_mask)
    largest = max(numbers, key=lambda one: one.length_px)
    count = "" if len(numbers) == 1 else f"{len(numbers)} defects, the largest "
    return PreviewTile(
        sample_id=spec.sample_id,
        defect_class=spec.defect_class or "",
        photo=Path(source.path).name if source.path else spec.source_id,
        numbers=(
            f"{count}{format_number(largest.length_px, 2)} px long, "
            f"{format_number(largest.length_percent, 2)} % of the part's short side; "
            f"contrast {format_number(largest.change_levels, 2)} grey levels"
        ),
        whole=to_data_url(whole, MAX_BYTES),
        drawn=to_data_url(fit_view(drawn[window], size_px), MAX_BYTES),
        source=to_data_url(fit_view(condition.image[window], size_px), MAX_BYTES),
    )


def _count_classes(
    planned: Sequence[SampleSpec], tiles: Sequence[PreviewTile], numbers: Sequence[DrawnDefect]
) -> Iterator[ClassSizes]:
    asked = Counter(spec.defect_class or "" for spec in planned)
    shown = Counter(tile.defect_class for tile in tiles)
    for name in sorted(asked.keys() | {one.defect_class for one in numbers}):
        own = [one for one in numbers if one.defect_class == name]
        spans: dict[str, tuple[float, float, float]] = {}
        for number in NUMBERS:
            known = [value for one in own if np.isfinite(value := getattr(one, number))]
            spans[number] = (float("nan"),) * 3
            if known:
                spans[number] = min(known), float(np.median(known)), max(known)
        yield ClassSizes(
            name=name, shown=shown[name], planned=asked[name], defects=len(own), spans=spans
        )


def _css(colour: tuple[int, int, int]) -> str:
    """Return a colour for a style sheet.

    >>> _css((255, 214, 0))
    '#ffd600'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)
