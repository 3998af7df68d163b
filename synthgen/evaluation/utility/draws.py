"""The draws of a comparison as tables, to adapt a model to just what an arm may learn from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from synthgen.evaluation.utility.bench import Bench
from synthgen.evaluation.utility.pictures import GOOD
from synthgen.evaluation.utility.settings import UtilitySettings
from synthgen.imaging.images import write_png
from synthgen.storage.files import defuse, write_text, write_whole
from synthgen.training.pictures import Picture

__all__ = ["write_draws"]


def write_draws(settings: UtilitySettings) -> list[Path]:
    """Write ``draws/<budget>-<seed>/``: ``real.csv``, ``photos/``, ``masks/`` and ``real.yaml``;
    return the last ones.

    Photos are hard links where the disk can, else copies, so that the table names files beside it.
    Without good images also ``good/``: surface cut out of the images that may be learned from.

    ``real.yaml`` is a ``real:`` setting that reads the table: the budget's defects and the good
    images, without those of the validation part. Raises SourceError, RunError.
    """
    bench, written = Bench(settings), []
    for seed in settings.seeds:
        for budget in settings.budgets:
            folder = Path(settings.folder) / "draws" / f"{budget}-{seed}"
            draw = bench.draw(None if budget == "all" else budget, seed)
            class_ids = bench.class_ids
            rows = [_row(folder, picture, class_ids) for picture in (*draw.defects, *draw.good)]
            write_text(folder / "real.csv", pd.DataFrame(rows).map(defuse).to_csv(index=False))
            table = {"format": "table", "path": str((folder / "real.csv").resolve())}
            page = folder / "real.yaml"
            write_text(page, yaml.safe_dump(table | {"classes": class_ids}, sort_keys=False))
            written.append(page)
    return written


def _row(folder: Path, picture: Picture, class_ids: Mapping[str, int]) -> dict[str, str]:
    """Return a picture's row; its photo is laid there, the mask of a defective one is written,
    class ids as values, and good surface that was cut out."""
    mask, photo = "", picture.path
    if photo is None:
        image = f"good/{picture.name}.png"
        write_png(folder / image, picture.pixels)
    else:
        image = f"photos/{picture.name}{photo.suffix.lower()}"
        write_whole(folder / image, partial(_link_or_copy, photo.resolve()))
    if picture.masks:
        values = np.zeros(picture.mask.shape, np.uint8)
        for name, own in picture.masks.items():
            values[own] = class_ids[name]
        mask = f"masks/{picture.name}.png"
        write_png(folder / mask, values)
    return {
        "image": image,
        "mask": mask,
        "class": "+".join(sorted(picture.masks)) or GOOD,
        "split": "train",
        "group": picture.group,
    }


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, target)
