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


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
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
    """The real defects of a bank, by class and image.

    ``faint`` holds those that lend nothing. They are hardly visible themselves, so that what is
    painted like them could not be labelled.
    """

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
        """Return a reference defect of the class from one of the groups.

        Every image is as likely as any other, however many defects it has.
        """
        images: dict[str, list[BankItem]] = {}
        for item in self._lent:
            if item.defect_class == defect_class and item.group in groups:
                images.setdefault(item.image_id, []).append(item)
        own = images[sorted(images)[int(rng.integers(len(images)))]]
        return own[int(rng.integers(len(own)))]

    def gather(self, item_id: str, is_alone: bool = False) -> DefectGroup:
        """Return a reference defect with the defects that lie together with it.

        ``is_alone``: without them.
        """
        alone = [self.items[item_id]]
        return join(alone if is_alone else self._neighbours.get(item_id, alone))

    def joined(self) -> list[BankItem]:
        """Return the defects that lie together, each lot of two or more as one item."""
        lots = {frozenset(one.item_id for one in lot): lot for lot in self._neighbours.values()}
        return [join(lot).item for lot in lots.values() if len(lot) > 1]

    @property
    def line_fraction(self) -> float:
        """The fraction of the bank's defects that are lines, clipped to 0.1..0.9.

        0 where drawn lines are not made like the bank's.
        """
        if not self._lines:
            return 0.0
        return float(np.clip(len(self._lines) / len(self._lent), *LINE_FRACTION))

    def count_lines(self, rng: Rng) -> int | None:
        """Return how many lines a random image of the bank has, of those with lines; 1 to 8.

        None where the bank lends no lines.
        """
        if not self._lines:
            return None
        counts = Counter(item.image_id for item in self._lines)
        return min(counts[sorted(counts)[int(rng.integers(len(counts)))]], MAX_LINES)

    def draw_line(
        self, rng: Rng, kind: Line, defect_class: str, severity: float, scene: Scene
    ) -> Drawing:
        """Draw a line as long, wide, and dark or bright as one of the bank's.

        At severity 0.5 it is as strong, too. Where the bank lends no lines, it is drawn as its kind
        says. A line of the bank is drawn with a probability in proportion to its length, among
        those of ``defect_class`` if the bank has such, else among all.

        The width is that of the bank's masks since a model is scored by masks drawn in the same
        way. Where the lines that matter are long and faint, short and strong ones teach a model to
        miss them.
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
        # Lines are compared on a plain ground as bright as the surface under the bank's line.
        level = round(float((item.clean[item.mask] @ LUMA).mean()))
        for _ in range(LINE_TRIES):
            drawn = kind.draw(rng, severity, scene)
            zoomed = zoom(drawn, _widening(drawn, item))
            line = zoomed if zoomed.mask.any() else drawn
            ground = np.full((*line.mask.shape, 3), level, np.uint8)
            laid, _ = lay_on(ground, line, (0, 0), scene.optics, detail=False)
            change = laid.astype(np.float32) - ground
            if side in (0, _side(change, line.mask)):
                break
        own = max(_strength(change, line.mask), 1.0)
        gain = _gain(severity) * _strength(wanted, item.mask) / own
        return fade(line, float(np.clip(gain, *LINE_FADE)))

    def place(self, rng: Rng, item: BankItem) -> tuple[float, float]:
        """Return where a defect like it may lie: (x, y) in fractions of the image's sides.

        Near its own place, mirrored with probability 0.5 along each axis.
        """
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

        It is mirrored if ``place_xy`` (fractions of the image's sides) is nearer to the mirrored
        place of the reference defect; without a place, left to right at random. What an image's
        border cut off is cut off again. Defects that lie together with it come along, unless it
        ``is_alone``.
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
        # A deformed pixel belongs to the part that is nearest to where the pixel comes from.
        last = np.array(parts.shape) - 1
        rows, columns = np.moveaxis(np.clip(np.rint(at).astype(int), 0, last), 2, 0)
        return Drawing.of_real(
            shape,
            moved[..., :3] * np.float32(_gain(severity)),
            moved[..., 3] if covers else None,
            cut_at=_find_cuts(shape, at, borders, mirrored),
            parts=shape * np.asarray(nearest_instance(parts)[rows, columns]),
            classes=lot.classes,
        )


def _is_mirrored(place: float, own: float) -> bool:
    """Say whether a place is nearer to the mirrored place of a reference defect than to its own."""
    return abs(place - (1 - own)) < abs(place - own)


def _extend(
    item: BankItem, parts: NDArray[np.uint8], covers: bool
) -> tuple[NDArray[np.float32], NDArray[np.uint8], dict[Side, int]]:
    """Return a reference defect's change and parts, continued beyond the borders that cut it off.

    The change is in fractions of the level. Its fourth channel is the veil, where the reference
    defect ``covers`` the surface's texture. Third comes the row or column where each border is.
    """
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
    """Return by how much to zoom a drawn line so that it is as wide as one of the bank's."""
    own_px = line.mask.sum() / line_length(thin(line.mask))
    return float(np.clip(item.width_px / own_px, *LINE_ZOOM))


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
    """Return where borders run through a deformed shape, in fractions of its frame.

    A border is a bent and turned line there; its middle is returned. ``at`` (h, w, 2) says where
    each pixel comes from: row, column.
    """
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
