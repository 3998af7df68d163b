"""Limits: the allowed range of each measurement, and the sentence for a broken one."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from synthgen.errors import ConfigError
from synthgen.quality.measures import MEASURES
from synthgen.samples.sample import Measurement

__all__ = ["MEASURED", "Bounds", "Limits", "is_outside", "read_limits", "reasons_to_reject"]

Bounds = tuple[float | None, float | None]  # least, most; None = open
PER_CLASS = "classes"
MEASURED = tuple(one.name for one in MEASURES)


@dataclass(frozen=True, slots=True)
class Limits:
    """The allowed range of each measurement, for all classes and for some of them."""

    shared: Mapping[str, Bounds] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, Bounds]] = field(default_factory=dict)

    def of(self, defect_class: str | None) -> Mapping[str, Bounds]:
        """Return the limits of a class: its own where it has some, the shared ones otherwise."""
        return {**self.shared, **self.per_class.get(defect_class or "", {})}


def read_limits(plain: Mapping[str, Any] | None, classes: Collection[str] | None = None) -> Limits:
    """Return the limits of a config, ``{name: [min, max], classes: {class: {name: ...}}}``.

    Raises ConfigError for a limit on something unmeasured, one that runs backwards, and one of a
    class that is not among ``classes`` (None = any).
    """
    nodes = dict(plain or {})
    per_class = nodes.pop(PER_CLASS, None) or {}
    if not isinstance(per_class, Mapping):
        raise ConfigError(
            f"quality.{PER_CLASS}={per_class!r} must be {{class: {{name: [min, max]}}}}"
        )
    for name in per_class:
        if classes is not None and name not in classes:
            raise ConfigError(
                f"quality.{PER_CLASS}.{name}: the run has no such class, only "
                f"{', '.join(sorted(classes))}"
            )
    return Limits(
        _check(nodes, "quality"),
        {
            str(name): _check(part, f"quality.{PER_CLASS}.{name}")
            for name, part in per_class.items()
        },
    )


def _check(nodes: Any, key: str) -> Mapping[str, Bounds]:
    if not isinstance(nodes or {}, Mapping):
        raise ConfigError(f"{key}={nodes!r} must be {{name: [min, max]}}")
    try:
        limits = TypeAdapter(dict[str, Bounds]).validate_python(dict(nodes or {}))
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        raise ConfigError(
            f"{key}.{name}={nodes[name]!r} must be [min, max] in numbers, null = open"
        ) from error
    for name, (least, most) in limits.items():
        if any(bound is not None and math.isnan(bound) for bound in (least, most)):
            raise ConfigError(f"{key}.{name} holds a nan; null = open")
        if name not in MEASURED:
            raise ConfigError(f"{key}.{name} is not measured; choose from {', '.join(MEASURED)}")
        if least is not None and most is not None and least > most:
            raise ConfigError(f"{key}.{name}=[{least:g}, {most:g}] runs backwards")
    return limits


def is_outside(values: NDArray[np.float64], bounds: Bounds) -> NDArray[np.bool_]:
    """Return which of some values break a limit; NaN, what does not apply, breaks none."""
    least, most = bounds
    below = np.zeros(values.shape, bool) if least is None else values < least
    return below if most is None else below | (values > most)


def reasons_to_reject(
    measurements: Sequence[Measurement], limits: Mapping[str, Bounds]
) -> tuple[str, ...]:
    """Return a reason for each limit that is broken, in the order of the table of measures."""
    values = {one.name: one.value for one in measurements}
    reasons = []
    for name in MEASURED:
        if name not in limits or name not in values:
            continue
        value, (least, most) = values[name], limits[name]
        if least is not None and value < least:  # NaN, what does not apply, is neither
            reasons.append(f"{name} {value:.3g} is below {least:g}")
        elif most is not None and value > most:
            reasons.append(f"{name} {value:.3g} is above {most:g}")
    return tuple(reasons)
