"""A real run folder, small, with the cases that bite."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthgen.conditioning.control.edges import combine_edges
from synthgen.imaging.geometry import grow_mask
from synthgen.quality.annotate import annotate
from synthgen.quality.measures import measure, view_change
from synthgen.runs.folder import RunFolder, open_run
from synthgen.samples.sample import (
    Attempt,
    Candidate,
    Condition,
    Failure,
    Sample,
    SampleSpec,
    SourceImage,
    Try,
)
from tests.specs import make_spec

SIZE = 48
CASES = {
    "one_pixel_scratch": [(20, 21, 5, 40)],
    "touches_border": [(0, 6, 0, 7), (40, 48, 30, 48)],
    "hole": [(10, 30, 10, 30)],
    "two_parts": [(5, 9, 5, 9), (30, 36, 30, 38)],
    "defect_free": [],
    "rejected": [(22, 26, 22, 26)],
}
CONFIG = {
    "defect": {"pit": {"class_id": 9}, "scratch": {"class_id": 10}, "stain": {"class_id": 12}},
    "run": {"folder": "x", "count": 6},
    "seed": 0,
}


def make_masks(case: str) -> np.ndarray:
    """Return the instance map of a case; the two rectangles of two_parts are one defect."""
    instances = np.zeros((SIZE, SIZE), np.uint8)
    for number, (top, bottom, left, right) in enumerate(CASES[case], start=1):
        instances[top:bottom, left:right] = 1 if case == "two_parts" else number
    if case == "hole":
        instances[16:24, 16:24] = 0
    return instances


def make_sample(case: str, index: int) -> Sample:
    name = {"one_pixel_scratch": "scratch", "defect_free": None}.get(case, "pit")
    spec: SampleSpec = make_spec(
        sample_id=case,
        index=index,
        defect_class=name,
        class_id={"scratch": 10, "pit": 9, None: 0}[name],
        source_id=f"source-{index}",
        group=f"source-{index}",
        split="train" if index % 2 else "test",
    )
    image = np.random.default_rng(index).integers(90, 120, (SIZE, SIZE, 3), np.uint8)
    instances = make_masks(case)
    mask = instances > 0
    finished = image.copy()
    finished[mask] = 220
    repaint = grow_mask(mask, 3)
    edges = np.zeros((SIZE, SIZE), np.uint8)
    source = SourceImage(
        source_id=spec.source_id,
        group=spec.group,
        pixels=image,
        window=(0.0, 255.0),
        path=None,
        surface="metal",
    )
    condition = Condition(
        spec=spec,
        source=source,
        image=image,
        defect_mask=mask,
        repaint_mask=repaint,
        instance_map=instances,
        sketch=finished,
        controls={"canny": combine_edges(edges, edges, mask, repaint)},
    )
    candidate = Candidate(condition, finished, finished, mask)
    reasons = ("leak_fraction 0.9 is above <b>0.3</b>",) if case == "rejected" else ()
    seconds = {"condition": 0.01, "paint": 0.5, "inspect": 0.02}
    view = view_change(candidate)
    measured = measure(candidate, view)
    tries = (Try(Attempt(), "first", reasons, measured),)
    return Sample(candidate, measured, reasons, annotate(candidate, view), seconds, tries)


def make_run(root: Path | str, storage: str = "files") -> RunFolder:
    """Write a finished run of all cases and one spec that came to no image."""
    samples = [make_sample(case, number) for number, case in enumerate(CASES)]
    failure = Failure(make_spec(sample_id="lost", index=99), "the photo x.png is broken")
    outcomes: list[Sample | Failure] = [*samples, failure]
    facts = {"versions": {}, "backend": "test", "checkpoint": "none@0"}
    config = CONFIG | {"run": {"folder": "x", "count": 6, "storage": storage}}
    run = open_run(root, config, [outcome.spec for outcome in outcomes], facts)
    run.write(outcomes, "test", "none@0")
    run.merge()
    return run
