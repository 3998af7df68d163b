"""Read a dataset with datumaro, CVAT's own library, in a process of its own.

It asks for older pandas and Pillow than synthgen's, so it lies in a folder beside the environment
that only this process sees (``make .venv-datumaro``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

PACKAGES = Path(__file__).parents[1] / ".venv-datumaro"
needs_datumaro = pytest.mark.skipif(
    not PACKAGES.is_dir(), reason="datumaro is not there; make .venv-datumaro installs it"
)
SCRIPT = """
import sys, json
import numpy as np
from datumaro import AnnotationType, Dataset

form, source, target = sys.argv[1:4]
data = Dataset.import_from(source, form, **json.loads(sys.argv[4]))
names = [label.name for label in data.categories()[AnnotationType.label]]
items, arrays = [], {}
for item in data:
    rows = []
    for number, found in enumerate(sorted(item.annotations, key=lambda a: (a.z_order, a.id))):
        key = f"{item.id}/{number}"
        box = found.type == AnnotationType.bbox
        arrays[key] = np.array(found.points) if box else np.asarray(found.image, bool)
        rows.append([found.type.name, names[found.label], found.z_order, key])
    items.append([item.id, item.subset, list(item.media.data.shape[:2]), rows])
np.savez(target, facts=json.dumps([names, items]), **arrays)
"""


@dataclass(frozen=True)
class Found:
    """An image as datumaro sees it; ``shapes``: kind, class, z-order, and mask or box corners."""

    split: str
    size_hw: tuple[int, int]
    shapes: list[tuple[str, str, int, np.ndarray]]


def read_with_datumaro(
    form: str, source: Path, scratch: Path, options: str = "{}"
) -> tuple[list[str], dict[str, Found]]:
    """Return the names of the classes, and what is found in each image."""
    target = scratch / "found.npz"
    subprocess.run(
        [sys.executable, "-c", SCRIPT, form, str(source), str(target), options],
        env=os.environ | {"PYTHONPATH": str(PACKAGES)},
        check=True,
    )
    with np.load(target) as arrays:
        names, items = json.loads(str(arrays["facts"]))
        return names, {
            name: Found(split, tuple(size), [(k, c, z, arrays[key]) for k, c, z, key in rows])
            for name, split, size, rows in items
        }
