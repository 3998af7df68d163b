"""A run folder: paths, whole-or-absent files, what is finished, what may continue it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import yaml

from synthgen.errors import ConfigError, RunError
from synthgen.imaging.images import IGNORED, encode_png
from synthgen.progress import stage
from synthgen.quality.limits import Limits, read_limits
from synthgen.quality.realised import soft_border
from synthgen.runs.manifest import (
    TABLES,
    failure_row,
    file_stem,
    instance_rows,
    manifest_row,
    read_table,
    to_pandas,
    try_rows,
    write_table,
)
from synthgen.runs.planned import explain_difference, plan_digest, read_plan, tabulate_plan
from synthgen.runs.record import QUALITY, RECORD, read_classes, read_quality, read_record
from synthgen.runs.reviews.decide import decide
from synthgen.runs.reviews.edits import Overlay
from synthgen.runs.schema import Table
from synthgen.runs.shards import Shards, compact, write_shard
from synthgen.runs.tars import TarPack
from synthgen.samples.sample import Failure, Sample, SampleSpec
from synthgen.storage.files import digest_file, remove_leftovers
from synthgen.storage.places import hide_passwords, open_storage
from synthgen.storage.provenance import DRAWN, ENHANCED, digital_source

__all__ = ["Layout", "RunFolder", "check_run_folder", "inspect_run", "open_run"]

Layout = Literal["files", "tar"]
Row = Mapping[str, Any]
DefaultOf = Callable[[str], Any]
# What a run that was killed at its start leaves, and the lock of one that fills a bucket.
BEGUN = re.compile(r"preview\.html|plan\.parquet|\.(plan|run)\..*\.tmp\.\w+|\.run\.lock.*")
FREE_TO_CHANGE = (
    *("run.folder", "run.batch_size", "run.storage"),
    *(f"backend.hardware.{key}" for key in ("device", "threads", "paint_batch", "compile")),
    *(f"backend.hardware.{key}" for key in ("vae_slicing", "offload", "device_map")),
    *("backend.model.offline", "executor"),
)


def no_default(key: str) -> Any:
    """Return None: a key that is not given is not set."""


class RunFolder:
    """One run, wherever it lies. ``open_run`` makes it; workers make their own.

    ``root``: a folder, or an address such as ``s3://bucket/prefix``. ``ignores_border``: masks hold
    255 at pixels beside a label that visibly changed too. ``layout``: *files* writes an image per
    file, *tar* a WebDataset shard per batch. Raises ConfigError for another layout.
    """

    def __init__(
        self, root: Path | str, ignores_border: bool = False, layout: Layout = "files"
    ) -> None:
        if layout not in get_args(Layout):
            known = ", ".join(get_args(Layout))
            raise ConfigError(f"run.storage={layout!r} must be one of {known}")
        self.storage = open_storage(root)
        self.ignores_border, self.layout = ignores_border, layout
        self._sources: set[str] = set()  # drawn ones that are known to be stored

    @property
    def root(self) -> Path | str:
        """Its folder, or its address where it is not on this machine."""
        return self.storage.local("") or self.storage.location

    def revisions(self) -> dict[str, int]:
        """Return the samples that a shard already holds, each with its newest revision."""
        return Shards(self.storage).revisions()

    def write(self, outcomes: Sequence[Sample | Failure], backend: str, checkpoint: str) -> None:
        """Write the images of some samples, then the shard that says they are whole.

        A kill between leaves images without a shard: their samples count as not made. ``backend``
        and ``checkpoint``: what painted them. May be called from several threads at once.
        """
        first = min(outcomes, key=lambda outcome: outcome.spec.index).spec
        key = file_stem(f"{first.index:08d}", first.revision)
        pack = TarPack(f"tars/batch-{key}.tar") if self.layout == "tar" else None
        rows, instances, timings = [], [], []
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                rows.append(failure_row(outcome, backend, checkpoint))
                continue
            begun = time.perf_counter()
            row, defects = manifest_row(outcome, backend, checkpoint), instance_rows(outcome)
            self._write_source(outcome, row, pack)
            self._write_images(outcome, row, defects, pack)
            durations_s = outcome.durations_s | {"write": time.perf_counter() - begun}
            rows.append(row)
            instances += defects
            timings.append({"sample_id": row["sample_id"], **durations_s})
        if pack is not None and (tar := pack.finish()):
            self.storage.write(pack.path, tar)
        tables: dict[Table, Sequence[Row]] = {
            "manifest": rows,
            "instances": instances,
            "tries": [row for outcome in outcomes for row in try_rows(outcome)],
            "timings": timings,
            "files": [] if pack is None else pack.rows,
        }
        write_shard(self.storage, key, tables)

    def _write_source(self, sample: Sample, row: Row, pack: TarPack | None) -> None:
        """Write the source where it is not a photo as it was.

        A drawn one is written once, and maybe in several tars; an augmented one with its sample.
        """
        source, name = sample.candidate.condition.source, str(row["source_path"])
        if name == source.path or name in self._sources:
            return
        origin = DRAWN if source.path is None else ENHANCED
        if pack is not None:
            pack.add_source(name, encode_png(source.pixels, origin))
        elif source.is_augmented or not self.storage.exists(name):
            self.storage.write(name, encode_png(source.pixels, origin))
        if not source.is_augmented:
            self._sources.add(name)

    def _write_images(
        self, sample: Sample, row: dict[str, Any], defects: Sequence[Row], pack: TarPack | None
    ) -> None:
        """Write the images of a sample, and the digests of image and mask into its ``row``."""
        candidate, condition = sample.candidate, sample.candidate.condition
        source = condition.source
        labels = sample.class_map()
        if self.ignores_border:
            border = soft_border(
                condition.image,
                candidate.image,
                candidate.realised_mask,
                condition.repaint_mask,
                condition.defect_mask,
            )
            labels[border] = IGNORED
        is_drawn = source.path is None
        origin = digital_source(is_drawn, row["backend"], row["checkpoint"], source.is_augmented)
        files = {row["requested"]: encode_png(condition.defect_mask.astype(np.uint8) * 255)}
        stem = str(row["control"]).removesuffix(".png")
        for number, (name, control) in enumerate(condition.controls.items()):
            files[f"{stem}.{name}.png" if number else row["control"]] = encode_png(control)
        files[row["mask"]] = encode_png(labels)
        files[row["image"]] = encode_png(candidate.pixels, origin)
        for name in ("image", "mask"):
            row[f"{name}_digest"] = digest_file(files[row[name]])
        if pack is not None:
            pack.add_sample(row, defects, files)
            return
        for name, data in files.items():
            self.storage.write(name, data)

    def compact(self, least: int = 200) -> None:
        """Put small shards into large ones where there are ``least`` or more.

        Call it from one process at a time; others may write meanwhile.
        """
        compact(self.storage, least)

    def remove_leftovers(self) -> None:
        """Remove what workers that died left half-written, on this machine only.

        Call it while nobody writes here.
        """
        if (folder := self.storage.local("")) is not None:
            remove_leftovers(folder)

    @stage("writing the tables")
    def merge(self, limits: Limits | None = None) -> pd.DataFrame:
        """Write the tables from the shards and the labels that people edited; return the manifest.

        ``limits`` decide the statuses; by default those of ``quality.yaml``, which ``synthgen
        inspect`` writes, or else the run's. The manifest is written last: with it a run is whole.
        """
        self.compact()
        shards = Shards(self.storage)
        overlay = Overlay(self.storage, shards.revisions)
        for name in TABLES:
            if name == "manifest":  # last: it is the largest, and then the only one in memory
                continue
            table = shards.table(name)
            if name == "instances":
                table = overlay.lay_on_instances(table)
            if name != "files" or len(table):
                write_table(self.storage, name, table)
            del table
        manifest = overlay.lay_on_manifest(shards.table("manifest"))
        limits = limits or self.limits()
        if limits is not None:
            with stage("deciding by the limits", len(manifest), unit="samples") as at:
                manifest = decide(manifest, limits)
                at.add(len(manifest))
        write_table(self.storage, "manifest", manifest)
        return to_pandas(manifest)

    def limits(self) -> Limits | None:
        """Return the limits in force; None where the run was made without a say on quality."""
        plain = read_quality(self.storage, read_record(self.storage))
        return None if plain is None else read_limits(plain)


def check_run_folder(root: Path | str) -> bool:
    """Say whether a run lies at ``root``; False where a new one can be begun there.

    Raises RunError where something else lies there, or nothing can be written.
    """
    storage = open_storage(root)
    if storage.exists(RECORD):
        return True
    if not all(BEGUN.fullmatch(name) for name in storage.names()):
        raise RunError(
            f"run.folder={str(root)!r} exists and is not a run of synthgen (it has no run.yaml); "
            "give a new or an empty folder"
        )
    if (folder := storage.local("")) is not None:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
            raise RunError(
                f"run.folder={str(root)!r} cannot be written: {there} allows no new files; give "
                "another folder"
            )
    return False


def inspect_run(root: Path | str, quality: Mapping[str, Any]) -> pd.DataFrame:
    """Decide a finished run again, by other limits, without painting; return the manifest.

    ``quality``: as in the config. Writes ``quality.yaml`` and the tables: statuses and reasons
    change, images and labels do not. Raises RunError where ``root`` is not a finished run,
    ConfigError for impossible limits.
    """
    run = RunFolder(root)
    limits = read_limits(quality, read_classes(read_record(run.storage)))
    planned = len(read_table(run.storage, "plan", ["sample_id"]))
    if (done := len(run.revisions())) < planned:
        raise RunError(
            f"{root} is not finished ({done} of {planned} samples); run the same synthgen generate "
            "command again, then inspect it"
        )
    manifest = run.merge(limits)
    text = yaml.safe_dump(dict(quality), sort_keys=True)
    run.storage.write(QUALITY, text.encode("utf-8"))
    return manifest


def open_run(
    root: Path | str,
    config: Mapping[str, Any],
    specs: Sequence[SampleSpec],
    facts: Mapping[str, Any],
    default_of: DefaultOf = no_default,
    resolved: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Begin a run in a new or empty folder, or continue one of the same config and plan.

    ``root``: a folder, or an address such as ``s3://bucket/prefix``. ``config`` is stored without
    the passwords of addresses. ``facts`` (versions, checkpoint) are recorded. ``default_of``: the
    value that a key of the config has where it is not given, for keys that came after the run was
    begun. ``resolved``: the config with what its references to the environment stand for, which
    earlier versions stored. Raises RunError where it holds something else, or a run of another
    config, of other weights or of another plan, with the key, the file or the sample that changed.
    """
    config, digest = _without_passwords(dict(config)), plan_digest(specs)
    ignores_border = bool(config.get("label", {}).get("ignore_border", False))
    run = RunFolder(root, ignores_border, config.get("run", {}).get("storage", "files"))
    if check_run_folder(root):
        before = read_record(run.storage)
        _check_config(
            root, before["config"], config, default_of, _without_passwords(resolved or config)
        )
        _check_weights(root, before.get("models") or {}, facts.get("models") or {})
        if before["digest"] != digest:  # that of an older version is another one of the same plan
            _check_plan(run, specs)
        run.remove_leftovers()
        return run
    write_table(run.storage, "plan", tabulate_plan(specs))
    record = {"config": config, **facts, "digest": digest}
    run.storage.write(RECORD, yaml.safe_dump(record, sort_keys=True).encode("utf-8"))
    return run


def _check_config(
    root: Path | str,
    before: Mapping[str, Any],
    config: Mapping[str, Any],
    default_of: DefaultOf,
    resolved: Mapping[str, Any],
) -> None:
    """Raise RunError with the first key, in alphabetical order, whose value is another one.

    A key that the run's version did not know yet is the same where it has its default, and a
    reference to the environment where the run's version stored what it stood for.
    """
    old, new, used = _flatten(before), _flatten(config), _flatten(resolved)
    for key in sorted(old.keys() | new.keys()):
        if key.startswith(FREE_TO_CHANGE) or old.get(key) == new.get(key):
            continue
        if key in old and key in used and old[key] == used[key]:
            continue
        if key not in old and default_of(key) == new[key]:
            continue
        raise RunError(
            f"{root} holds a run with {key}={_show(old.get(key))}, now it is "
            f"{_show(new.get(key))}; give another run.folder, or the same value to continue"
        )


def _check_plan(run: RunFolder, specs: Sequence[SampleSpec]) -> None:
    """Raise RunError where the plan of a run is missing or another one."""
    try:
        before = read_plan(run.storage)
    except FileNotFoundError as error:
        raise RunError(
            f"{run.root}/plan.parquet is missing; the run folder is damaged, give another "
            "run.folder"
        ) from error
    if difference := explain_difference(before, specs):
        raise RunError(
            f"{run.root} holds a run of the same config but of another plan: {difference}; have "
            "the source images changed? Give another run.folder"
        )


def _check_weights(
    root: Path | str, before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raise RunError where a model of the same name has other files than when the run began."""
    for what in sorted(before.keys() & now.keys()):
        known = before[what]  # what it does not say of itself is not compared
        old, new = known.get("weights"), now[what].get("weights") or {}
        changed = sorted({file for file, _ in new.items() ^ old.items()}) if old else []
        if not changed and known.get("digest", now[what].get("digest")) == now[what].get("digest"):
            continue
        told = changed[0] if changed else "one of its settings files"
        raise RunError(
            f"{root} holds a run with other weights: {told} of {what}={now[what].get('name')} has "
            "changed since; give another run.folder, or the weights of before to continue"
        )


def _without_passwords(tree: Any) -> Any:
    """Return a config without the passwords of the addresses in it."""
    if isinstance(tree, Mapping):
        return {key: _without_passwords(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_passwords(value) for value in tree]
    return hide_passwords(tree) if isinstance(tree, str) else tree


def _show(value: Any) -> str:
    return "not set" if value is None else str(value)


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
