"""How fast a run of 10,000 images of 512 px becomes a dataset, beside other people's exporters.

python benchmarks/export.py [images]

Draws the run folder once (labels as a run writes them), then exports it as COCO without copying
images and as YOLO with hard links, each in a process of its own (median seconds of five, highest
memory). The same again without comparing the run's tables and images with what it wrote, and the
same labels with supervision and FiftyOne, which both write COCO and YOLO, too. FiftyOne is timed
from a dataset that is already in its database. Needs the extras formats, review.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

SIZE_PX, ROUNDS = 512, 5


def draw_run(root: Path, count: int) -> None:
    from synthgen.imaging.geometry import mask_to_box
    from synthgen.runs.folder import open_run
    from synthgen.samples.sample import (
        Annotation,
        Candidate,
        Condition,
        Sample,
        SampleSpec,
        SourceImage,
    )

    rng = np.random.default_rng(0)
    flat = rng.integers(100, 104, (SIZE_PX, SIZE_PX, 3), np.uint8)
    config = {"defect": {"scratch": {"class_id": 1}, "stain": {"class_id": 2}}, "seed": 0}
    specs, made = [], []
    for n in range(count):
        name = ("scratch", "stain")[n % 2]
        specs.append(
            SampleSpec(
                sample_id=f"{name}-{n:06d}",
                index=n,
                seed=n,
                defect_class=name,
                class_id=n % 2 + 1,
                source_id="s",
                group=f"s{n}",
                split=("train", "val")[n % 5 == 0],
                prompt="",
                negative_prompt="",
                instances=1,
                severity=0.5,
            )
        )
    facts = {"versions": {}, "backend": "drawn", "checkpoint": "none@0"}
    run = open_run(root, config, specs, facts)
    for spec in specs:
        mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
        x, y = (int(v) for v in rng.integers(60, SIZE_PX - 60, 2))
        if spec.class_id == 1:
            end = (x + int(rng.integers(-50, 50)), y + int(rng.integers(-50, 50)))
            cv2.line(mask, (x, y), end, 1, int(rng.integers(1, 4)))
        else:
            axes = (int(rng.integers(5, 40)), int(rng.integers(5, 40)))
            cv2.ellipse(mask, (x, y), axes, float(rng.integers(180)), 0, 360, 1, -1)
        own = mask > 0
        image = flat.copy()
        image[own] = 200
        source = SourceImage(
            source_id=spec.source_id,
            group=spec.group,
            pixels=flat,
            window=(0.0, 255.0),
            path=None,
            surface="metal",
        )
        condition = Condition(
            spec=spec,
            source=source,
            image=flat,
            defect_mask=own,
            repaint_mask=own,
            instance_map=mask,
            sketch=image,
            controls={"canny": flat * 0},
        )
        annotation = Annotation(
            1, str(spec.defect_class), spec.class_id, own, int(own.sum()), mask_to_box(own), ()
        )
        made.append(Sample(Candidate(condition, image, image, own), (), (), (annotation,)))
        if len(made) == 50:
            run.write(made, "drawn", "none@0")
            made = []
    if made:
        run.write(made, "drawn", "none@0")
    run.merge()


def export_synthgen(run: Path, out: Path, layout: str) -> None:
    from synthgen.exporting.formats.coco import Coco
    from synthgen.exporting.formats.yolo import Yolo
    from synthgen.exporting.labels import read_labels
    from synthgen.exporting.media import Media
    from synthgen.exporting.write import export

    formats = {"coco": (Coco(), Media("refer")), "yolo": (Yolo(), Media("link"))}
    chosen, media = formats[layout]
    export(read_labels(run), {layout: chosen}, out, media)


def export_unchecked(run: Path, out: Path, layout: str) -> None:
    """Export without comparing tables and images with what the run wrote: what that costs."""
    from synthgen.exporting import labels, media

    labels.check_tables = lambda *_: None  # type: ignore[assignment]
    media.check_stored_image = lambda *_: None  # type: ignore[assignment]
    export_synthgen(run, out, layout)


def export_supervision(run: Path, out: Path, layout: str) -> None:
    import supervision as sv

    from synthgen.exporting.labels import read_labels

    labels = read_labels(run)
    names = list(labels.classes)
    images, annotations = [], {}
    for image in labels:
        masks = np.ascontiguousarray(np.stack([d.mask(image.size_hw) for d in image.defects]))
        boxes = np.array([[d.box.x, d.box.y, d.box.x + d.box.width, d.box.y + d.box.height]
                          for d in image.defects], float)  # fmt: skip
        ids = np.array([names.index(labels.names[d.class_id]) for d in image.defects])
        images.append(str(image.path.local))
        annotations[str(image.path.local)] = sv.Detections(boxes, masks, class_id=ids)
    dataset = sv.DetectionDataset(names, images, annotations)
    begun = time.perf_counter()
    if layout == "coco":
        dataset.as_coco(annotations_path=str(out / "coco.json"))
    else:
        dataset.as_yolo(annotations_directory_path=str(out / "labels"))
    print(json.dumps({"seconds": time.perf_counter() - begun}))


def export_fiftyone(run: Path, out: Path, layout: str) -> None:
    import fiftyone as fo

    from synthgen.exporting.labels import read_labels

    labels = read_labels(run)
    samples = []
    for image in labels:
        height, width = image.size_hw
        found = []
        for defect in image.defects:
            x, y, w, h = defect.box
            crop = defect.mask(image.size_hw)[y : y + h, x : x + w]
            box = [x / width, y / height, w / width, h / height]
            found.append(
                fo.Detection(label=labels.names[defect.class_id], bounding_box=box, mask=crop)
            )
        samples.append(fo.Sample(str(image.path.local), labels=fo.Detections(detections=found)))
    dataset = fo.Dataset()
    dataset.add_samples(samples, progress=False)
    dataset.compute_metadata(progress=False)
    kinds = {"coco": fo.types.COCODetectionDataset, "yolo": fo.types.YOLOv5Dataset}
    begun = time.perf_counter()
    dataset.export(
        labels_path=str(out / "labels.json") if layout == "coco" else None,
        export_dir=None if layout == "coco" else str(out),
        export_media=False if layout == "coco" else "symlink",
        dataset_type=kinds[layout],
        label_field="labels",
        progress=False,
    )
    print(json.dumps({"seconds": time.perf_counter() - begun}))


WAYS = {
    "synthgen": export_synthgen,
    "synthgen, unchecked": export_unchecked,
    "supervision": export_supervision,
    "fiftyone": export_fiftyone,
}
OURS = ("synthgen", "synthgen, unchecked")


def time_one(way: str, layout: str, run: Path) -> tuple[float, float]:
    """Return seconds and the highest memory (GB) of one export in a process of its own."""
    with tempfile.TemporaryDirectory(dir=run.parent) as folder:
        command = [sys.executable, __file__, "one", way, layout, str(run), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
    last = json.loads(done.stdout.strip().splitlines()[-1])
    return last["seconds"], last["gigabytes"]


def run_one(way: str, layout: str, run: Path, folder: Path) -> None:
    begun = time.perf_counter()
    WAYS[way](run, folder / "out" if way in OURS else folder, layout)
    taken = time.perf_counter() - begun
    if way not in OURS:
        return
    print(json.dumps({"seconds": taken}))


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        import contextlib
        import io

        way, layout, run, folder = sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5])
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            run_one(way, layout, run, folder)
        result = json.loads(said.getvalue().strip().splitlines()[-1])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps(result | {"gigabytes": peak}), flush=True)
        os._exit(0)  # FiftyOne's database ends with its client
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    root = Path(tempfile.mkdtemp(prefix="synthgen-export-"))
    try:
        begun = time.perf_counter()
        draw_run(root / "run", count)
        print(f"{count} images of {SIZE_PX} px drawn in {time.perf_counter() - begun:.0f} s")
        print(f"{'':<20}{'layout':<8}{'seconds':>9}{'images/s':>10}{'GB':>7}")
        for layout in ("coco", "yolo"):
            rounds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
            for number in range(ROUNDS):  # in turn, so that all meet the same machine
                for way in WAYS if number == 0 else OURS:
                    rounds[way].append(time_one(way, layout, root / "run"))
            for way, found in rounds.items():
                seconds, peak = statistics.median(s for s, _ in found), max(g for _, g in found)
                print(f"{way:<20}{layout:<8}{seconds:>9.1f}{count / seconds:>10.0f}{peak:>7.2f}")
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
