"""Synthetic training data for vision inspection: good photos in, labelled defect images out."""

from synthgen.errors import SynthgenError
from synthgen.samples.sample import (
    Annotation,
    Candidate,
    Condition,
    Measurement,
    Sample,
    SampleSpec,
)

__all__ = [
    "Annotation",
    "Candidate",
    "Condition",
    "Measurement",
    "Sample",
    "SampleSpec",
    "SynthgenError",
]
