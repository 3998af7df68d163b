"""Catalogues of good images: drawn ones, a folder of photos, another run's; where parts are."""

from synthgen.sources.catalogue import SourceEntry, SourceIndex, Sources
from synthgen.sources.folder import FolderSources
from synthgen.sources.procedural import ProceduralSources

__all__ = [
    "FolderSources",
    "ProceduralSources",
    "SourceEntry",
    "SourceIndex",
    "Sources",
]
