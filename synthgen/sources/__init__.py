"""Catalogues of good images: drawn ones, a folder of photos, another run's; where parts are."""

from synthgen.sources.catalogue import SourceEntry, SourceIndex, Sources
from synthgen.sources.folder import FolderSources, grouping, name_files
from synthgen.sources.listing import SUFFIXES
from synthgen.sources.procedural import ProceduralSources

__all__ = [
    "SUFFIXES",
    "FolderSources",
    "ProceduralSources",
    "SourceEntry",
    "SourceIndex",
    "Sources",
    "grouping",
    "name_files",
]
