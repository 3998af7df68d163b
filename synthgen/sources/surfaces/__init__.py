"""Procedural good surfaces: seeded photographs of nothing, for a first run without data."""

from synthgen.sources.surfaces.kinds import SURFACES, Surface, draw_surface

__all__ = ["SURFACES", "Surface", "draw_surface"]
