"""Anyone's own function as a control image."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import validate_call

from synthgen.conditioning.control.controls import Annotator, Control
from synthgen.conditioning.control.dense import DenseControl
from synthgen.conditioning.control.edges import EdgeControl
from synthgen.errors import ConfigError

__all__ = ["FunctionAnnotator", "function_control"]

KINDS: dict[str, Callable[[Annotator], Control]] = {"edges": EdgeControl, "dense": DenseControl}


@validate_call
def function_control(function: str, kind: Literal["edges", "dense"]) -> Control:
    """Return ``module:name``, a function of RGB images, as a control; raises ConfigError.

    ``kind``: *edges* are combined with the defect's outline (EdgeControl), a *dense* map is taken
    as it is (DenseControl).
    """
    return KINDS[kind](FunctionAnnotator(function))


class FunctionAnnotator:
    """Calls ``module:name`` with an RGB uint8 image (H, W, 3); it must return a uint8 map.

    The map is (h, w) or (h, w, 3), of any size. Raises ConfigError where there is no such function.
    """

    def __init__(self, function: str) -> None:
        module, _, name = function.partition(":")
        if not module or not name:
            raise ConfigError(
                f"control function {function!r} must be written module:name, e.g. my_maps:normals"
            )
        try:
            found = getattr(importlib.import_module(module), name, None)
        except Exception as error:  # of any kind: it is someone's code that runs
            raise ConfigError(
                f"control function {function!r}: module {module!r} cannot be imported "
                f"({type(error).__name__}: {error}); install it, or put its folder on PYTHONPATH"
            ) from error
        if not callable(found):
            raise ConfigError(
                f"control function {function!r}: module {module!r} has no function {name!r}"
            )
        self.function, self._call = function, found

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the function's map; raises ConfigError where it is not one."""
        drawn = self._call(image.copy())  # it may draw on what it is given
        is_array = isinstance(drawn, np.ndarray)
        shape: tuple[int, ...] = drawn.shape if is_array else ()
        has_shape = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        if not is_array or drawn.dtype != np.uint8 or drawn.size == 0 or not has_shape:
            what = f"{drawn.dtype} of {shape}" if is_array else type(drawn).__name__
            raise ConfigError(
                f"control function {self.function!r} returned {what}; it must return a "
                "numpy array of uint8, (height, width) or (height, width, 3)"
            )
        return np.ascontiguousarray(drawn)
