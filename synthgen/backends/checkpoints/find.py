"""Checkpoints: where they are, whether they are whole and safe, and the digest that names them."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthgen.backends.checkpoints.digests import LARGE_BYTES, file_digest
from synthgen.backends.checkpoints.hub import Kind, find_in_hub, is_hub_id
from synthgen.backends.checkpoints.licences import read_licence
from synthgen.backends.checkpoints.weights import (
    check_safetensors,
    check_weights,
    read_config_json,
    variant_of,
    weight_files,
)
from synthgen.errors import ModelError
from synthgen.storage.files import find_shipped

__all__ = [
    "EMBEDDED",
    "Checkpoint",
    "checkpoint_digest",
    "describe_models",
    "find_checkpoint",
    "find_weights",
]

EMBEDDED = "embedded"
INDEX, CONFIG = "model_index.json", "config.json"
LIBRARIES = ("diffusers", "transformers")
WITHOUT_WEIGHTS = re.compile("Tokenizer|Processor|Scheduler|Extractor")
OPTIONAL = ("safety_checker",)  # runs go without it, and many copies leave it out


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A diffusers folder on this disk, checked: whole, safetensors only, no code of its own."""

    name: str  # as in the config: embedded, a path or a hub id
    folder: Path
    revision: str | None  # the hub's commit; None for a folder
    digest: str
    licence: str | None  # as its card states it; None = it states none
    class_name: str
    variant: str | None = None  # fp16, where its weights come in that alone
    weights: Mapping[str, str] = field(default_factory=dict)  # path in the folder: SHA-256


def find_checkpoint(
    name: str,
    *,
    key: str = "backend.model.checkpoint",
    revision: str | None = None,
    offline: bool = True,
    is_pipeline: bool = True,
    with_digest: bool = True,
) -> Checkpoint:
    """Find and check a checkpoint: ``embedded``, a diffusers folder, or a hub id ``owner/name``.

    ``is_pipeline`` False: one model with its config.json, e.g. a ControlNet. Unless ``offline``, a
    hub id is downloaded first. Python files beside the weights are never run. ``with_digest``
    False reads no weights: digest and weights are empty. Raises ModelError.
    """
    folder, commit = _locate(name, key, revision, offline, "pipeline" if is_pipeline else "model")
    parts = _check_pipeline(folder, name, key) if is_pipeline else _check_model(folder, name, key)
    config = read_config_json(folder / (INDEX if is_pipeline else CONFIG))
    files = [path for part in parts for path in weight_files(part)] if with_digest else []
    return Checkpoint(
        name=name,
        folder=folder,
        revision=commit,
        digest=checkpoint_digest(folder) if with_digest else "",
        licence=read_licence(folder),
        class_name=str(config.get("_class_name", "")),
        variant=variant_of(parts),
        weights={path.relative_to(folder).as_posix(): file_digest(path) for path in files},
    )


def find_weights(name: str, key: str, *, revision: str | None = None, offline: bool = True) -> Path:
    """Find a file of weights, e.g. a LoRA: a .safetensors file, or a folder or hub id with one.

    ``key``: the config key of the name, for the error. Raises ModelError where there is none, or
    more than one.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        folder, _ = _locate(name, key, revision, offline, "adapter")
        files = weight_files(folder)
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise ModelError(f"{key}={name!r} holds several files ({names}); give the path of one")
        if not files:
            check_weights(folder)
        path = files[0]
    if path.suffix != ".safetensors":
        raise ModelError(f"{key}={name!r} is not a .safetensors file, the only kind that is read")
    check_safetensors(path)
    return path


def checkpoint_digest(folder: Path) -> str:
    """Return a short digest over every file of a checkpoint that changes what it paints.

    A large file enters by its SHA-256, so that it is read once (see ``file_digest``).
    """
    digest = hashlib.sha256()
    is_pipeline = (folder / INDEX).is_file()
    for path in sorted(folder.rglob("*")):
        is_unread = is_pipeline and path.parent == folder and path.suffix == ".safetensors"
        if path.suffix not in {".safetensors", ".json", ".txt"} or is_unread:
            continue
        digest.update(str(path.relative_to(folder)).encode())
        is_large = path.stat().st_size >= LARGE_BYTES
        digest.update(file_digest(path).encode() if is_large else path.read_bytes())
    return digest.hexdigest()[:16]


def describe_models(models: Mapping[str, Checkpoint | Path]) -> dict[str, dict[str, Any]]:
    """Return what a run records of its models, by what they are to it; a Path is a weights file."""
    described: dict[str, dict[str, Any]] = {}
    for what, model in models.items():
        if isinstance(model, Path):
            described[what] = {
                "name": model.name,
                "licence": read_licence(model.parent),
                "weights": {model.name: file_digest(model)},
            }
        else:
            described[what] = {
                "name": model.name,
                "class": model.class_name,
                "revision": model.revision,
                "digest": model.digest,
                "licence": model.licence,
                "weights": dict(model.weights),
            }
    return described


def _locate(
    name: str, key: str, revision: str | None, offline: bool, kind: Kind
) -> tuple[Path, str | None]:
    """Return the folder and, where it is of the hub, its commit."""
    if name == EMBEDDED:
        return find_shipped("data") / "models" / EMBEDDED, None
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, None
    if folder.is_file():
        raise ModelError(
            f"{key}={name!r} is one file; give a diffusers folder, which from_single_file(...) and "
            "save_pretrained(folder) of diffusers make of it"
        )
    if not is_hub_id(name):
        raise ModelError(
            f"{key}={name!r}: there is no such folder, and it is not an id of the model hub, which "
            "would read owner/name; give one of the two, or 'embedded' for the model that ships"
        )
    return find_in_hub(name, key, revision, offline, kind)


def _check_pipeline(folder: Path, name: str, key: str) -> list[Path]:
    """Return the folders of a pipeline's models, checked."""
    index = folder / INDEX
    if not index.is_file():
        raise ModelError(
            f"{key}={name!r}: {folder} is not a diffusers folder, it has no {INDEX}; "
            "give the path of one, or 'embedded' for the model that ships"
        )
    content = read_config_json(index)
    if not isinstance(content.get("_class_name"), str):
        raise ModelError(
            f"{index} names a pipeline of its own ({content.get('_class_name')}), which would run "
            "code that came with the checkpoint; use one whose pipeline is part of diffusers"
        )
    models = []
    for part, kind in content.items():
        if not isinstance(kind, list) or len(kind) != 2 or kind[0] is None:
            continue
        library, class_name = (str(value) for value in kind)
        if not _is_known(library):
            raise ModelError(
                f"{index}: its {part!r} is a {class_name} of {library!r}, which is not part of "
                "diffusers, transformers or synthgen; code that comes with a checkpoint is not run"
            )
        if _check_part(folder, part, class_name):
            models.append(folder / part)
    return models


def _is_known(library: str) -> bool:
    """Say whether the library of a part is installed code, not code of the checkpoint."""
    if library in LIBRARIES or library.split(".")[0] == "synthgen":
        return True
    # A module of diffusers.pipelines, as ``stable_diffusion`` for its safety checker.
    spec = importlib.util.find_spec("diffusers")  # finds, and does not import
    if spec is None or spec.origin is None or not library.isidentifier():
        return False
    return (Path(spec.origin).parent / "pipelines" / library / "__init__.py").is_file()


def _check_part(folder: Path, part: str, class_name: str) -> bool:
    """Check one part of a pipeline; return whether it is a model, with weights."""
    place = folder / part
    if not place.is_dir():
        if part in OPTIONAL:
            return False
        raise ModelError(
            f"the checkpoint in {folder} is incomplete: its folder {part!r} is missing; "
            "copy or download it again"
        )
    for path in sorted(place.glob("*config.json")):
        read_config_json(path)
    if WITHOUT_WEIGHTS.search(class_name):
        return False
    if not (place / CONFIG).is_file():
        raise ModelError(
            f"the checkpoint in {folder} is incomplete: {part}/{CONFIG} is missing; "
            "copy or download it again"
        )
    check_weights(place)
    return True


def _check_model(folder: Path, name: str, key: str) -> list[Path]:
    """Return the folder of one model, checked."""
    config = folder / CONFIG
    if not config.is_file() or not isinstance(read_config_json(config).get("_class_name"), str):
        hint = "it is a whole pipeline, " if (folder / INDEX).is_file() else ""
        raise ModelError(
            f"{key}={name!r}: {folder} holds no diffusers model, {hint}it has no {CONFIG} that "
            "names a class; give the folder of one model"
        )
    check_weights(folder)
    return [folder]
