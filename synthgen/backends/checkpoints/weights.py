"""Weight files: safetensors only, whole, and all of them there."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthgen.errors import ModelError

__all__ = ["check_weights", "read_config_json", "variant_of", "weight_files"]

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack")
# How a pickle starts: torch's ZIP, and the bare protocols 2 to 5.
PICKLED = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
LFS_POINTER = b"version https://git-lfs"
VARIANT = re.compile(r"^[\w-]+\.([a-z0-9_]+)(?:-\d{5}-of-\d{5})?\.safetensors$")
MAX_HEADER_BYTES = 100_000_000  # so say the readers of the format


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, sorted by name."""
    return sorted(folder.glob("*.safetensors"))


def variant_of(folders: Sequence[Path]) -> str | None:
    """Return what weights are called that come in one variant only, ``fp16`` mostly; else None.

    The first folder whose safetensors all have a variant in their names decides for the pipeline.
    """
    for folder in folders:
        found = [VARIANT.match(path.name) for path in weight_files(folder)]
        variants = sorted({one[1] for one in found if one})
        if variants and all(found):
            return "fp16" if "fp16" in variants else variants[0]
    return None


def check_weights(folder: Path) -> None:
    """Check that a model's folder holds whole safetensors, every shard of them.

    Nothing is loaded: only the headers are read. Raises ModelError.
    """
    files = weight_files(folder)
    if not files:
        for path in sorted(p for p in folder.iterdir() if p.is_file()):
            _refuse_pointer(path)
            if path.suffix in PICKLES or _head(path).startswith(PICKLED):
                raise ModelError(
                    f"{path} is a pickle, which can run code when it is loaded; convert the "
                    "checkpoint to safetensors, or download one that has them"
                )
        raise ModelError(
            f"{folder} holds no weights (no .safetensors file); copy or download the checkpoint "
            "again"
        )
    variant = variant_of([folder])
    for index in sorted(folder.glob(f"*.index.{variant}.json" if variant else "*.index.json")):
        shards = read_config_json(index).get("weight_map")
        if not isinstance(shards, dict):
            raise ModelError(f"{index} is damaged: it has no weight_map; copy or download it again")
        for name in sorted({str(value) for value in shards.values()}):
            if not (folder / name).is_file():
                raise ModelError(
                    f"the weights in {folder} are incomplete: {name}, which {index.name} "
                    "names, is missing; copy or download it again"
                )
    for path in files:
        check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Check header and length of a safetensors file; raises ModelError.

    Eight bytes give the length of a JSON header, which gives the end of the data
    (https://github.com/huggingface/safetensors#format).
    """
    _refuse_pointer(path)
    head, size = _head(path), path.stat().st_size
    if head.startswith(PICKLED):
        raise ModelError(
            f"{path} is a pickle under another name, which can run code when it is loaded; "
            "convert the checkpoint to safetensors"
        )
    length = int.from_bytes(head[:8], "little")
    whole = 8 + length + _data_bytes(path, length, size)
    if size < whole:
        raise ModelError(
            f"{path} does not load: it is cut short, {size:,} of {whole:,} bytes; "
            "copy or download it again"
        )


def _data_bytes(path: Path, length: int, size: int) -> int:
    """Return how many bytes of data a header speaks of; 0 where the header itself is cut short."""
    is_cut = 8 <= size < 8 + length
    if is_cut and length <= MAX_HEADER_BYTES:
        return 0
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(8 + min(length, MAX_HEADER_BYTES))[8:])
        tensors = [value for key, value in header.items() if key != "__metadata__"]
        return max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise ModelError(
            f"{path} does not load: it is not a safetensors file, or damaged; "
            "copy or download it again"
        ) from error


def read_config_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of a checkpoint; raises ModelError for anything else in that file."""
    _refuse_pointer(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} is damaged, it is not JSON ({error}); copy or download it again"
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is damaged, it holds no JSON object; copy or download it again")
    return value


def _refuse_pointer(path: Path) -> None:
    if _head(path).startswith(LFS_POINTER):
        raise ModelError(
            f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull` where it lies"
        )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:  # a broken link in the hub's cache, no right to read
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
