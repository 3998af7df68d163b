"""Limits: the allowed range of each measurement, and the sentence for a broken one."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synthgen.errors import ConfigError
from synthgen.sample import Measurement

__all__ = ["MEASURED", "Bounds", "Limits", "read_limits", "reasons_to_reject"]

Bounds = tuple[float | None, float | None]  # least, most; None = open
PER_CLASS = "classes"
MEASURED = (
    "area_px",
    "black_fraction",
    "mask_iou",
    "change_delta_e",
    "changed_outside_px",
    "clipped_fraction",
    "contrast_delta_e",
    "edge_f1",
    "fill_fraction",
    "leak_fraction",
    "off_object_fraction",
    "own_px",
    "real_bits",
    "donor_delta_e",
    "seam_delta_e",
    "edge_width_ratio",
    "grain_ratio",
    "off_part_fraction",
    "range_fraction",
    "sharpness_ratio",
    "size_ratio",
    "twin_bits",
    "varied_delta_e",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The allowed range of each measurement, for all classes and for some of them."""

    shared: Mapping[str, Bounds] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, Bounds]] = field(default_factory=dict)

    def of(self, defect_class: str | None) -> Mapping[str, Bounds]:
        """Return the limits of a class: its own where it has some, the shared ones otherwise."""
        return {**self.shared, **self.per_class.get(defect_class or "", {})}


def read_limits(plain: Mapping[str, Any] | None, classes: Collection[str] | None = None) -> Limits:
    """Return the limits of a config, ``{name: [least, most], classes: {class: {name: ...}}}``.

    Raises ConfigError for a limit on something unmeasured, one that runs backwards, and one of a
    class that is not among ``classes`` (None = any).
    """
    nodes = dict(plain or {})
    per_class = nodes.pop(PER_CLASS, None) or {}
    if not isinstance(per_class, Mapping):
        raise ConfigError(
            f"quality.{PER_CLASS}={per_class!r} must be {{class: {{name: [least, most]}}}}"
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
        raise ConfigError(f"{key}={nodes!r} must be {{name: [least, most]}}")
    try:
        limits = TypeAdapter(dict[str, Bounds]).validate_python(dict(nodes or {}))
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        raise ConfigError(
            f"{key}.{name}={nodes[name]!r} must be [least, most] in numbers, null = open"
        ) from error
    for name, (least, most) in limits.items():
        if any(bound is not None and math.isnan(bound) for bound in (least, most)):
            raise ConfigError(f"{key}.{name} holds a nan; null = open")
        if name not in MEASURED:
            raise ConfigError(f"{key}.{name} is not measured; choose from {', '.join(MEASURED)}")
        if least is not None and most is not None and least > most:
            raise ConfigError(f"{key}.{name}=[{least:g}, {most:g}] runs backwards")
    return limits


def reasons_to_reject(
    measurements: Sequence[Measurement], limits: Mapping[str, Bounds]
) -> tuple[str, ...]:
    """Return one reason per broken limit; a measurement that is NaN breaks none but its area's."""
    reasons = []
    for measurement in measurements:
        least, most = limits.get(measurement.name, (None, None))
        if math.isnan(measurement.value):
            continue
        if least is not None and measurement.value < least:
            reasons.append(f"{measurement.name} {measurement.value:.3g} is below {least:g}")
        if most is not None and measurement.value > most:
            reasons.append(f"{measurement.name} {measurement.value:.3g} is above {most:g}")
    return tuple(reasons)
