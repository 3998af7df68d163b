"""How fast labels are made: inspection and annotation of a painted image, beside writing its PNG.

python benchmarks/inspection.py

Prints, for 256 and 1024 px, the median over rounds of images/s on one core, and the ratio to the
plain reference, which every run has to do anyway: encoding the finished image as PNG.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import cv2

from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.edges import canny_control
from synthgen.defects import DEFECTS
from synthgen.planning.plan import DefectClass, draw_plan
from synthgen.quality.annotate import annotate
from synthgen.quality.measures import measure, view_change
from synthgen.quality.realised import realise_mask
from synthgen.samples.sample import Candidate, Condition
from synthgen.sources import ProceduralSources

ROUNDS, IMAGES = 5, 24


def draw_conditions(size_px: int) -> list[Condition]:
    sources = ProceduralSources(IMAGES, (size_px, size_px), seed=1)
    classes = {
        name: DefectClass(number, name, kind())
        for number, (name, kind) in enumerate(sorted(DEFECTS.items()), start=1)
    }
    build = Conditioner(sources, classes, {"canny": canny_control()})
    return [build(spec) for spec in draw_plan(sources, classes, IMAGES, 0, {"all": 1.0}, 1)]


def inspect(condition: Condition) -> None:
    asked, repaint = condition.defect_mask, condition.repaint_mask
    image = condition.sketch
    realised = realise_mask(condition.image, image, repaint, asked, condition.label_close_px)
    candidate = Candidate(condition, image, image, realised)
    view = view_change(candidate)
    measure(candidate, view)
    annotate(candidate, view)


def encode(condition: Condition) -> None:
    cv2.imencode(".png", condition.sketch)


def seconds_per_image(act: Callable[[Condition], None], conditions: list[Condition]) -> float:
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for condition in conditions:
            act(condition)
        rounds.append((time.perf_counter() - begun) / len(conditions))
    return statistics.median(rounds)


def main() -> None:
    cv2.setNumThreads(1)
    for size_px in (256, 1024):
        conditions = draw_conditions(size_px)
        own = seconds_per_image(inspect, conditions)
        plain = seconds_per_image(encode, conditions)
        print(
            f"{size_px} px: inspect and annotate {1 / own:.0f} images/s ({own * 1000:.1f} ms), "
            f"PNG {1 / plain:.0f} images/s; ratio {own / plain:.2f}"
        )


if __name__ == "__main__":
    main()
