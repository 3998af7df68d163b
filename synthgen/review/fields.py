"""Names that a run's dataset is spoken of by; nothing heavy, since the App's server loads them."""

__all__ = ["CONTROL", "DEFECTS", "IMAGE", "REAL", "REVIEWER", "SLICES", "SLICE_FIELD", "SOURCE"]

SLICE_FIELD = "slices"
IMAGE, SOURCE, CONTROL = SLICES = ("image", "source", "control")
REAL = "real"  # the tag of photographed defects
DEFECTS = "defects"  # the field of the labels, one detection a defect
REVIEWER = "SYNTHGEN_REVIEWER"  # an environment variable: whose verdicts they are
