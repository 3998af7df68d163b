"""Which models are at hand: the embedded one, those of a folder, those in the hub's cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synthgen.backends.checkpoints.digests import is_quick
from synthgen.backends.checkpoints.families import find_family
from synthgen.backends.checkpoints.find import EMBEDDED, find_checkpoint
from synthgen.backends.checkpoints.hub import hub_cache
from synthgen.backends.checkpoints.weights import read_config_json, weight_files
from synthgen.errors import ModelError

__all__ = ["FoundModel", "find_models"]

INDEX, CONFIG = "model_index.json", "config.json"
MAX_LEVELS = 3  # of folders below the one that was given


@dataclass(frozen=True, kw_only=True)
class FoundModel:
    """A model on this disk; ``error`` says why it does not run, '' = it does.

    Where its files cannot be read, ``class_name`` is '' and ``gigabytes`` is 0.
    """

    name: str
    is_pipeline: bool  # False: a part by itself, e.g. a ControlNet
    class_name: str
    family: str  # '' = none that synthgen runs
    digest: str  # '' = its large files were not read yet
    licence: str | None
    gigabytes: float
    error: str


def find_models(folder: str | None) -> list[FoundModel]:
    """Return the models at hand: the embedded one, those in the hub's cache, those of ``folder``.

    A folder is searched three levels deep, and not inside a model. Models that do not run are
    there too, with their error. Raises ModelError where ``folder`` is not one.
    """
    names = [(EMBEDDED, True), *_in_hub()]
    if folder is not None:
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise ModelError(f"models={folder!r} is not a folder; give one that holds checkpoints")
        names += _below(root)
    return [_look_at(name, is_pipeline) for name, is_pipeline in names]


def _in_hub() -> Iterator[tuple[str, bool]]:
    """Yield the ids of the cached repositories that hold a diffusers model, as their main has it.

    With each id comes whether it is a pipeline.
    """
    try:
        cache = hub_cache()
    except ImportError:
        return
    for repository in sorted(cache.glob("models--*--*")):
        name = repository.name.removeprefix("models--").replace("--", "/", 1)
        ref = repository / "refs" / "main"
        if ref.is_file():
            snapshot = repository / "snapshots" / ref.read_text(encoding="utf-8").strip()
            if (kind := _kind(snapshot)) is not None:
                yield name, kind


def _below(folder: Path, level: int = 0) -> Iterator[tuple[str, bool]]:
    """Yield the paths of the models in a folder, each with whether it is a pipeline."""
    if (kind := _kind(folder)) is not None:
        yield str(folder), kind
    elif level < MAX_LEVELS:
        for inside in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield from _below(inside, level + 1)


def _kind(folder: Path) -> bool | None:
    """Return True for a pipeline, False for one model, None for something else."""
    if (folder / INDEX).is_file():
        return True
    try:
        config = read_config_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    except ModelError:
        return None
    return False if "_class_name" in config and weight_files(folder) else None


def _look_at(name: str, is_pipeline: bool) -> FoundModel:
    """Return what is known of a model; large weights are not read, unless a run has done so."""
    try:
        found = find_checkpoint(name, is_pipeline=is_pipeline, with_digest=False)
    except ModelError as error:
        return FoundModel(
            name=name,
            is_pipeline=is_pipeline,
            class_name="",
            family="",
            digest="",
            licence=None,
            gigabytes=0.0,
            error=str(error),
        )
    files = [*weight_files(found.folder), *found.folder.glob("*/*.safetensors")]
    family = trouble = digest = ""
    if is_pipeline:
        try:
            family = find_family(found.class_name, found.folder).title
        except ModelError as error:
            trouble = str(error)
    if all(is_quick(path) for path in files):
        digest = find_checkpoint(name, is_pipeline=is_pipeline).digest
    return FoundModel(
        name=name,
        is_pipeline=is_pipeline,
        class_name=found.class_name,
        family=family,
        digest=digest,
        licence=found.licence,
        gigabytes=sum(path.stat().st_size for path in files) / 1e9,
        error=trouble,
    )
