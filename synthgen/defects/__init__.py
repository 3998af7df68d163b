"""Procedural defects: where each one is (mask) and roughly how it looks (sketch)."""

from synthgen.defects.areas import Abrasion, Burn, Corrosion, Inclusion, Stain
from synthgen.defects.drawing import DefectKind, Drawing, lay_on, zoom
from synthgen.defects.hollows import Chip, Dent, Pit, Spatter
from synthgen.defects.lines import Crack, Fibre, Scratch

__all__ = ["DEFECTS", "DefectKind", "Drawing", "lay_on", "zoom"]

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
