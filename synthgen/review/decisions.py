"""What a person decides in the App, kept on the samples there until it is pulled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from synthgen.review.fields import DEFECTS, IMAGE, REAL, SLICE_FIELD

__all__ = ["count_progress", "fix_class", "store_decision"]

UNKNOWN = "unreviewed"


def store_decision(
    dataset: Any,
    ids: Sequence[str],
    verdict: str,
    reason: str,
    reviewer: str,
    is_rest: bool = False,
) -> int:
    """Note a verdict on the samples with these ids of FiftyOne; return on how many.

    Any slice of a sample stands for it; real defects are left alone. ``verdict``: accept or reject.
    ``is_rest``: samples that have a verdict are left alone, too. Every verdict is kept, with its
    time in UTC; the last one is shown.
    """
    now = datetime.now(UTC)
    made = {
        "verdict": verdict,
        "reason": reason,
        "reviewer": reviewer,
        "time": now.isoformat(timespec="milliseconds"),
    }
    shown = {name: made[name] for name in ("verdict", "reason", "reviewer")}
    change = {"$set": {**shown, "last_modified_at": now}, "$push": {"decisions": made}}
    asked = _asked(dataset, ids) | ({"verdict": None} if is_rest else {})
    return int(dataset._sample_collection.update_many(asked, change).modified_count)


def fix_class(
    dataset: Any, ids: Sequence[str], labels: Sequence[str], name: str, reviewer: str
) -> int:
    """Give defects another class, ``name``; return how many changed.

    ``labels``: ids of the defects; none = every defect of the samples with these ``ids``. Real
    defects are left alone. ``reviewer`` is noted as who drew the label.
    """
    collection, changed = dataset._sample_collection, 0
    chosen = {ObjectId(label) for label in labels}
    asked = (
        {f"{DEFECTS}.detections._id": {"$in": list(chosen)}, "tags": {"$ne": REAL}}
        if chosen
        else _asked(dataset, ids)
    )
    for document in list(collection.find(asked, {DEFECTS: 1})):
        meant = [
            one["_id"]
            for one in document[DEFECTS]["detections"]
            if (not chosen or one["_id"] in chosen) and one["label"] != name
        ]
        values = {
            f"{DEFECTS}.detections.$[one].label": name,  # what else is edited meanwhile stays
            "editor": reviewer,
            "last_modified_at": datetime.now(UTC),
        }
        if meant:
            which = [{"one._id": {"$in": meant}}]
            collection.update_one({"_id": document["_id"]}, {"$set": values}, array_filters=which)
        changed += len(meant)
    return changed


def count_progress(dataset: Any) -> dict[str, dict[str, int]]:
    """Return by class how many samples have which verdict, classes sorted; real defects are none.

    ``good`` is a class, too; ``unreviewed`` counts as a verdict.
    """
    steps = [
        {"$match": {f"{SLICE_FIELD}.name": IMAGE, "tags": {"$ne": REAL}}},
        {
            "$group": {
                "_id": {"name": "$defect_class", "verdict": "$verdict"},
                "count": {"$sum": 1},
            }
        },
    ]
    counts: dict[str, dict[str, int]] = {}
    for row in dataset._sample_collection.aggregate(steps):
        name, verdict = row["_id"].get("name") or "good", row["_id"].get("verdict") or UNKNOWN
        counts.setdefault(name, {})[verdict] = row["count"]
    return dict(sorted(counts.items()))


def _asked(dataset: Any, ids: Sequence[str]) -> dict[str, Any]:
    """Return the query for the image slices of samples of which any slice has one of the ids."""
    chosen = {"_id": {"$in": [ObjectId(one) for one in ids]}}
    names = dataset._sample_collection.distinct("synthgen_id", chosen)
    return {
        f"{SLICE_FIELD}.name": IMAGE,
        "synthgen_id": {"$in": names},
        "tags": {"$ne": REAL},
    }
