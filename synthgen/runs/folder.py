"""A run folder: paths, whole-or-absent files, what is finished, what may continue it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from synthgen.errors import RunError
from synthgen.files import write_text, write_whole
from synthgen.images import IGNORED, write_png
from synthgen.marking import DRAWN, digital_source
from synthgen.plan import plan_digest, tabulate_plan
from synthgen.quality.limits import Limits, read_limits
from synthgen.quality.realised import soft_border
from synthgen.runs.decide import decide
from synthgen.runs.manifest import (
    failure_row,
    instance_rows,
    manifest_row,
    merge_shards,
    try_rows,
)
from synthgen.sample import Failure, Sample, SampleSpec

__all__ = ["RunFolder", "inspect_run", "open_run"]

RECORD, QUALITY = "run.yaml", "quality.yaml"
FREE_TO_CHANGE = ("run.folder", "run.batch_size", "backend.device", "backend.threads")


class RunFolder:
    """One run on disk. Made by ``open_run``."""

    def __init__(self, root: Path, ignores_border: bool = False) -> None:
        self.root, self.ignores_border = root, ignores_border

    def finished(self) -> set[str]:
        """Return the ids of the samples that a shard already holds."""
        done: set[str] = set()
        for path in sorted((self.root / "shards").glob("*.json")):
            done.update(row["sample_id"] for row in _read_json(path)["manifest"])
        return done

    def write(self, outcomes: Sequence[Sample | Failure], backend: str, checkpoint: str) -> None:
        """Write the images of some samples, then the shard that says they are whole."""
        rows, instances, tries, timings = [], [], [], []
        for outcome in outcomes:
            tries += try_rows(outcome)
            if isinstance(outcome, Failure):
                rows.append(failure_row(outcome, backend, checkpoint))
                continue
            row = manifest_row(outcome, backend, checkpoint)
            begun = time.perf_counter()
            self._write_images(outcome, row)
            durations_s = outcome.durations_s | {"write": time.perf_counter() - begun}
            rows.append(row)
            instances += instance_rows(outcome)
            timings.append({"sample_id": row["sample_id"], **durations_s})
        first = min(outcome.spec.index for outcome in outcomes)
        shard = {"manifest": rows, "instances": instances, "tries": tries, "timings": timings}
        write_text(self.root / "shards" / f"shard-{first:08d}.json", json.dumps(shard))

    def _write_images(self, sample: Sample, row: Mapping[str, Any]) -> None:
        candidate, condition = sample.candidate, sample.candidate.condition
        labels = np.zeros(condition.defect_mask.shape, np.uint8)
        for annotation in sample.annotations:
            labels[annotation.mask] = annotation.class_id
        if self.ignores_border:
            border = soft_border(
                condition.image,
                candidate.image,
                candidate.realised_mask,
                condition.repaint_mask,
                condition.defect_mask,
            )
            labels[border] = IGNORED
        is_drawn = condition.source.path is None
        if is_drawn and not (self.root / row["source_path"]).exists():
            write_png(self.root / row["source_path"], condition.source.pixels, DRAWN)
        write_png(self.root / row["requested"], condition.defect_mask.astype(np.uint8) * 255)
        write_png(self.root / row["control"], condition.control_image)
        write_png(self.root / row["mask"], labels)
        origin = digital_source(is_drawn, row["backend"], row["checkpoint"])
        write_png(self.root / row["image"], candidate.pixels, origin)

    def merge(self, limits: Limits | None = None) -> pd.DataFrame:
        """Write the tables from the shards, decided by the limits; return the manifest.

        By default those of ``quality.yaml``, which ``synthgen inspect`` writes, or else the run's.
        """
        shards = [_read_json(path) for path in sorted((self.root / "shards").glob("*.json"))]
        tables = merge_shards(shards)
        limits = limits or self.limits()
        if limits is not None:
            tables["manifest"] = decide(tables["manifest"], limits)
        for name, table in tables.items():
            write_whole(
                self.root / f"{name}.parquet",
                partial(table.to_parquet, index=False),
            )
        return tables["manifest"]

    def limits(self) -> Limits | None:
        """Return the limits in force; None where the run was made without a say on quality."""
        own = self.root / QUALITY
        config = _read_yaml(self.root / RECORD)["config"]
        plain = _read_yaml(own) if own.is_file() else config.get("quality")
        return None if plain is None else read_limits(plain)


def inspect_run(root: Path, quality: Mapping[str, Any]) -> pd.DataFrame:
    """Decide a finished run again, by other limits, without painting; return the manifest.

    Writes ``quality.yaml`` and the tables: statuses and reasons change, images and labels do not.
    Raises RunError where ``root`` is no finished run, ConfigError for impossible limits.
    """
    if not (root / RECORD).is_file():
        raise RunError(f"{root} is no run of synthgen: it has no {RECORD}")
    limits = read_limits(quality, _read_yaml(root / RECORD)["config"]["defect"])
    run = RunFolder(root)
    planned = len(pd.read_parquet(root / "plan.parquet", columns=["sample_id"]))
    if (done := len(run.finished())) < planned:
        raise RunError(
            f"{root} is not finished ({done} of {planned} samples); run the same synthgen generate "
            "command again, then inspect it"
        )
    manifest = run.merge(limits)
    write_text(root / QUALITY, yaml.safe_dump(dict(quality), sort_keys=True))
    return manifest


def open_run(
    root: Path, config: Mapping[str, Any], specs: Sequence[SampleSpec], facts: Mapping[str, Any]
) -> RunFolder:
    """Begin a run in a new or empty folder, or continue one of the same config and plan.

    ``facts`` (versions, checkpoint) are recorded. Raises RunError where the folder holds something
    else, or a run of another config, with the key that changed.
    """
    record = root / RECORD
    plan = tabulate_plan(specs)
    digest = plan_digest(plan)
    ignores_border = bool(config.get("label", {}).get("ignore_border", False))
    if record.is_file():
        _check_same(root, _read_yaml(record), config, digest)
        return RunFolder(root, ignores_border)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RunError(
            f"run.folder={str(root)!r} exists and is no run of synthgen (it has no run.yaml); "
            "give a new or an empty folder"
        )
    for name in ("images", "masks", "requested", "controls", "shards"):
        _make_folder(root / name)
    write_whole(root / "plan.parquet", partial(plan.to_parquet, index=False))
    write_text(
        record,
        yaml.safe_dump({"config": dict(config), **facts, "digest": digest}, sort_keys=True),
    )
    return RunFolder(root, ignores_border)


def _check_same(
    root: Path, before: Mapping[str, Any], config: Mapping[str, Any], digest: str
) -> None:
    old, new = _flatten(before["config"]), _flatten(config)
    for key in sorted(old.keys() | new.keys()):
        if key.startswith(FREE_TO_CHANGE) or old.get(key) == new.get(key):
            continue
        raise RunError(
            f"{root} holds a run with {key}={_show(old.get(key))}, now it is "
            f"{_show(new.get(key))}; give another run.folder, or the same value to continue"
        )
    if before["digest"] != digest:
        raise RunError(
            f"{root} holds a run of the same config but of another plan: the source images changed "
            "since; give another run.folder"
        )


def _show(value: Any) -> str:
    return "not set" if value is None else str(value)


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {path}: {error.strerror}") from error


def _read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
