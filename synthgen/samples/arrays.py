"""Array types: what the elements are, and what the axes are.

A type checker sees the elements; ``tests/unit/test_arrays.py`` checks the axes where rooms meet.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

__all__ = ["IdMap", "Image", "Lab", "Map", "Mask"]

Image = Annotated[NDArray[np.uint8], "height width 3"]  # RGB
Mask = Annotated[NDArray[np.bool_], "height width"]  # True = belongs to it
IdMap = Annotated[NDArray[np.uint8], "height width"]  # whose each pixel is, 0 = nobody's
Lab = Annotated[NDArray[np.float32], "height width 3"]  # CIELAB, D65
Map = Annotated[NDArray[np.float32], "height width"]  # a number per pixel
