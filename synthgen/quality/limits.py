"""Limits: the allowed range of each measurement, and the sentence for a broken one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from synthgen.errors import ConfigError
from synthgen.sample import Measurement

__all__ = ["Limits", "check_limits", "reasons_to_reject"]

Limits = Mapping[str, tuple[float | None, float | None]]  # name -> (least, most); None = open
MEASURED = (
    "area_px",
    "change_delta_e",
    "changed_outside_px",
    "clipped_fraction",
    "contrast_delta_e",
    "fill_fraction",
    "leak_fraction",
    "off_object_fraction",
    "seam_delta_e",
    "sharpness_ratio",
    "size_ratio",
)


def check_limits(limits: Limits) -> None:
    """Raise ConfigError for a limit on something unmeasured, or one that runs backwards."""
    for name, bounds in limits.items():
        if name not in MEASURED:
            raise ConfigError(f"quality.{name} is not measured; choose from {', '.join(MEASURED)}")
        if len(bounds) != 2:
            raise ConfigError(f"quality.{name}={list(bounds)} must be [least, most], null = open")
        least, most = bounds
        if least is not None and most is not None and least > most:
            raise ConfigError(f"quality.{name}=[{least:g}, {most:g}] runs backwards")


def reasons_to_reject(measurements: Sequence[Measurement], limits: Limits) -> tuple[str, ...]:
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
