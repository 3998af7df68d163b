"""The errors synthgen raises, each one clear sentence: what, where, what to do.

SynthgenError
├── ConfigError      a setting is unknown, of the wrong type or impossible
├── SourceError      a source image or its folder cannot be used
├── ShapeError       two arrays that belong together differ in size
├── ModelError       a checkpoint is missing, incomplete or of an unknown family
├── PlacementError   there is no room for the defect on this source
└── RunError         a run folder cannot be used or continued
"""

__all__ = [
    "ConfigError",
    "ModelError",
    "PlacementError",
    "RunError",
    "ShapeError",
    "SourceError",
    "SynthgenError",
]


class SynthgenError(Exception):
    """Any error a user can mend; the command line prints it as one sentence and exits 2."""


class ConfigError(SynthgenError):
    """A setting is unknown, of the wrong type or impossible; the message names its key."""


class SourceError(SynthgenError):
    """A source image or its folder cannot be used."""


class ShapeError(SynthgenError):
    """Two arrays that belong together differ in size."""


class ModelError(SynthgenError):
    """A checkpoint is missing, incomplete or of an unknown family."""


class PlacementError(SynthgenError):
    """There is no room for the defect on this source."""


class RunError(SynthgenError):
    """A run folder cannot be used or continued."""
