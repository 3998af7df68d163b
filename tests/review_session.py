"""A whole review without a browser, in a process of its own, so that its database ends with it.

python -m tests.review_session <run folder> <run in tars> <bank> <run of 0.1.0> <out.json>
"""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from synthgen.exporting.formats.fiftyone_dataset import pack_mask
from synthgen.imaging.geometry import rle_to_mask
from synthgen.review.decisions import count_progress, fix_class, store_decision
from synthgen.review.pull import PullResult, label_to_mask, pull
from synthgen.review.push import push
from synthgen.review.service.database import load_fiftyone
from synthgen.review.settings import ReviewSettings
from synthgen.runs.reader import read_run
from synthgen.runs.reviews.verdicts import Verdict, add_verdicts, read_verdicts

push_module = importlib.import_module("synthgen.review.push")


def told(pulled: PullResult) -> dict[str, Any]:
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


def decide_while_pushed(dataset: Any, root: str, settings: ReviewSettings) -> list[str]:
    """Decide on a sample after the pull of a push, and between its reading and its writing."""
    said = Verdict("two_parts", 0, "reject", "", "cleo", "2026-01-31T12:00:00+00:00")
    add_verdicts(root, [said])  # the push has to show it
    late = {"pull": "dora", "_read_shown": "eve"}

    def then_decide(name: str, act: Any) -> Any:
        def run(*arguments: Any) -> Any:
            done = act(*arguments)
            if who := late.pop(name, ""):
                store_decision(dataset, ids_of(dataset, "two_parts"), "accept", "", who)
            return done

        return run

    with ExitStack() as patched:
        for name in list(late):
            act = then_decide(name, getattr(push_module, name))
            patched.enter_context(patch.object(push_module, name, act))
        push(root, settings)
    dataset.reload()
    shown = dataset.match({"synthgen_id": "two_parts"}).first()
    home = {one.reviewer for one in read_verdicts(root) if one.sample_id == "two_parts"}
    return [*sorted(home), shown["verdict"], shown["reviewer"]]


def fix_class_while_moved(dataset: Any) -> list[Any]:
    """Give a defect another class while somebody moves it."""
    real = dataset._sample_collection
    one = {"synthgen_id": "two_parts", "slices.name": "image"}
    moved = {"$set": {"defects.detections.0.bounding_box": [0.5, 0.5, 0.25, 0.25]}}

    def find(*arguments: Any) -> list[Any]:
        documents = list(real.find(*arguments))
        real.update_one(one, moved)
        return documents

    between = SimpleNamespace(
        find=find, update_one=real.update_one, distinct=real.distinct, update_many=real.update_many
    )
    changed = fix_class(
        SimpleNamespace(_sample_collection=between),
        ids_of(dataset, "two_parts"),
        [],
        "stain",
        "ben",
    )
    label = real.find_one(one)["defects"]["detections"][0]
    return [changed, label["label"], label["bounding_box"]]


def main(root: str, tars: str, bank: str, before: str, out: str) -> None:
    cache = str(Path(out).parent / "cache")
    ann, ben = (ReviewSettings(reviewer=name, cache=cache) for name in ("ann", "ben"))
    fiftyone = load_fiftyone()
    found: dict[str, Any] = {}
    pushed = push(root, ann)
    found["pushed"] = [pushed.new, pushed.total, push(root, ann).new]
    dataset = fiftyone.load_dataset(pushed.dataset)
    found["masks"] = compare_masks(dataset, root)
    found["first"] = describe(dataset)

    store_decision(dataset, ids_of(dataset, "hole", "two_parts"), "accept", "", "ann")
    store_decision(dataset, ids_of(dataset, "hole", slice_name="source"), "reject", "unreal", "ben")
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

    store_decision(dataset, ids_of(dataset, "hole"), "accept", "", "ben")
    found["agreed"] = told(pull(root, ben))
    found["between"] = decide_while_pushed(dataset, root, ann)
    found["moved"] = fix_class_while_moved(dataset)
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
    older = push(before, ann)
    dataset = fiftyone.load_dataset(older.dataset)
    store_decision(dataset, ids_of(dataset, "chip-000002"), "accept", "", "ann")
    home = pull(before, ann)
    found["older"] = [older.new, home.verdicts, dict(Counter(dataset.values("verdict")))]
    dataset = fiftyone.load_dataset("mine")
    found["real"] = store_decision(
        dataset, dataset.match_tags("real").values("id"), "accept", "", "ann"
    )
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
