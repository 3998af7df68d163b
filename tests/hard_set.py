"""One hard set for every format: a finished run whose labels are known to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthgen.imaging.geometry import grow_mask, mask_to_box
from synthgen.imaging.images import to_rgb8
from synthgen.runs.folder import open_run
from synthgen.samples.sample import Annotation, Candidate, Condition, Sample, SourceImage
from tests.specs import make_spec

SIZE_HW = (48, 64)
CLASSES = {"pit": 9, "scratch": 10, "stain": 12}
CONFIG = {
    "defect": {name: {"class_id": class_id} for name, class_id in CLASSES.items()},
    "run": {"folder": "x", "count": 9},
    "seed": 0,
}
Defects = list[tuple[str, np.ndarray]]


def _boxes(*spans: tuple[int, int, int, int], size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    for top, bottom, left, right in spans:
        mask[top:bottom, left:right] = True
    return mask


def _holed() -> np.ndarray:
    mask = _boxes((10, 30, 10, 30))
    mask[16:24, 16:24] = False
    return mask


def _blob(size_hw: tuple[int, int], top: int, left: int, radius: int) -> np.ndarray:
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    wave = radius * (1 + 0.2 * np.sin(5 * np.arctan2(rows - top, columns - left)))
    return np.hypot(rows - top, columns - left) < wave


CASES: dict[str, Defects] = {
    "defect_free": [],
    "defect_free_test": [],
    "grey_16_bit": [("stain", _blob(SIZE_HW, 24, 30, 12))],
    "hole": [("pit", _holed())],
    "large": [
        ("stain", _blob((2000, 3000), 700, 1800, 260)),
        ("scratch", _boxes((1500, 1501, 100, 2900), size_hw=(2000, 3000))),
    ],
    "one_pixel_scratch": [("scratch", _boxes((20, 21, 5, 40)))],
    "touches_border": [("pit", _boxes((0, 6, 0, 7))), ("pit", _boxes((40, 48, 50, 64)))],
    "touching": [("pit", _boxes((10, 20, 10, 20))), ("pit", _boxes((10, 20, 20, 33)))],
    "two_classes": [("pit", _boxes((4, 9, 4, 9))), ("stain", _blob(SIZE_HW, 30, 40, 9))],
    "two_parts": [("pit", _boxes((5, 9, 5, 9), (30, 36, 30, 38)))],
}
TEST = ("defect_free_test", "hole", "two_classes", "touching")


def size_of(case: str) -> tuple[int, int]:
    return (2000, 3000) if case == "large" else SIZE_HW


def make_hard_sample(case: str, index: int) -> Sample:
    defects, size_hw = CASES[case], size_of(case)
    name = defects[0][0] if defects else None
    spec = make_spec(
        sample_id=case,
        index=index,
        defect_class=name,
        class_id=CLASSES.get(str(name), 0),
        source_id=f"source-{index}",
        group=f"part-{index}",
        split="test" if case in TEST else "train",
    )
    rng = np.random.default_rng(index)
    levels = rng.integers(90, 120, size_hw if case == "grey_16_bit" else (*size_hw, 3))
    pixels = (levels * 200).astype(np.uint16) if case == "grey_16_bit" else levels.astype(np.uint8)
    window = (0.0, 51000.0) if case == "grey_16_bit" else (0.0, 255.0)
    mask = np.zeros(size_hw, bool)
    instances = np.zeros(size_hw, np.uint8)
    annotations = []
    for number, (kind, own) in enumerate(defects, start=1):
        mask |= own
        instances[own] = number
        annotations.append(
            Annotation(number, kind, CLASSES[kind], own, int(own.sum()), mask_to_box(own), ())
        )
    finished = pixels.copy()
    finished[mask] = 44000 if case == "grey_16_bit" else 220
    image = to_rgb8(pixels, window)
    source = SourceImage(
        source_id=spec.source_id,
        group=spec.group,
        pixels=pixels,
        window=window,
        path=None,
        surface="metal",
    )
    blank = {"canny": np.zeros_like(image)}
    condition = Condition(
        spec=spec,
        source=source,
        image=image,
        defect_mask=mask,
        repaint_mask=grow_mask(mask, 3),
        instance_map=instances,
        sketch=image,
        controls=blank,
    )
    candidate = Candidate(condition, finished, to_rgb8(finished, window), mask)
    return Sample(candidate, (), (), tuple(annotations))


def make_hard_run(root: Path) -> Path:
    """Write the finished run and return its folder."""
    samples = [make_hard_sample(case, number) for number, case in enumerate(CASES)]
    facts = {"versions": {}, "backend": "test", "checkpoint": "none@0"}
    run = open_run(root, CONFIG, [sample.spec for sample in samples], facts)
    run.write(samples, "test", "none@0")
    run.merge()
    return root
