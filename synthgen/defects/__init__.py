"""Defects: where each one is (mask) and how it changes the surface; one module per class."""

from synthgen.defects.abrasion import Abrasion
from synthgen.defects.burn import Burn
from synthgen.defects.chip import Chip
from synthgen.defects.corrosion import Corrosion
from synthgen.defects.crack import Crack
from synthgen.defects.dent import Dent
from synthgen.defects.drawing import DefectKind, Drawing, Scene, zoom
from synthgen.defects.fibre import Fibre
from synthgen.defects.inclusion import Inclusion
from synthgen.defects.pit import Pit
from synthgen.defects.render import lay_on
from synthgen.defects.scratch import Scratch
from synthgen.defects.spatter import Spatter
from synthgen.defects.stain import Stain

__all__ = ["DEFECTS", "DefectKind", "Drawing", "Scene", "lay_on", "zoom"]

DEFECTS: dict[str, type[DefectKind]] = {
    "abrasion": Abrasion,
    "burn": Burn,
    "chip": Chip,
    "corrosion": Corrosion,
    "crack": Crack,
    "dent": Dent,
    "fibre": Fibre,
    "inclusion": Inclusion,
    "pit": Pit,
    "scratch": Scratch,
    "spatter": Spatter,
    "stain": Stain,
}
