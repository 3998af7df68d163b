"""A CSV table of image, mask, class and, if wanted, split and group; a row per image or defect."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthgen.errors import SourceError
from synthgen.imaging.headers import check_image
from synthgen.realdata.folder import read_mask_defects
from synthgen.realdata.masks import MaskReader
from synthgen.realdata.names import clean_class, is_good, name_split
from synthgen.realdata.paths import find_file, read_dataset_text
from synthgen.realdata.records import GOOD, DatasetIndex, ImageRecord, RealDefect
from synthgen.realdata.settings import RealSettings

__all__ = ["scan_table"]

HINT = "; real.images=<a folder> says where its names start from"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row of the table; ``mask``, ``split`` and ``group`` may be ''."""

    number: int  # of its line
    path: Path
    mask: Path | None
    defect_class: str
    split: str
    group: str

    @property
    def is_good(self) -> bool:
        return is_good(self.defect_class)


def scan_table(asked: RealSettings, root: Path, notes: list[str]) -> DatasetIndex:
    """Read a table; several rows of one photo are its defects.

    A photo with a defect that has no mask is left out, since it would pass for good; a note counts
    such photos. Raises SourceError for rows that cannot be read or contradict each other, and, when
    a photo is read, for a mask that does not show what its row names.
    """
    rows = _read_rows(asked, root)
    photos: dict[Path, list[_Row]] = {}
    for row in rows:
        photos.setdefault(row.path, []).append(row)
    for own in photos.values():
        _check_alike(own, root)
    bare = [row for row in rows if not row.split]
    if bare and len(bare) < len(rows):  # they might be of any split
        raise SourceError(f"line {bare[0].number} of {root} has no split, though others have one")

    def read() -> Iterator[ImageRecord]:
        unmasked = 0
        reader = MaskReader(asked.classes, asked.min_mask_level)
        for path, own in photos.items():
            marked = _read_photo(path, own, asked, reader)
            if marked is None:
                unmasked += 1
            else:
                yield marked
        notes.extend(reader.finish())
        if unmasked:
            notes.append(f"{unmasked} images of {root} are left out: their defects have no mask")

    return DatasetIndex({name: n for n, name in enumerate(asked.classes or {}, start=1)}, read())


def _read_rows(asked: RealSettings, root: Path) -> list[_Row]:
    """Return the rows of a table below its header; blank lines are skipped."""
    lines = csv.reader(io.StringIO(read_dataset_text(root), newline=""), skipinitialspace=True)
    try:
        header, *body = [
            (lines.line_num, [cell.strip() for cell in line])
            for line in lines
            if any(cell.strip() for cell in line)
        ]
    except csv.Error as error:
        raise SourceError(f"{root} cannot be read as a CSV table: {error}") from error
    except ValueError as error:
        raise SourceError(f"{root} is empty; a table has image, mask, ...") from error
    names = [name.casefold() for name in header[1]]
    needed = {"image", "mask"} | (set() if asked.classes else {"class"})
    if missing := sorted(needed - set(names)):
        raise SourceError(
            f"{root} has no column {', '.join(missing)}; a table has image, mask, ... in its first "
            "line, parted by commas"
        )
    if len(set(names)) < len(names):
        raise SourceError(f"{root} has a column twice: {', '.join(sorted(names))}")
    place = Path(asked.images).expanduser() if asked.images else root.parent
    rows = []
    for number, cells in body:
        if len(cells) != len(names):
            raise SourceError(
                f"line {number} of {root} has {len(cells)} cells, its first line {len(names)}; "
                "quote texts with commas"
            )
        cell = dict(zip(names, cells, strict=True))
        where = f"line {number} of {root}"
        name, split = cell.get("class", ""), cell.get("split", "")
        row = _Row(
            number=number,
            path=find_file(place, cell["image"], where, HINT),
            mask=find_file(place, cell["mask"], where, HINT) if cell["mask"] else None,
            defect_class=GOOD if name and is_good(name) else clean_class(name, where),
            split=name_split(split) if split else "",
            group=cell.get("group", ""),
        )
        rows.append(row)
    return rows


def _check_alike(rows: Sequence[_Row], root: Path) -> None:
    """Raise SourceError where rows of one photo contradict each other."""
    first = rows[0]
    for row in rows[1:]:
        pairs = (
            ("the splits", first.split, row.split),
            ("the groups", first.group, row.group),
        )
        told = [f"{what} {one!r} and {other!r}" for what, one, other in pairs if one != other]
        if row.is_good != first.is_good and not (first.mask and row.mask):
            told.append(f"{first.defect_class or GOOD} and {row.defect_class or GOOD} at once")
        if told:
            raise SourceError(
                f"lines {first.number} and {row.number} of {root} give {row.path} {told[0]}; one "
                "of them is wrong"
            )


def _read_photo(
    path: Path, rows: Sequence[_Row], asked: RealSettings, reader: MaskReader
) -> ImageRecord | None:
    """Return a photo with the defects of all its rows, None where one of them has no mask.

    Raises SourceError where a mask holds what its row does not name, or not what the row names.
    """
    size_hw = check_image(path)
    defects: list[RealDefect] = []
    read: dict[Path | None, set[str]] = {}
    for row in rows:
        own: tuple[RealDefect, ...] = ()
        if row.mask is not None:
            own = read_mask_defects(reader, row.mask, path, size_hw, row.defect_class or GOOD)
            found = {defect.defect_class for defect in own}
            if found and (row.defect_class == GOOD or not (row.defect_class or asked.classes)):
                raise SourceError(
                    f"line {row.number} of {asked.path} gives {row.path} no class of defects, but "
                    f"its mask {row.mask} shows one; name the class, or leave the mask away"
                )
            named = set(row.defect_class.split("+")) & set(asked.classes or ())
            if named - found:
                raise SourceError(
                    f"{asked.path} says that {row.mask} shows {row.defect_class}, real.classes "
                    f"make {'+'.join(sorted(found)) or 'nothing'} of its values: one of them is "
                    "wrong"
                )
        if not own and not row.is_good and not (asked.classes and row.mask):
            return None
        is_known = row.mask in read  # with classes a mask names all of its defects itself
        defects += [] if is_known and (asked.classes or row.defect_class in read[row.mask]) else own
        read.setdefault(row.mask, set()).add(row.defect_class)
    split = rows[0].split or name_split(asked.split or "train")
    return ImageRecord(
        path=path,
        name=path.stem,
        split=split,
        size_hw=size_hw,
        defects=tuple(defects),
        group=rows[0].group,
    )
