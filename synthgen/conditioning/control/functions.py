"""Anyone's own function as a control image."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Literal

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
    """Return ``module:name``, a function of RGB images, as a control; raises ConfigError."""
    return KINDS[kind](FunctionAnnotator(function))


class FunctionAnnotator:
    """Calls ``module:name`` with an RGB uint8 image (H, W, 3); it must return a uint8 map."""

    def __init__(self, function: str) -> None:
        self.function, self._call = function, _find(function)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        drawn = self._call(image.copy())  # it may draw on what it is given
        if not _is_map(drawn):
            raise ConfigError(
                f"control function {self.function!r} returned {_describe(drawn)}; it must return a "
                "numpy array of uint8, (height, width) or (height, width, 3)"
            )
        return np.ascontiguousarray(drawn)


def _find(function: str) -> Callable[[NDArray[np.uint8]], Any]:
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
    return found  # type: ignore[no-any-return]


def _is_map(drawn: Any) -> bool:
    if not isinstance(drawn, np.ndarray) or drawn.dtype != np.uint8 or drawn.size == 0:
        return False
    return drawn.ndim == 2 or (drawn.ndim == 3 and drawn.shape[2] == 3)


def _describe(drawn: Any) -> str:
    if isinstance(drawn, np.ndarray):
        return f"{drawn.dtype} of {drawn.shape}"
    return type(drawn).__name__
