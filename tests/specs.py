"""A planned sample for tests; apart, so that processes that need no more start quickly."""

from __future__ import annotations

from typing import Any

from synthgen.samples.sample import SampleSpec


def make_spec(**changes: Any) -> SampleSpec:
    values: dict[str, Any] = {
        "sample_id": "scratch-000000",
        "index": 0,
        "seed": 5,
        "defect_class": "scratch",
        "class_id": 10,
        "source_id": "s",
        "group": "s",
        "split": "train",
        "prompt": "a scratch on metal",
        "negative_prompt": "",
        "instances": 1,
        "severity": 0.5,
    }
    return SampleSpec(**(values | changes))
