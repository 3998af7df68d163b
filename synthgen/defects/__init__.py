"""Defects: where each one is (mask) and how it changes the surface; one module per class."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from synthgen.defects.abrasion import Abrasion
from synthgen.defects.burn import Burn
from synthgen.defects.chip import Chip
from synthgen.defects.corrosion import Corrosion
from synthgen.defects.crack import Crack
from synthgen.defects.dent import Dent
from synthgen.defects.drawing.drawing import DefectKind, Drawing, Scene, zoom
from synthgen.defects.drawing.render import lay_on
from synthgen.defects.fibre import Fibre
from synthgen.defects.inclusion import Inclusion
from synthgen.defects.pit import Pit
from synthgen.defects.scratch import Scratch
from synthgen.defects.spatter import Spatter
from synthgen.defects.stain import Stain

__all__ = [
    "DEFECTS",
    "Abrasion",
    "Burn",
    "Chip",
    "Corrosion",
    "Crack",
    "DefectKind",
    "Dent",
    "Drawing",
    "Fibre",
    "Inclusion",
    "Pit",
    "Scene",
    "Scratch",
    "Spatter",
    "Stain",
    "lay_on",
    "zoom",
]


# The module ``dent`` holds the class ``Dent``; a module without such a class is not a defect.
DEFECTS: dict[str, type[DefectKind]] = {}
for _name in sorted(found.name for found in iter_modules(__path__)):
    _kind: Any = getattr(import_module(f"{__name__}.{_name}"), _name.title(), None)
    if hasattr(_kind, "draw"):
        DEFECTS[_name] = _kind
