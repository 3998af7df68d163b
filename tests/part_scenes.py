"""Photograph-like pictures of parts on backgrounds, drawn with known truth, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["BACKGROUNDS", "MATERIALS", "PARTS", "SHADOWS", "Scene", "draw_scene", "draw_series"]

CANVAS = 768  # px side of the canvas that a part is drawn on before it is turned and placed
Grey = NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scene:
    """A drawn photo (H, W, 3) uint8 RGB; where its part and its cast shadow are, (H, W) bool."""

    image: NDArray[np.uint8]
    part: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    name: str


def _blank() -> NDArray[np.uint8]:
    return np.zeros((CANVAS, CANVAS), np.uint8)


def _ring_points(count: int, radius: float) -> NDArray[np.int32]:
    turn = np.arange(count) * 2 * np.pi / count
    points = CANVAS / 2 + radius * np.stack([np.cos(turn), np.sin(turn)], 1)
    return np.rint(points).astype(np.int32)


def _screw(rng: Rng) -> NDArray[np.uint8]:
    mask, middle = _blank(), CANVAS // 2
    cv2.rectangle(mask, (150, middle - 38), (680, middle + 38), 255, -1)
    for x in range(230, 680, 26):  # the thread's crests
        points = np.array([[x, middle - 38], [x + 13, middle - 52], [x + 26, middle - 38]])
        cv2.fillPoly(mask, [points, CANVAS - points], 255)
    cv2.fillPoly(mask, [np.array([[680, middle - 38], [730, middle], [680, middle + 38]])], 255)
    cv2.rectangle(mask, (60, middle - 105), (150, middle + 105), 255, -1)
    return mask


def _needle(rng: Rng) -> NDArray[np.uint8]:
    mask, middle = _blank(), CANVAS // 2
    points = np.array([[30, middle - 16], [560, middle - 16], [740, middle], [560, middle + 16]])
    cv2.fillPoly(mask, [np.vstack([points, [[30, middle + 16]]])], 255)
    return mask


def _nut(rng: Rng) -> NDArray[np.uint8]:
    mask = _blank()
    cv2.fillPoly(mask, [_ring_points(6, 340)], 255)
    cv2.circle(mask, (CANVAS // 2,) * 2, 170, 0, -1)
    return mask


def _gear(rng: Rng) -> NDArray[np.uint8]:
    mask, middle = _blank(), (CANVAS // 2,) * 2
    turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    radius = 300 + 45 * np.clip(3 * np.sin(18 * turn), -1, 1)
    points = CANVAS / 2 + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 255)
    cv2.circle(mask, middle, 95, 0, -1)
    return mask


def _washer(rng: Rng) -> NDArray[np.uint8]:
    mask, middle = _blank(), (CANVAS // 2,) * 2
    cv2.circle(mask, middle, 340, 255, -1)
    cv2.circle(mask, middle, 200, 0, -1)
    return mask


def _ring(rng: Rng) -> NDArray[np.uint8]:
    mask = _blank()
    cv2.circle(mask, (CANVAS // 2,) * 2, 300, 255, 60)
    return mask


def _bracket(rng: Rng) -> NDArray[np.uint8]:
    mask = _blank()
    points = np.array([[90, 90], [270, 90], [270, 500], [680, 500], [680, 680], [90, 680]])
    cv2.fillPoly(mask, [points], 255)
    for place in ((180, 190), (180, 590), (580, 590)):
        cv2.circle(mask, place, 48, 0, -1)
    return mask


def _cap(rng: Rng) -> NDArray[np.uint8]:
    mask = _blank()
    cv2.circle(mask, (CANVAS // 2,) * 2, 330, 255, -1)
    return mask


def _pill(rng: Rng) -> NDArray[np.uint8]:
    mask, middle = _blank(), CANVAS // 2
    cv2.line(mask, (220, middle), (548, middle), 255, 300)
    return mask


def _pills(rng: Rng) -> NDArray[np.uint8]:
    mask = _blank()
    for x, y in ((170, 180), (560, 150), (400, 420), (150, 600), (610, 610)):
        cv2.ellipse(mask, (x, y), (125, 80), float(rng.uniform(0, 180)), 0, 360, 255, -1)
    return mask


def _cable(rng: Rng) -> NDArray[np.uint8]:
    mask, x = _blank(), np.arange(40, 730, 4)
    y = CANVAS / 2 + 150 * np.sin(x / 110 + rng.uniform(0, 6))
    cv2.polylines(mask, [np.stack([x, y], 1).astype(np.int32)], False, 255, 70)
    return mask


def _plate(rng: Rng) -> NDArray[np.uint8]:
    mask = _blank()
    cv2.rectangle(mask, (40, 150), (728, 620), 255, -1)
    for place in ((90, 200), (678, 200), (90, 570), (678, 570)):
        cv2.circle(mask, place, 22, 0, -1)
    return mask


PARTS: dict[str, Callable[[Rng], NDArray[np.uint8]]] = {
    "bracket": _bracket,
    "cable": _cable,
    "cap": _cap,
    "gear": _gear,
    "needle": _needle,
    "nut": _nut,
    "pill": _pill,
    "pills": _pills,
    "plate": _plate,
    "ring": _ring,
    "screw": _screw,
    "washer": _washer,
}
MATERIALS = ("metal", "plastic", "rubber", "wood")
BACKGROUNDS = ("white", "grey", "black", "gradient", "wood", "cloth", "brushed", "conveyor")
SHADOWS = ("none", "soft", "hard")


def _noise(rng: Rng, size_hw: tuple[int, int], sigma_xy: tuple[float, float]) -> Grey:
    field = rng.standard_normal(size_hw).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), sigmaX=sigma_xy[0], sigmaY=sigma_xy[1])
    return np.asarray(field / (field.std() + 1e-9), np.float32)


def _draw_background(rng: Rng, kind: str, size_hw: tuple[int, int]) -> Grey:
    """Return linear RGB (H, W, 3) of an empty table in even light times its own light."""
    height, width = size_hw
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    level = {"white": 0.75, "grey": 0.3, "black": 0.02, "gradient": 0.45, "conveyor": 0.05}
    base = np.full((*size_hw, 3), level.get(kind, 0.3), np.float32)
    tint = 1 + rng.normal(0, 0.03, 3)
    if kind == "wood":
        bend = _noise(rng, size_hw, (60, 60)) * 0.12
        rings = np.sin(2 * np.pi * (14 * (y + bend * 0.25))) * 0.5
        grain = 0.13 * rings + 0.09 * _noise(rng, size_hw, (14, 0.9))
        base = np.array([0.42, 0.25, 0.13], np.float32) * np.exp(grain)[..., None]
    elif kind == "cloth":
        weave = np.sin(np.arange(width) * 1.6)[None] * np.sin(np.arange(height) * 1.6)[:, None]
        folds = 0.08 * _noise(rng, size_hw, (70, 50))
        tint = rng.uniform(0.5, 1.2, 3)
        cloth = np.exp(0.12 * weave + folds + 0.06 * _noise(rng, size_hw, (1, 1)))
        base = base * cloth[..., None].astype(np.float32)
    elif kind == "brushed":
        base = base * np.exp(0.10 * _noise(rng, size_hw, (25, 0.7)))[..., None] * 1.3
    elif kind == "conveyor":
        base = base * np.exp(0.08 * _noise(rng, size_hw, (0.9, 0.9)))[..., None]
        for seam in (0.12, 0.88):
            base[np.abs(x - seam) < 0.004] *= 0.4
    if kind in ("gradient", "wood", "brushed", "grey"):
        way = rng.uniform(0, 2 * np.pi)
        slope = 0.7 if kind == "gradient" else 0.25
        light = 1 + slope * (np.cos(way) * (x - 0.5) + np.sin(way) * (y - 0.5))
        vignette = 1 - (0.7 if kind == "gradient" else 0.25) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
        base = base * (light * vignette)[..., None]
    return np.asarray(base * tint.astype(np.float32), np.float32)


def _draw_material(rng: Rng, kind: str, alpha: Grey, name: str) -> Grey:
    """Return linear RGB (H, W, 3) of the part's surface, shaded over a bevel."""
    inside = (alpha > 0.5).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    bevel = max(4.0, 0.35 * float(depth.max()))
    rise = np.sqrt(np.clip(1 - (1 - np.clip(depth / bevel, 0, 1)) ** 2, 0, 1)) * bevel
    rise = cv2.GaussianBlur(rise, (0, 0), 1.5)
    slope_x, slope_y = cv2.Sobel(rise, -1, 1, 0) / 8, cv2.Sobel(rise, -1, 0, 1) / 8
    facing = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    lit = np.clip((0.45 * -slope_x - 0.45 * slope_y + 0.78) * facing, 0.05, None)
    size = alpha.shape[:2]
    if kind == "metal":
        albedo = np.full((*size, 3), rng.uniform(0.3, 0.6)) * (1 + rng.normal(0, 0.02, 3))
        gloss = 0.9 * np.clip(lit, 0, 1) ** 20 + 0.10 * _noise(rng, size, (8, 0.8))
    elif kind == "plastic":
        albedo = np.ones((*size, 3)) * rng.permutation([0.55, 0.2, 0.06])
        gloss = 0.25 * np.clip(lit, 0, 1) ** 30 + 0.01 * _noise(rng, size, (1.5, 1.5))
    elif kind == "rubber":
        albedo = np.full((*size, 3), rng.uniform(0.02, 0.035))
        gloss = 0.01 * np.clip(lit, 0, 1) ** 6 + 0.002 * _noise(rng, size, (1, 1))
    else:
        grain = 0.2 * _noise(rng, size, (18, 1.2)) + 0.1 * _noise(rng, size, (2, 2))
        albedo = np.array([0.5, 0.3, 0.14]) * np.exp(grain)[..., None]
        gloss = np.zeros(size)
    if name == "plate" and kind == "plastic":  # a printed circuit board
        for _ in range(14):
            row, column = int(rng.uniform(0, size[0])), int(rng.uniform(0, size[1]))
            albedo[row : row + 4, column : column + 60] = [0.5, 0.42, 0.2]
            albedo[row : row + 14, column : column + 22] = 0.04
    return np.asarray(np.clip(albedo * lit[..., None] + gloss[..., None], 0.004, 1.1), np.float32)


def _cast_shadow(rng: Rng, alpha: Grey, kind: str) -> Grey:
    """Return how much of the light is taken, (H, W) 0..1."""
    if kind == "none":
        return np.zeros_like(alpha)
    reach = 0.02 * max(alpha.shape) * rng.uniform(0.6, 1.6)
    way, cast = rng.uniform(0, 2 * np.pi), np.zeros_like(alpha)
    for step in np.linspace(0, 1, 8):
        move = np.array([[1, 0, reach * step * np.cos(way)], [0, 1, reach * step * np.sin(way)]])
        moved = cv2.warpAffine(alpha, move, alpha.shape[::-1])
        cast = np.maximum(cast, moved)
    blur_px = 0.8 if kind == "hard" else rng.uniform(3, 8)
    strength = rng.uniform(0.35, 0.75)
    contact = cv2.GaussianBlur(alpha, (0, 0), 3) * 0.5
    return np.asarray(np.maximum(strength * cv2.GaussianBlur(cast, (0, 0), blur_px), contact))


def _place(mask: NDArray[np.uint8], size_hw: tuple[int, int], pose: NDArray[np.float64]) -> Grey:
    """Return a part's canvas on the photo; ``pose``: centre x, y and length in px, angle in deg."""
    x, y, length, angle = pose
    scale = length / CANVAS
    smooth = cv2.GaussianBlur(mask, (0, 0), max(0.1, 0.4 / scale)).astype(np.float32) / 255
    turn = cv2.getRotationMatrix2D((CANVAS / 2, CANVAS / 2), angle, scale)
    turn[:, 2] += np.array([x, y]) - CANVAS / 2
    return np.asarray(cv2.warpAffine(smooth, turn, size_hw[::-1], flags=cv2.INTER_LINEAR))


def _photograph(rng: Rng, light: Grey, is_grey: bool) -> NDArray[np.uint8]:
    """Return uint8 sRGB of linear light: lens blur, sensor noise, JPEG."""
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.5, 1.8))
    light = light + rng.normal(0, 0.004, light.shape) + rng.normal(0, 0.012, light.shape) * light
    image = np.clip(255 * np.clip(light, 0, 1) ** (1 / 2.2), 0, 255).astype(np.uint8)
    if is_grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    quality = int(rng.integers(75, 97))
    coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def draw_scene(
    seed: int,
    *,
    part: str,
    material: str,
    background: str,
    shadow: str = "soft",
    size_hw: tuple[int, int] = (384, 512),
    is_grey: bool = False,
    is_cut: bool = False,
    is_glossy: bool = False,
    length_fraction: float = 0.6,
    camera_seed: int | None = None,
    pose_fraction: tuple[float, float, float] | None = None,
) -> Scene:
    """Draw a part on a table.

    ``length_fraction``: of the photo's short side. ``is_cut``: the frame cuts the part.
    ``is_glossy``: the table mirrors the part. ``camera_seed``: photos with the same one show the
    same table. ``pose_fraction``: the part's centre x, y (of width, height) and angle in degrees.
    """
    rng = np.random.default_rng([seed, 1])
    height, width = size_hw
    table_rng = np.random.default_rng([seed if camera_seed is None else camera_seed, 2])
    table = _draw_background(table_rng, background, size_hw)
    length = length_fraction * min(size_hw)
    x, y, angle = rng.uniform(0.45, 0.55), rng.uniform(0.45, 0.55), rng.uniform(0, 360)
    if is_cut:
        x = float(rng.choice([0.05, 0.95]))
    if pose_fraction is not None:
        x, y, angle = pose_fraction
    pose = np.array([x * width, y * height, length, angle])
    alpha = _place(PARTS[part](rng), size_hw, pose)
    taken = _cast_shadow(rng, alpha, shadow)
    ground = table * (1 - taken[..., None])
    surface = _draw_material(rng, material, alpha, part)
    if is_glossy:
        down = np.array([[1, 0, 0], [0, 1, 0.04 * height]])
        mirrored = cv2.warpAffine(surface * alpha[..., None], down, (width, height))
        ground = ground + 0.12 * cv2.GaussianBlur(mirrored, (0, 0), 4)
    light = surface * alpha[..., None] + ground * (1 - alpha[..., None])
    truth = alpha > 0.5
    return Scene(
        image=_photograph(rng, light, is_grey),
        part=truth,
        shadow=(taken > 0.12) & ~truth,
        name=f"{part}-{material}-{background}-{shadow}{'-grey' if is_grey else ''}"
        f"{'-cut' if is_cut else ''}{'-glossy' if is_glossy else ''}",
    )


def draw_series(
    seed: int,
    count: int,
    *,
    part: str,
    material: str,
    background: str,
    moves: Literal["everywhere", "never"],
    shadow: str = "soft",
    length_fraction: float = 0.35,
) -> list[Scene]:
    """Draw a fixed camera's photos: the part lies elsewhere and turned on each, or never moves."""
    rng = np.random.default_rng([seed, 3])
    scenes = []
    for number in range(count):
        pose = (0.5, 0.5, 30.0)
        if moves == "everywhere":
            pose = (rng.uniform(0.25, 0.75), rng.uniform(0.28, 0.72), rng.uniform(0, 360))
        scenes.append(
            draw_scene(
                seed * 1000 + number,
                part=part,
                material=material,
                background=background,
                shadow=shadow,
                size_hw=(288, 384),
                length_fraction=length_fraction,
                camera_seed=seed,
                pose_fraction=pose,
            )
        )
    return scenes
