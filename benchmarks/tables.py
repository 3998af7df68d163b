"""How long the tables of a run of a million samples take, and how much memory.

python benchmarks/tables.py            # 1,000,000 samples
python benchmarks/tables.py 20000      # fewer

The plan is a real one; the rows of the manifest are plausible ones, with labels that have near
duplicates.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

PER_SHARD = 8000
SURFACES = 200
CLASSES = 12
LIMITS = {
    "fill_fraction": [0.1, None],
    "leak_fraction": [None, 0.9],
    "near_duplicate_bits": [6, None],
}


@contextmanager
def timed(what: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(f"{what:<28}{time.perf_counter() - begun:7.1f} s   peak so far {peak:5.2f} GiB")


def main(count: int) -> None:
    from synthgen.storage.places import LocalFolder

    with tempfile.TemporaryDirectory() as folder:
        storage = LocalFolder(Path(folder))
        in_process(lambda: make_plan(storage, count))
        in_process(lambda: make_shards(storage, count))
        in_process(lambda: merge(storage))
        in_process(lambda: read(storage))


def in_process(work: Callable[[], None]) -> None:
    """Run a step in a process of its own, so that its peak is its own."""
    import os

    if (child := os.fork()) == 0:
        work()
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("a step failed")


def make_plan(storage: Any, count: int) -> None:
    from synthgen.defects import DEFECTS
    from synthgen.planning.plan import DefectClass, draw_plan
    from synthgen.runs.manifest import write_table
    from synthgen.runs.planned import plan_digest, read_plan, tabulate_plan
    from synthgen.sources import ProceduralSources

    sources = ProceduralSources(SURFACES, (64, 64), (), 0)
    names = sorted(DEFECTS)[:CLASSES]
    classes = {
        name: DefectClass(class_id=number, noun=name, shape=DEFECTS[name]())
        for number, name in enumerate(names, start=1)
    }
    with timed("draw the plan"):
        specs = draw_plan(sources, classes, count, 0, {"train": 0.8, "test": 0.2}, 0)
    with timed("store and digest the plan"):
        plan_digest(specs)
        write_table(storage, "plan", tabulate_plan(specs))
    del specs
    with timed("read the plan"):
        assert len(read_plan(storage)) == count
    storage.write("run.yaml", b"{config: {defect: {}, quality: null}}")


def make_shards(storage: Any, count: int) -> None:
    """Write the rows as large shards, as ``compact`` leaves them."""
    from synthgen.runs.manifest import TABLES, read_table
    from synthgen.runs.shards import write_large

    plan = read_table(storage, "plan")
    for start in range(0, count, PER_SHARD):
        part = plan.slice(start, PER_SHARD)
        rows = draw_rows(part, np.random.default_rng(start))
        tables = {name: take_columns(rows, name) for name in TABLES}
        write_large(storage, {f"shard-{start:08d}.json": tables})


def draw_rows(plan: pa.Table, rng: np.random.Generator) -> dict[str, Any]:
    from synthgen.runs.schema import measure_names

    count = len(plan)
    ids = plan["sample_id"].to_pylist()
    width, height = rng.integers(4, 60, (2, count))
    rows: dict[str, Any] = {
        name: plan[name] for name in plan.schema.names if name not in ("instances", "attempt")
    }
    folders = {"image": "images", "mask": "masks", "requested": "requested", "control": "controls"}
    for column, folder in folders.items():
        rows[column] = [f"{folder}/{name}.png" for name in ids]
    rows |= dict.fromkeys((*measure_names(of_mask=True), *measure_names(of_mask=False)), None)
    rows |= {name: rng.random(count) for name in ("fill_fraction", "leak_fraction", "mask_iou")}
    rows |= {
        "status": ["accepted"] * count,
        "backend": ["diffusion"] * count,
        "checkpoint": ["embedded@0123456789abcdef"] * count,
        "source_path": [f"sources/{name}.png" for name in plan["source_id"].to_pylist()],
        "photo": [""] * count,
        "width": np.full(count, 256),
        "height": np.full(count, 256),
        "instances": np.ones(count, int),
        "instance_id": np.ones(count, int),
        "attempt": np.zeros(count, int),
        "step": ["first"] * count,
        "box_x": rng.integers(0, 196, count),
        "box_y": rng.integers(0, 196, count),
        "box_w": width,
        "box_h": height,
        "area_px": width * height // 2,
        "perceptual_hash": draw_hex(rng, count, 8),
        "colours": draw_hex(rng, count, 48),
        "rle": draw_hex(rng, count, 40),
    }
    rows |= {name: rng.random(count) for name in ("condition", "paint", "inspect", "write")}
    return rows


def draw_hex(rng: np.random.Generator, count: int, size: int) -> list[str]:
    """Return texts of ``size`` random bytes that are near each other."""
    values: NDArray[np.uint8] = rng.integers(120, 136, (count, size), dtype=np.uint8)
    return [bytes(row).hex() for row in values]


def take_columns(rows: dict[str, Any], name: str) -> pa.Table:
    from synthgen.runs.manifest import schema_of

    schema = schema_of(name)
    if name == "files":
        return schema.empty_table()
    count = len(rows["image"])
    return pa.table(
        {
            field.name: pa.nulls(count, field.type)
            if rows.get(field.name) is None
            else pa.chunked_array([pa.array(rows[field.name])]).cast(field.type)
            if not isinstance(rows[field.name], pa.ChunkedArray)
            else rows[field.name].cast(field.type)
            for field in schema
        }
    )


def merge(storage: Any) -> None:
    from synthgen.quality.limits import read_limits
    from synthgen.runs.folder import RunFolder

    run = RunFolder(storage.folder)
    with timed("find what is finished"):
        count = len(run.revisions())
    with timed("merge and decide"):
        manifest = run.merge(read_limits(LIMITS))
    assert len(manifest) == count
    print(f"{'':<28}{dict(manifest['status'].value_counts())}")


def read(storage: Any) -> None:
    from synthgen.runs.reader import read_run

    run = read_run(storage.folder)
    with timed("read the manifest"):
        assert len(run.manifest)
    with timed("read the instances"):
        assert len(run.instances)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
