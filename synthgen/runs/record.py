"""What a run says of itself, ``run.yaml`` and ``quality.yaml``: read as data, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from synthgen.errors import ConfigError, RunError
from synthgen.quality.limits import read_limits
from synthgen.runs.renamed import rename_config
from synthgen.storage.files import check_name
from synthgen.storage.places import Storage

__all__ = ["QUALITY", "RECORD", "read_classes", "read_quality", "read_record"]

RECORD, QUALITY = "run.yaml", "quality.yaml"
MAX_BYTES = 16 << 20  # more than any config has
SECTIONS = (  # of its config: mappings, where they are there
    *("run", "source", "defect", "control", "backend", "augment", "quality", "executor"),
    *("label", "mask", "missed", "bank", "prompt"),
)
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_record(storage: Storage) -> dict[str, Any]:
    """Return what ``run.yaml`` holds, its config by the names of today.

    Raises RunError where it is missing, damaged or not a record.
    """
    if not storage.exists(RECORD):
        raise RunError(f"{storage.location} is not a run of synthgen: it has no {RECORD}")
    record = _read(storage, RECORD)
    where = f"{storage.location}/{RECORD}"
    config = record["config"] = rename_config(_mapping(record, "config", where))
    if not isinstance(record.get("digest"), str):
        raise RunError(f"{where} has no digest; the run folder is damaged")
    for name in SECTIONS:
        if config.get(name) is not None:
            _mapping(config, name, f"{where}: config")
    for name in ("versions", "bank_classes", "models"):
        if record.get(name) is not None:
            _mapping(record, name, where)
    for name in record.get("models") or {}:
        _mapping(record["models"], name, f"{where}: models")
    for name in ("backend", "checkpoint"):
        if not isinstance(record.get(name, ""), str | None):
            raise RunError(f"{where}: {name}={record[name]!r} must be a text")
    notes = record.get("notes") or []
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise RunError(f"{where}: notes must be a list of texts")
    read_classes(record, where)
    return record


def read_quality(storage: Storage, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the limits in force: those of ``synthgen inspect``, or else the run's own, or None.

    Raises RunError where they are damaged.
    """
    if storage.exists(QUALITY):
        own = rename_config({"quality": _read(storage, QUALITY)})
        found, where = dict(own["quality"]), QUALITY
    elif (own := record["config"].get("quality")) is None:
        return None
    else:
        found, where = dict(own), f"{RECORD}: config"
    try:
        read_limits(found)
    except ConfigError as error:
        raise RunError(f"{storage.location}/{where}: {error}") from error
    return found


def read_classes(record: Mapping[str, Any], where: str = RECORD) -> dict[str, int]:
    """Return class ids by name of a run's record, sorted: of the config, and of its bank.

    Raises RunError for a name that cannot be part of a file's name, and for an id that is not a
    whole number from 1 to 254. ``where``: the file, for the message.
    """
    defects = record["config"].get("defect") or {}
    ids: dict[Any, Any] = {}
    for name in defects:
        ids[name] = _mapping(defects, name, f"{where}: config.defect").get("class_id")
    ids |= record.get("bank_classes") or {}
    for name, class_id in ids.items():
        check_name(name, f"a defect class of {RECORD}")
        is_whole = isinstance(class_id, int) and not isinstance(class_id, bool)
        if not is_whole or not 1 <= class_id <= 254:
            raise RunError(
                f"{where}: the class {name!r} has the id {class_id!r}; it must be 1 to 254"
            )
    return {name: ids[name] for name in sorted(ids)}


def _read(storage: Storage, name: str) -> dict[str, Any]:
    """Return what a YAML file of a run holds; raises RunError where it is damaged or too large."""
    where = f"{storage.location}/{name}"
    data = storage.read(name, 0, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise RunError(f"{where} is larger than {MAX_BYTES >> 20} MB, and so no config")
    try:
        found = yaml.load(data, LOADER)  # a safe one
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError, TypeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{where} is damaged and cannot be read as YAML ({line})") from error
    if not isinstance(found, dict):
        raise RunError(f"{where} holds {type(found).__name__} and no keys; the run is damaged")
    return found


def _mapping(holder: Mapping[str, Any], name: Any, where: str) -> Mapping[str, Any]:
    """Return a value that must be a mapping; raises RunError, also for an unresolved reference."""
    found = holder.get(name)
    if not isinstance(found, Mapping):
        is_reference = isinstance(found, str) and "${" in found
        why = "is a reference, and none is followed" if is_reference else "should hold keys"
        raise RunError(f"{where}.{name}={repr(found)[:100]} {why}; the run folder is damaged")
    return found
