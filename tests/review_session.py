"""A whole review without a browser, in a process of its own, so that its database ends with it.

python -m tests.review_session <run folder> <run in tars> <bank> <out.json>
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from synthgen.export.fiftyone_dataset import pack_mask
from synthgen.geometry import rle_to_mask
from synthgen.review.database import load_fiftyone
from synthgen.review.decisions import count_progress, decide, fix_class
from synthgen.review.pull import Pulled, label_to_mask, pull
from synthgen.review.push import push
from synthgen.review.settings import ReviewSettings
from synthgen.runs.reader import read_run


def told(pulled: Pulled) -> dict[str, Any]:
    return {"verdicts": pulled.verdicts, "edits": pulled.edits, "conflicts": pulled.conflicts}


def ids_of(dataset: Any, *names: str, slice_name: str = "image") -> list[str]:
    dataset.group_slice = slice_name
    known = dict(zip(dataset.values("synthgen_id"), dataset.values("id"), strict=True))
    dataset.group_slice = "image"
    return [known[name] for name in names]


def compare_masks(dataset: Any, root: str) -> bool:
    """Say whether every detection in FiftyOne is the mask of the run, to the pixel."""
    rows = read_run(root).instances
    shown = {
        (sample["synthgen_id"], label["defect_number"]): label_to_mask(
            {
                "label": label.label,
                "bounding_box": label.bounding_box,
                "mask": pack_mask(label.mask),
            },
            (sample.metadata.height, sample.metadata.width),
        )
        for sample in dataset
        for label in sample.defects.detections
    }
    expected = {
        (row["sample_id"], row["instance_id"]): rle_to_mask(
            {"size": [48, 48], "counts": row["rle"]}
        )
        for row in rows.to_dict("records")
    }
    same = [np.array_equal(shown[key], mask) for key, mask in expected.items()]
    return shown.keys() == expected.keys() and all(same)


def describe(dataset: Any) -> dict[str, Any]:
    hole = dataset.match({"synthgen_id": "hole"}).first()
    group = dataset.get_group(hole.slices.id)
    return {
        "samples": sorted(dataset.values("synthgen_id")),
        "slices": {name: Path(one.filepath).is_file() for name, one in group.items()},
        "maps": [Path(hole[name].mask_path).is_file() for name in ("realised", "asked")],
        "hole": {
            name: hole[name]
            for name in ("defect_class", "status", "split", "seed", "prompt", "backend", "attempt")
        },
        "fill": hole["fill_fraction"],
        "reasons": dataset.match({"synthgen_id": "rejected"}).first()["reasons"],
        "tags": dataset.count_sample_tags(),
        "views": dataset.list_saved_views(),
        "brain": sorted(dataset.list_brain_runs()),
        "order": dataset.values("synthgen_id"),
    }


def main(root: str, tars: str, bank: str, out: str) -> None:
    cache = str(Path(out).parent / "cache")
    ann, ben = (ReviewSettings(reviewer=name, cache=cache) for name in ("ann", "ben"))
    fiftyone = load_fiftyone()
    found: dict[str, Any] = {}
    pushed = push(root, ann)
    found["pushed"] = [pushed.new, pushed.total, push(root, ann).new]
    dataset = fiftyone.load_dataset(pushed.dataset)
    found["masks"] = compare_masks(dataset, root)
    found["first"] = describe(dataset)

    decide(dataset, ids_of(dataset, "hole", "two_parts"), "accept", "", "ann")
    decide(dataset, ids_of(dataset, "hole", slice_name="source"), "reject", "unreal", "ben")
    fix_class(dataset, ids_of(dataset, "touches_border"), [], "stain", "ben")
    dataset.reload()
    moved = dataset.match({"synthgen_id": "one_pixel_scratch"}).first()
    moved.defects.detections[0].bounding_box[1] = 30 / 48
    moved.save()
    found["progress"] = count_progress(dataset)
    found["pulled"] = told(pull(root, ann))
    found["again"] = told(pull(root, ann))
    found["after"] = push(root, ann).new
    dataset.reload()
    found["shown"] = dict(
        zip(dataset.values("synthgen_id"), dataset.values("verdict"), strict=True)
    )
    found["order"] = dataset.values("synthgen_id")

    decide(dataset, ids_of(dataset, "hole"), "accept", "", "ben")
    found["agreed"] = told(pull(root, ben))
    dataset.delete()
    fresh = push(root, ann)
    dataset = fiftyone.load_dataset(fresh.dataset)
    found["fresh"] = dict(
        zip(dataset.values("synthgen_id"), dataset.values("verdict"), strict=True)
    )

    in_tars = push(tars, ann)
    dataset = fiftyone.load_dataset(in_tars.dataset)
    found["tars"] = [in_tars.dataset, in_tars.new, describe(dataset)["slices"]]
    with_bank = push(bank, ReviewSettings(name="mine", cache=cache))
    dataset = fiftyone.load_dataset("mine")
    found["bank"] = [
        with_bank.real,
        dataset.count_sample_tags()["real"],
        push(bank, ReviewSettings(name="mine", cache=cache)).new,
    ]
    found["real"] = decide(dataset, dataset.match_tags("real").values("id"), "accept", "", "ann")
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
