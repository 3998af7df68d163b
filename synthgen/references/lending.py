"""Real defects that lend their shape and look to new ones: which, deformed how, laid where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.defects.drawing.drawing import AXIS_OF, SIDES, Drawing, Scene, Side, fade, zoom
from synthgen.defects.drawing.lines import Line
from synthgen.defects.drawing.render import lay_on
from synthgen.errors import ConfigError, SourceError
from synthgen.imaging.geometry import nearest_instance
from synthgen.imaging.images import LUMA
from synthgen.references.deform import Deformation, deform
from synthgen.references.items import BankItem, ReferenceSplits, read_bank
from synthgen.references.removal import to_fractions, to_own_texture
from synthgen.references.skeleton import line_length, thin
from synthgen.references.together import DefectGroup, find_neighbours, join, middle

__all__ = ["BankSettings", "References", "load_references"]

Rng = np.random.Generator
GAIN = (0.6, 1.4)  # of a real defect's contrast, at severity 0 and at 1
NEAR = 0.08  # of the image's sides: deviation of a defect's place from its reference defect's
BEYOND = 0.25  # of its length, and some px: how far a defect goes on beyond the image's border
BEYOND_PX = 4
LINE_ZOOM = (0.5, 4.0)  # of a drawn line, at most
LINE_FADE = (0.1, 2.0)  # of its contrast
LONGEST_LINE = 0.7  # of the image's short side, of drawn ones: longer ones find no room
MAX_LINES = 8  # an image, of drawn ones
LINE_TRIES = 64  # until a drawn line is as dark or bright as the bank's
ONE_SIDED = 0.5  # of a change's strength: its mean, where it is dark or bright as a whole
LINE_FRACTION = (0.1, 0.9)  # of what is drawn, at least and at most


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class BankSettings:
    """The ``bank`` part of the config. ``path`` None = no bank."""

    path: str | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None  # that lend; None = all
    fraction: Annotated[float, Field(ge=0, le=1)] = 0.5  # of a class that ``defect`` draws, too
    weight: Annotated[float, Field(gt=0)] | None = None  # of its classes; None = their own, or 1
    words: dict[str, str] | None = None  # {class: noun} of those; None = the class's own name
    splits: ReferenceSplits = ("train",)  # that may lend
    min_visible_fraction: Annotated[float, Field(ge=0, le=1)] = 0.4  # of its own mask
    own_place: bool = True  # near where the reference defect lay on its part, mirrored or not
    own_texture: Annotated[float, Field(ge=0, le=1)] = 0.5  # how often it brings its own
    own_lines: bool | Literal["auto"] = "auto"  # True = drawn lines are like the bank's
    together_px: Annotated[int, Field(ge=0, le=64)] | None = 8  # None = each by itself
    deform: Deformation = Deformation()


class References:
    """The real defects of a bank, by class and image. ``faint``: those that lend nothing, as they
    are hardly visible themselves: what is painted after them could not be labelled."""

    def __init__(self, items: Sequence[BankItem], settings: BankSettings) -> None:
        self.settings = settings
        self.items = {item.item_id: item for item in items}
        names = sorted({item.defect_class for item in items})
        for name in settings.classes or ():
            if name not in names:
                raise ConfigError(f"bank.classes names {name!r}; the bank has {', '.join(names)}")
        for name in settings.words or ():
            if name not in names:
                raise ConfigError(f"bank.words names {name!r}; the bank has {', '.join(names)}")
        self.classes = [name for name in names if name in (settings.classes or names)]
        mine = [item for item in items if item.defect_class in self.classes]
        least = settings.min_visible_fraction
        seen = {item.defect_class for item in mine if item.visible_fraction >= least}
        self._lent = [  # a class of faint ones alone lends them all
            one for one in mine if one.visible_fraction >= least or one.defect_class not in seen
        ]
        lent = {item.item_id for item in self._lent}
        self.faint = [item for item in mine if item.item_id not in lent]
        with_lines = {item.image_id for item in mine if item.is_line}
        images = {item.image_id for item in mine}
        self.images_with_lines = len(with_lines), len(images)
        most = 2 * len(with_lines) > len(images)
        is_wanted = most if settings.own_lines == "auto" else settings.own_lines
        self._lines = [one for one in self._lent if one.is_line and is_wanted]
        near_px = settings.together_px
        self._neighbours = {} if near_px is None else find_neighbours(self._lent, near_px)

    @property
    def groups(self) -> list[str]:
        """The physical parts behind the reference defects."""
        return sorted({item.group for item in self._lent})

    def groups_of(self, defect_class: str) -> set[str]:
        """Return the parts that have a reference defect of a class."""
        return {item.group for item in self._lent if item.defect_class == defect_class}

    def noun(self, defect_class: str) -> str:
        """Return the word of a class that only the bank has."""
        own = (self.settings.words or {}).get(defect_class)
        return own or defect_class.replace("_", " ").replace("-", " ")

    def pick(self, rng: Rng, defect_class: str, groups: Collection[str]) -> BankItem:
        """Return a reference defect of the class from one of the groups: every image is as
        likely."""
        images: dict[str, list[BankItem]] = {}
        for item in self._lent:
            if item.defect_class == defect_class and item.group in groups:
                images.setdefault(item.image_id, []).append(item)
        own = images[sorted(images)[int(rng.integers(len(images)))]]
        return own[int(rng.integers(len(own)))]

    def gather(self, item_id: str, is_alone: bool = False) -> DefectGroup:
        """Return a reference defect with the defects that lie together with it; ``is_alone``:
        without."""
        alone = [self.items[item_id]]
        return join(alone if is_alone else self._neighbours.get(item_id, alone))

    def joined(self) -> list[BankItem]:
        """Return those that lie together, each lot as one item."""
        lots = {frozenset(one.item_id for one in lot): lot for lot in self._neighbours.values()}
        return [join(lot).item for lot in lots.values() if len(lot) > 1]

    @property
    def line_fraction(self) -> float:
        """How many of the bank's defects are lines, 0.1..0.9; 0 = drawn ones are not likened."""
        if not self._lines:
            return 0.0
        return float(np.clip(len(self._lines) / len(self._lent), *LINE_FRACTION))

    def count_lines(self, rng: Rng) -> int | None:
        """Return as many lines as one of the bank's images with lines has; None = it has none."""
        if not self._lines:
            return None
        counts = Counter(item.image_id for item in self._lines)
        return min(counts[sorted(counts)[int(rng.integers(len(counts)))]], MAX_LINES)

    def draw_line(
        self, rng: Rng, kind: Line, defect_class: str, severity: float, scene: Scene
    ) -> Drawing:
        """Draw a line as long and wide as one of the bank's, at severity 0.5 as strong as it and
        dark or bright as it; as its kind says if the bank has none. Every pixel of the bank's lines
        is as likely: of those of its own class, if the bank has such, or else of all.

        Who marked the bank's lines drew them so wide, and will score what is learned by that; and
        where the lines that matter are long and faint, short and strong ones teach to pass over
        them.
        """
        drawn = kind.draw(rng, severity, scene)
        if not self._lines:
            return drawn
        alike = [one for one in self._lines if one.defect_class == defect_class] or self._lines
        lengths = np.array([one.length_px for one in alike])
        item = alike[int(rng.choice(len(lengths), p=lengths / lengths.sum()))]
        length = min(item.length_px, LONGEST_LINE * scene.short_side_px) / _widening(drawn, item)
        kind = kind.as_long(length).as_straight(item.straightness)
        wanted = item.change
        side = _side(wanted, item.mask)
        for _ in range(LINE_TRIES):
            drawn = kind.draw(rng, severity, scene)
            zoomed = zoom(drawn, _widening(drawn, item))
            line = zoomed if zoomed.mask.any() else drawn
            change = _change_of(line, item, scene)
            if side in (0, _side(change, line.mask)):
                break
        own = max(_strength(change, line.mask), 1.0)
        gain = _gain(severity) * _strength(wanted, item.mask) / own
        return fade(line, float(np.clip(gain, *LINE_FADE)))

    def place(self, rng: Rng, item: BankItem) -> tuple[float, float]:
        """Return where its like may lie, in shares of width and height."""
        own = middle(self._neighbours.get(item.item_id, [item]))
        mirrored = [x if rng.random() < 0.5 else 1 - x for x in own]
        x, y = np.clip(np.array(mirrored) + rng.normal(0, NEAR, 2), 0, 1)
        return float(x), float(y)

    def draw(
        self,
        rng: Rng,
        item_id: str,
        severity: float,
        place_xy: tuple[float, float] | None = None,
        is_alone: bool = False,
    ) -> Drawing:
        """Draw a defect like the reference defect, deformed; severity 0.5 has its own contrast.

        It is mirrored as its place is against the reference defect's (shares of width and height),
        or, without a place, left to right at random. What an image's border cut off is cut off
        again. What lies together with it comes along, unless it ``is_alone``.
        """
        lot = self.gather(item_id, is_alone)
        item = lot.item
        mirrored = (False, bool(rng.random() < 0.5))
        if place_xy is not None:
            (x, y), (own_x, own_y) = place_xy, item.place_xy
            mirrored = (_is_mirrored(y, own_y), _is_mirrored(x, own_x))
        covers = rng.random() < self.settings.own_texture
        change, parts, borders = _extend(item, lot.parts, covers)
        moved, shape, at = deform(rng, change, parts > 0, self.settings.deform, mirrored)
        cut_at = _find_cuts(shape, at, borders, mirrored)
        return Drawing.of_real(
            shape,
            moved[..., :3] * np.float32(_gain(severity)),
            moved[..., 3] if covers else None,
            cut_at=cut_at,
            parts=shape * _look_up(nearest_instance(parts), at),
            classes=lot.classes,
        )


def _is_mirrored(place: float, own: float) -> bool:
    """Whether a place is nearer to the mirror image of the reference defect's than to its own."""
    return abs(place - (1 - own)) < abs(place - own)


def _look_up(values: NDArray[np.uint8], at: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the values at the nearest places; ``at`` (h, w, 2): row and column."""
    last = np.array(values.shape) - 1
    rows, columns = np.moveaxis(np.clip(np.rint(at).astype(int), 0, last), 2, 0)
    return np.asarray(values[rows, columns])


def _extend(
    item: BankItem, parts: NDArray[np.uint8], covers: bool
) -> tuple[NDArray[np.float32], NDArray[np.uint8], dict[Side, int]]:
    """Return a reference defect's change, in shares of the level, and parts, going on beyond the
    borders that cut it off, and the rows and columns where these are. The change's fourth channel
    is the veil, where the reference defect ``covers`` the surface's texture."""
    rows, columns = np.nonzero(item.mask)
    reach = BEYOND_PX + round(BEYOND * (max(np.ptp(rows), np.ptp(columns)) + 1))
    window, pads, borders = [], [], {}
    for axis, (places, ends) in enumerate(((rows, SIDES[:2]), (columns, SIDES[2:]))):
        first, last = 0, item.mask.shape[axis]
        before, after = (reach if side in item.cut_sides else 0 for side in ends)
        if before:
            first, borders[ends[0]] = int(places.min()), before
        if after:
            last = int(places.max()) + 1
            borders[ends[1]] = before + last - first
        window.append(slice(first, last))
        pads.append((before, after))
    if covers:
        fractions = np.dstack(to_own_texture(item.change, item.clean, item.mask))
    else:
        fractions = to_fractions(item.change, item.clean, item.mask)
    change = np.pad(fractions[tuple(window)], (*pads, (0, 0)), mode="symmetric")
    return change, np.pad(parts[tuple(window)], pads, mode="symmetric"), borders


def _widening(line: Drawing, item: BankItem) -> float:
    """Return by how much a drawn line is to be zoomed to be as wide as one of the bank's."""
    own_px = line.mask.sum() / line_length(thin(line.mask))
    return float(np.clip(item.width_px / own_px, *LINE_ZOOM))


def _change_of(line: Drawing, item: BankItem, scene: Scene) -> NDArray[np.float32]:
    """Return what a drawn line changes, (h, w, 3) levels, on a plain ground as bright as the
    surface under one of the bank's."""
    level = float((item.clean[item.mask] @ LUMA).mean())
    ground = np.full((*line.mask.shape, 3), round(level), np.uint8)
    laid, _ = lay_on(ground, line, (0, 0), scene.optics, detail=False)
    return laid.astype(np.float32) - ground


def _gain(severity: float) -> float:
    return GAIN[0] + severity * (GAIN[1] - GAIN[0])


def _strength(change: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Return by how many grey levels a change (h, w, 3) stands out within a mask, on average."""
    return float(np.abs(change[mask] @ LUMA).mean())


def _side(change: NDArray[np.float32], mask: NDArray[np.bool_]) -> int:
    """Return 1 where a change (h, w, 3) is bright as a whole, -1 where dark, 0 where both."""
    mean = float((change[mask] @ LUMA).mean())
    return int(np.sign(mean)) if abs(mean) > ONE_SIDED * _strength(change, mask) else 0


def _find_cuts(
    shape: NDArray[np.bool_],
    at: NDArray[np.float32],
    borders: Mapping[Side, int],
    mirrored: tuple[bool, bool],
) -> dict[Side, float]:
    """Return where borders run through a deformed shape, in shares of its frame: the middle of
    what is a bent and turned line in it. ``at`` (h, w, 2): where its pixels come from."""
    found: dict[Side, float] = {}
    for side, border in borders.items():
        axis = AXIS_OF[side]
        is_first = side in ("top", "left")
        hidden = shape & ((at[..., axis] < border) == is_first)
        lines = hidden.T if axis == 0 else hidden
        lines = lines[lines.any(axis=1)]
        if not len(lines):
            continue
        seen_first = is_first != mirrored[axis]
        ends = (
            lines.shape[1] - lines[:, ::-1].argmax(axis=1) if seen_first else lines.argmax(axis=1)
        )
        found[SIDES[2 * axis + (not seen_first)]] = float(np.median(ends) / lines.shape[1])
    return found


def load_references(settings: BankSettings) -> References | None:
    """Read the bank, None where no path is given; raises SourceError, ConfigError.

    A bank that holds a defect of a split that may not lend is refused as a whole.
    """
    if settings.path is None:
        return None
    items = read_bank(settings.path)
    for item in items:
        if item.split not in settings.splits:
            wider = ",".join([*settings.splits, item.split])
            raise SourceError(
                f"{item.item_id} of the bank {settings.path} is of the split {item.split}: what is "
                "scored on must not lend defects; make the bank of real.split=train, or give "
                f"bank.splits=[{wider}] where it is not scored on"
            )
    return References(items, settings)
