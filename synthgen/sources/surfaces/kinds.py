"""Kinds of procedural surface. Each draws grey-level structure and a colour; one lens for all."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ConfigError
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import (
    fractal_noise,
    relief_shading,
    standardise,
    streaks,
    white_noise,
)

__all__ = ["SURFACES", "Surface", "draw_surface"]

Rng = np.random.Generator
SizeHW = tuple[int, int]
Colour = tuple[float, float, float]
Paint = tuple[Map, Colour | NDArray[np.float32]]  # grey-level structure, mean colour (0..255)


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A drawn surface: ``image`` (H, W, 3) uint8 RGB, its kind, and its name in prompts."""

    image: NDArray[np.uint8]
    kind: str
    name: str


def draw_surface(rng: Rng, size_hw: SizeHW, kind: str | None = None) -> Surface:
    """Draw a seeded surface of any size, of one kind or of a random one.

    Light falls off along a slope and toward the corners, the lens blurs, the sensor adds noise.
    Raises ConfigError for a kind that SURFACES lacks.
    """
    kind = kind or str(rng.choice(sorted(SURFACES)))
    if kind not in SURFACES:
        raise ConfigError(f"surface {kind!r} is unknown; choose from {', '.join(sorted(SURFACES))}")
    draw, name = SURFACES[kind]
    structure, colour = draw(rng, size_hw)
    height, width = size_hw
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    slope = rng.normal(0, 0.06, 2)
    vignette = rng.uniform(0, 0.1) * (x * x + y * y)
    light = 1 + slope[0] * x + slope[1] * y - vignette
    tinted = np.asarray(colour, np.float32)
    scale = tinted / max(float(tinted.mean()), 1.0)  # structure keeps the material's hue
    image = (tinted + structure[..., None] * (0.4 + 0.6 * scale)) * light[..., None]
    blur = rng.uniform(0, 0.9)
    if blur > 0.35:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    noise = rng.uniform(0.3, 2.5)
    image = image + white_noise(rng, (height, width))[..., None] * noise
    if rng.random() < 0.5:
        image = image + rng.standard_normal(image.shape, dtype=np.float32) * noise * 0.5
    if rng.random() < 0.25:  # a grey camera
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    return Surface(np.asarray(np.clip(image, 0, 255), np.uint8), kind, name)


def _grey(rng: Rng, low: float, high: float, spread: float = 3) -> Colour:
    base = rng.uniform(low, high)
    r, g, b = np.clip(base + rng.normal(0, spread, 3), 5, 250)
    return float(r), float(g), float(b)


def _hue(rng: Rng, hue: float, saturation: float, value: float) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(hue % 1, float(np.clip(saturation, 0, 1)), value)
    return r * 255, g * 255, b * 255


def _metal(rng: Rng) -> Colour:
    pick = rng.random()
    if pick < 0.7:
        return _grey(rng, 70, 200)
    if pick < 0.85:  # brass, bronze
        return _hue(rng, rng.uniform(0.09, 0.13), rng.uniform(0.25, 0.5), rng.uniform(0.5, 0.85))
    return _hue(
        rng, rng.uniform(0.04, 0.07), rng.uniform(0.3, 0.5), rng.uniform(0.5, 0.8)
    )  # copper


def _any_colour(rng: Rng) -> Colour:
    return _hue(rng, rng.random(), rng.beta(1.2, 1.8) * 0.85, rng.uniform(0.25, 0.95))


def draw_brushed(rng: Rng, size: SizeHW) -> Paint:
    """Draw brushed metal: fine and coarse streaks along one direction."""
    angle = 0.0 if rng.random() < 0.5 else rng.choice([90.0, rng.uniform(0, 180)])
    fine = streaks(rng, size, rng.uniform(20, 120), angle) * rng.uniform(3, 13)
    coarse = streaks(rng, size, rng.uniform(60, 200), angle)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 1.2) * rng.uniform(2, 10)
    return fine + coarse, _metal(rng)


def draw_cast(rng: Rng, size: SizeHW) -> Paint:
    """Draw cast metal: a rough skin under light, with grains."""
    height = fractal_noise(rng, size, rng.uniform(3, 9), octaves=3, persistence=0.7)
    shaded = standardise(relief_shading(height, rng.uniform(0, 360)))
    grains = fractal_noise(rng, size, rng.uniform(2, 5), octaves=1)
    return shaded * rng.uniform(5, 16) + grains * rng.uniform(2, 8), _grey(rng, 60, 180)


def draw_turned(rng: Rng, size: SizeHW) -> Paint:
    """Draw turned metal: rings around a centre that may lie outside."""
    height, width = size
    reach = max(size)
    centre_x, centre_y = rng.uniform(-0.7 * reach, 1.7 * reach, 2)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.hypot(x - centre_x, y - centre_y)
    samples = int(radius.max()) * 2 + 4
    profile = cv2.GaussianBlur(white_noise(rng, (1, samples)), (0, 0), rng.uniform(0.6, 2.5))[0]
    pitch = rng.uniform(3, 9)
    groove = np.sin(np.arange(samples) / 2 * 2 * np.pi / pitch) * rng.uniform(0, 1.2)
    rings = np.interp(radius, np.arange(samples) / 2, standardise(profile) + groove)
    sheen = np.cos(2 * np.arctan2(y - centre_y, x - centre_x) + rng.uniform(0, 6.28))
    grey = standardise(rings.astype(np.float32)) * rng.uniform(5, 18) + sheen * rng.uniform(0, 18)
    return grey.astype(np.float32), _metal(rng)


def draw_rolled(rng: Rng, size: SizeHW) -> Paint:
    """Draw rolled steel: bands along one direction, and scale."""
    bands = fractal_noise(rng, size, rng.uniform(6, 20), stretch=rng.uniform(5, 14))
    scale = fractal_noise(rng, size, rng.uniform(20, 60), octaves=4)
    field = bands * rng.uniform(3, 9) + scale * rng.uniform(2, 9) + white_noise(rng, size) * 2
    return field, _grey(rng, 60, 170, 2)


def draw_ground(rng: Rng, size: SizeHW) -> Paint:
    """Draw ground metal: streaks that cross."""
    first = rng.uniform(0, 180)
    cross = streaks(rng, size, rng.uniform(25, 90), first)
    cross = cross + streaks(rng, size, rng.uniform(25, 90), first + rng.uniform(30, 90))
    return standardise(cross) * rng.uniform(4, 12), _metal(rng)


def draw_woven(rng: Rng, size: SizeHW) -> Paint:
    """Draw woven fabric: threads over and under each other."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn = rng.normal(0, 0.15) + (np.pi / 4 if rng.random() < 0.3 else 0)
    wobble = fractal_noise(rng, size, 60) * rng.uniform(0, 0.8)
    u = x * np.cos(turn) + y * np.sin(turn) + wobble
    v = -x * np.sin(turn) + y * np.cos(turn) + wobble
    pitch = rng.uniform(4, 12)
    over = np.sin(np.pi * u / pitch) * np.sin(np.pi * v / pitch) > 0  # which thread is on top
    warp, weft = np.abs(np.sin(np.pi * u / pitch)), np.abs(np.sin(np.pi * v / pitch))
    threads = np.where(over, warp, weft * rng.uniform(0.7, 1.0))
    fuzz = fractal_noise(rng, size, 2.5, octaves=2) * rng.uniform(1, 5)
    return standardise(threads.astype(np.float32)) * rng.uniform(6, 18) + fuzz, _any_colour(rng)


def draw_wood(rng: Rng, size: SizeHW) -> Paint:
    """Draw wood: bent rings along one direction."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    upright = rng.random() < 0.5
    across, along = (x, y) if upright else (y, x)
    bend = fractal_noise(rng, size, 90, octaves=2) * rng.uniform(2, 10)
    ring = (across + bend + 0.05 * along) / rng.uniform(8, 26) * 2 * np.pi
    rings = np.abs(np.sin(ring / 2)) ** rng.uniform(0.5, 2)
    fibre = streaks(rng, size, rng.uniform(15, 60), 90.0 if upright else 0.0)
    pores = np.minimum(streaks(rng, size, rng.uniform(6, 18), 90.0 if upright else 0.0) + 1.8, 0)
    field = standardise(rings.astype(np.float32)) * rng.uniform(4, 14) + fibre * rng.uniform(2, 6)
    colour = _hue(rng, rng.uniform(0.05, 0.11), rng.uniform(0.3, 0.65), rng.uniform(0.4, 0.85))
    return field + pores * rng.uniform(5, 16), colour


def draw_painted(rng: Rng, size: SizeHW) -> Paint:
    """Draw painted metal: orange peel under light."""
    peel = fractal_noise(rng, size, rng.uniform(5, 14), octaves=2, persistence=0.4)
    shaded = standardise(relief_shading(peel, rng.uniform(0, 360)))
    return shaded * rng.uniform(1.5, 9), _any_colour(rng)


def draw_concrete(rng: Rng, size: SizeHW) -> Paint:
    """Draw concrete: clouds, sand and pores."""
    clouds = fractal_noise(rng, size, rng.uniform(25, 70), octaves=5, persistence=0.65)
    sand = fractal_noise(rng, size, 2.2, octaves=2)
    pores = np.minimum(fractal_noise(rng, size, rng.uniform(4, 8), octaves=2) + 2.0, 0)
    field = clouds * rng.uniform(4, 12) + sand * rng.uniform(3, 11) + pores * rng.uniform(8, 25)
    colour = _hue(rng, rng.uniform(0.06, 0.14), rng.uniform(0, 0.16), rng.uniform(0.35, 0.8))
    return field, colour


def draw_plastic(rng: Rng, size: SizeHW) -> Paint:
    """Draw moulded plastic: a matt grain and the lines of its flow."""
    matt = fractal_noise(rng, size, rng.uniform(1.5, 4), octaves=2) * rng.uniform(1, 5)
    flow = fractal_noise(rng, size, 60, stretch=rng.uniform(1, 4), octaves=2) * rng.uniform(0, 4)
    return matt + flow, _any_colour(rng)


def draw_speckled(rng: Rng, size: SizeHW) -> Paint:
    """Draw speckled stone: dark and light flakes."""
    flakes = fractal_noise(rng, size, rng.uniform(3, 8), octaves=2)
    dark = np.minimum(flakes + rng.uniform(0.8, 1.6), 0) * rng.uniform(12, 40)
    light = np.maximum(flakes - rng.uniform(0.9, 1.8), 0) * rng.uniform(5, 30)
    base = fractal_noise(rng, size, 30) * rng.uniform(2, 6)
    return dark + light + base, _grey(rng, 90, 215, 8)


def draw_leather(rng: Rng, size: SizeHW) -> Paint:
    """Draw leather: a net of creases under light."""
    cells = np.abs(fractal_noise(rng, size, rng.uniform(5, 12), octaves=2))  # creases at zero
    creases = -np.exp(-((cells / 0.22) ** 2)).astype(np.float32)
    height = cells + creases
    shaded = standardise(relief_shading(height, rng.uniform(0, 360))) * rng.uniform(3, 9)
    colour = (
        _any_colour(rng)
        if rng.random() < 0.3
        else _hue(rng, rng.uniform(0.02, 0.1), rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.7))
    )
    return shaded + creases * rng.uniform(5, 16), colour


SURFACES: dict[str, tuple[Callable[[Rng, SizeHW], Paint], str]] = {
    "brushed": (draw_brushed, "brushed metal"),
    "cast": (draw_cast, "cast metal"),
    "concrete": (draw_concrete, "concrete"),
    "ground": (draw_ground, "ground metal"),
    "leather": (draw_leather, "leather"),
    "painted": (draw_painted, "painted metal"),
    "plastic": (draw_plastic, "moulded plastic"),
    "rolled": (draw_rolled, "rolled steel"),
    "speckled": (draw_speckled, "speckled stone"),
    "turned": (draw_turned, "turned metal"),
    "wood": (draw_wood, "wood"),
    "woven": (draw_woven, "woven fabric"),
}
