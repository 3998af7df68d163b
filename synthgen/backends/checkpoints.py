"""Checkpoints: where they are, whether they are whole, and the digest that names them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from synthgen.errors import ModelError
from synthgen.files import find_shipped

__all__ = ["EMBEDDED", "checkpoint_digest", "find_checkpoint", "pipeline_class_name"]

EMBEDDED = "embedded"


def find_checkpoint(name: str) -> Path:
    """Return the folder of a checkpoint: ``embedded``, or a path to a diffusers folder.

    Raises ModelError where there is none, or where a part that its index names is missing.
    """
    is_shipped = name == EMBEDDED
    folder = find_shipped("data") / "models" / EMBEDDED if is_shipped else Path(name).expanduser()
    index = folder / "model_index.json"
    if not index.is_file():
        raise ModelError(
            f"backend.checkpoint={name!r}: {folder} is no diffusers folder, it has no "
            "model_index.json; give the path of one, or 'embedded' for the model that ships"
        )
    for part, kind in json.loads(index.read_text(encoding="utf-8")).items():
        if isinstance(kind, list) and kind[0] is not None and not (folder / part).is_dir():
            raise ModelError(
                f"the checkpoint in {folder} is incomplete: its folder {part!r} is missing; "
                "copy or download it again"
            )
    _refuse_pickles(folder)
    return folder


def _refuse_pickles(folder: Path) -> None:
    for part in sorted(p for p in folder.iterdir() if p.is_dir()):
        weights = [p for p in part.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt"}]
        if weights and not list(part.glob("*.safetensors")):
            raise ModelError(
                f"{weights[0]} is a pickle, which can run code when it is loaded; "
                "convert the checkpoint to safetensors"
            )


def pipeline_class_name(folder: Path) -> str:
    """Return the class that a diffusers folder says it is."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return str(index.get("_class_name", ""))


def checkpoint_digest(folder: Path) -> str:
    """Return a short digest over every file of a checkpoint that changes what it paints."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".safetensors", ".json", ".txt"}:
            digest.update(str(path.relative_to(folder)).encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]
