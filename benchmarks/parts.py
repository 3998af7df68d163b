"""Do defects lie on the part? Paints drawn photos whose part is known to the pixel.

python benchmarks/parts.py FOLDER [count]

Series of a fixed camera (the part elsewhere on each photo, or always at one place) and photos by
themselves, of all parts, materials, backgrounds and shadows of tests/part_scenes.py, are painted
with backend=sketch and the defaults otherwise. Told: label pixels of accepted samples that lie on
the true part, and samples wholly off it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from synthgen.config.build import set_up
from synthgen.config.compose import compose
from synthgen.generation.generate import generate
from synthgen.samples.sample import Sample, Status
from tests.part_scenes import BACKGROUNDS, MATERIALS, PARTS, SHADOWS, Scene, draw_scene, draw_series

PHOTOS = 12  # of a series
CAMOUFLAGE = {  # parts of their table's own look are left out: nobody could tell them apart
    *(("metal", "brushed"), ("rubber", "black"), ("rubber", "conveyor"), ("wood", "wood")),
}
DEFECTS = 24  # painted on them


def draw_all(count: int) -> list[tuple[str, list[Scene]]]:
    """Return series of scenes; the last are of photos that have nothing to do with each other."""
    rng = np.random.default_rng(1)
    parts, materials, backgrounds = list(PARTS), list(MATERIALS), list(BACKGROUNDS)
    shadows = list(SHADOWS)
    series = []
    for number in range(count):
        pair = next(
            (material, background)
            for _ in range(100)
            if (material := str(rng.choice(materials)), background := str(rng.choice(backgrounds)))
            not in CAMOUFLAGE
        )
        choice = {
            "part": parts[number % len(parts)],
            "material": pair[0],
            "background": pair[1],
            "shadow": str(rng.choice(shadows)),
        }
        if number % 3 == 2:
            scenes = [draw_scene(number * 100 + n, **choice) for n in range(PHOTOS)]
        else:
            moves = "everywhere" if number % 3 == 0 else "never"
            scenes = draw_series(number, PHOTOS, moves=moves, length_fraction=0.5, **choice)
        kind = ("moving", "standing", "single")[number % 3]
        series.append((f"{kind} {' '.join(choice.values())}", scenes))
    return series


def main(folder: str, count: str = "24") -> None:
    totals = {"pixels": 0, "on": 0, "labels": 0, "off": 0}
    for number, (name, scenes) in enumerate(draw_all(int(count))):
        root = Path(folder) / f"{number:03d}"
        root.mkdir(parents=True, exist_ok=True)
        for n, scene in enumerate(scenes):
            cv2.imwrite(str(root / f"{n:03d}.png"), scene.image[..., ::-1])
        asked = [f"source.path={root}", f"run.folder={root}/run", f"run.count={DEFECTS}"]
        config = compose("generate", ["source=folder", "backend=sketch", *asked, f"seed={number}"])
        job = set_up(config)
        assert job.parts is not None
        specs = [spec for spec in job.specs if not spec.is_defect_free]
        on, pixels, off, labels = 0, 0, 0, 0
        for done in generate(specs, job.parts.stages):
            if not isinstance(done, Sample) or done.status is not Status.ACCEPTED:
                continue
            truth = scenes[int(done.spec.source_id)].part
            label = done.candidate.realised_mask
            pixels, on = pixels + int(label.sum()), on + int((label & truth).sum())
            labels, off = labels + 1, off + int(not (label & truth).any())
        print(
            f"{name}: {on / max(pixels, 1):.2%} of {labels} labels' pixels on it, {off} off; "
            f"{job.notes[0] if job.notes else ''}",
            flush=True,
        )
        for key, value in (("pixels", pixels), ("on", on), ("labels", labels), ("off", off)):
            totals[key] += value
    print(
        f"all: {totals['on'] / totals['pixels']:.2%} of the label pixels of {totals['labels']} "
        f"samples lie on the part, {totals['off']} samples lie wholly off it"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
