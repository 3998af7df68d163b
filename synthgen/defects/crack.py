"""A crack: the material has come apart along a jagged line."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Fraction, Positive, Ratio
from synthgen.defects.drawing.drawing import SCALE, Drawing, Rng, Scene, draw_size, draw_strength
from synthgen.defects.drawing.lines import MIN_WIDTH, heading_deviation
from synthgen.defects.drawing.shapes import Points, merge, stroke
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Crack"]

PULL = 0.15  # of a crack's heading toward where it goes, a step
SWAY = (1 - (1 - PULL) ** 2) ** -0.5  # deviation of a crack's heading, in its jaggedness
STEPS = 36  # about, along a crack, whatever its length
MIN_STEP_PX = 1.2
MAX_BRANCHES = 5


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Crack:
    """A jagged dark line that branches and thins out toward its tips.

    ``jaggedness`` is the deviation by which its heading changes, in radians a step;
    ``branch_probability`` is that of a branch, a step. It has some 36 steps.
    """

    length_fraction: Fraction = (0.06, 0.7)
    length_px: Positive | None = None
    width_fraction: Fraction = (0.002, 0.014)
    width_px: Positive | None = None
    jaggedness: Ratio = 0.3
    branch_probability: Ratio = 0.05
    contrast: Contrast = (0.1, 0.45)

    def as_long(self, length_px: float) -> Crack:
        """Return the same class with one length, in pixels, in place of its range."""
        return replace(self, length_px=(length_px, length_px))

    def as_straight(self, straightness: float) -> Crack:
        """Return one, no more jagged or branched than this one, as straight as that.

        ``straightness`` 0..1 is about the distance of its ends over its length.
        """
        jaggedness = min(self.jaggedness, heading_deviation(straightness) / SWAY)
        fraction = jaggedness / max(self.jaggedness, 1e-6)
        return replace(
            self,
            jaggedness=jaggedness,
            branch_probability=self.branch_probability * fraction**2,
        )

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw a dark gap with its branches; its edges have lifted by some of its width.

        It is at most a sixth as wide as it is long.
        """
        length = draw_size(rng, self.length_px, self.length_fraction, scene)
        width = draw_size(rng, self.width_px, self.width_fraction, scene, MIN_WIDTH)
        width = min(width, length / 6)
        branches: list[tuple[Map, Points]] = []
        step = max(length / STEPS, MIN_STEP_PX * SCALE)
        heading = rng.uniform(0, 2 * np.pi)
        self._walk(rng, branches, np.zeros(2), heading, length, width, step)
        cover = merge(branches)
        # The gap holds no light; its walls, where the edges have lifted, catch some.
        lip = cv2.GaussianBlur(cover, (0, 0), 0.5 * width + 1)
        return Drawing.of(
            rng,
            cover,
            draw_strength(self.contrast, severity),
            scene,
            tone=-cover,
            height=-lip * width / SCALE * rng.uniform(0, 0.35),
            gone=cover * 0.8,
            grit=fractal_noise(rng, cover.shape, 3, octaves=2) * cover * 0.12,
        )

    def _walk(
        self,
        rng: Rng,
        branches: list[tuple[Map, Points]],
        start: NDArray[np.float64],
        heading: float,
        length: float,
        width: float,
        step: float,
    ) -> None:
        """Add a line from a start, and what branches off it, to ``branches``."""
        count = max(4, int(length / step))
        goal = heading
        points = [start]
        for number in range(count):
            heading += rng.normal(0, self.jaggedness) + PULL * (goal - heading)
            points.append(points[-1] + step * np.array([np.cos(heading), np.sin(heading)]))
            rest = count - number
            if len(branches) < MAX_BRANCHES and rest > 6 and rng.random() < self.branch_probability:
                side = heading + rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
                part = rest * step * rng.uniform(0.3, 0.7)
                self._walk(rng, branches, points[-1], side, part, width * 0.7, step)
        # The line with a point at about each pixel: between the corners it is straight.
        line, corners = np.array(points), np.arange(count + 1)
        places = np.linspace(0, count, count * max(1, int(step / SCALE)) + 1)
        fine = np.stack([np.interp(places, corners, axis) for axis in line.T], axis=1)
        taper = np.linspace(1, 0.35, len(fine))
        rough = np.interp(places, corners, rng.normal(0, 0.25, count + 1))
        widths = np.clip(width * taper * np.exp(rough), 1, None).astype(np.float32)
        weights = np.clip(np.linspace(1.1, 0.6, len(fine)), 0, 1).astype(np.float32)
        branches.append(stroke(fine.astype(np.float32), widths, weights))
