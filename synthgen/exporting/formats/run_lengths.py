"""Run lengths of a mask in row-major order, which annotation tools use (COCO's go by columns)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["run_lengths"]


def run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.signedinteger[Any]]:
    """Return the lengths of the runs of a mask, row by row; the first one counts False, maybe 0.

    >>> run_lengths(np.array([[1, 1, 0], [0, 0, 1]], dtype=bool)).tolist()
    [0, 2, 3, 1]
    """
    flat = mask.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    return np.diff(changes, prepend=0, append=flat.size)
