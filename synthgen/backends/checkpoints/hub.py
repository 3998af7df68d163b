"""The model hub: its cache on this disk, and downloads where they are allowed."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from synthgen.errors import ModelError

__all__ = ["Kind", "find_in_hub", "hub_cache", "is_hub_id", "wanted_files"]

Kind = Literal["pipeline", "model", "adapter"]
HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
TEXTS = (".json", ".txt", ".model", ".jinja")
INDICES = ["model_index.json", "config.json"]  # without one of them a snapshot is of no use
CARDS = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE")
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_)?model(?:\.(?P<variant>\w+))?(?:-\d{5}-of-\d{5})?\.safetensors"
)
SHARDS = re.compile(r".*\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")


def is_hub_id(name: str) -> bool:
    """Say whether a name reads ``owner/name``.

    >>> is_hub_id("stabilityai/sdxl-turbo"), is_hub_id("models/mine/v2"), is_hub_id("../mine")
    (True, False, False)
    """
    return HUB_ID.fullmatch(name) is not None


def hub_cache() -> Path:
    """Return where the hub keeps what was downloaded: ``HF_HUB_CACHE``."""
    from huggingface_hub import constants

    return Path(os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE).expanduser()


def find_in_hub(
    name: str, key: str, revision: str | None, offline: bool, kind: Kind
) -> tuple[Path, str]:
    """Return the folder of a hub id and its commit; raises ModelError.

    ``offline`` looks into the cache alone, without a word to the network.
    """
    from huggingface_hub import snapshot_download

    wanted = None if offline else _ask_for_files(name, key, revision, kind)
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            cache_dir=hub_cache(),
            local_files_only=wanted is None,
            allow_patterns=INDICES if wanted is None else wanted,
        )
    except (OSError, ValueError) as error:
        raise ModelError(_explain(name, key, revision, offline, error)) from error
    return Path(folder), Path(folder).name


def _ask_for_files(name: str, key: str, revision: str | None, kind: Kind) -> list[str] | None:
    """Return which files to download; None where the hub cannot be reached: the cache may do."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    try:
        files = snapshot_download(name, revision=revision, cache_dir=hub_cache(), dry_run=True)
    except DryRunError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(_explain(name, key, revision, False, error)) from error
    return [glob.escape(path) for path in wanted_files([file.filename for file in files], kind)]


def wanted_files(files: Sequence[str], kind: Kind) -> list[str]:
    """Return those of a repository's files that are needed: texts, cards, and one set of weights.

    Left out: checkpoints in one file, pickles, other formats, and ``fp16`` or ``non_ema`` copies
    where the plain weights are there.
    """
    if kind == "adapter":
        return [path for path in files if "/" not in path and _is_adapter_file(path)]
    wanted = []
    for folder in sorted({str(PurePosixPath(path).parent) for path in files}):
        if folder.count("/") or (kind == "model" and folder != "."):
            continue
        inside = [path for path in files if str(PurePosixPath(path).parent) == folder]
        wanted += _choose(inside, kind == "model" or folder != ".")
    return wanted


def _is_adapter_file(path: str) -> bool:
    return path.endswith((".safetensors", ".json")) or path in CARDS


def _choose(files: Sequence[str], with_weights: bool) -> list[str]:
    """Return the texts of one folder, and its weights of one variant."""
    weights = {path: found["variant"] for path in files if (found := _match(WEIGHTS, path))}
    variants = sorted({variant or "" for variant in weights.values()})
    chosen = next((one for one in ("", "fp16", *variants) if one in variants), "")
    picked = [
        path for path, variant in weights.items() if with_weights and (variant or "") == chosen
    ]
    for path in files:
        name = PurePosixPath(path).name
        shards = SHARDS.fullmatch(name)
        if shards and (shards["variant"] or "") != chosen:
            continue
        if name.endswith(TEXTS) or name in CARDS:
            picked.append(path)
    return sorted(picked)


def _match(pattern: re.Pattern[str], path: str) -> re.Match[str] | None:
    return pattern.fullmatch(PurePosixPath(path).name)


def _explain(name: str, key: str, revision: str | None, offline: bool, error: Exception) -> str:
    of = f" at revision {revision!r}" if revision else ""
    option = f" --revision {revision}" if revision else ""
    if offline:
        return (
            f"{key}={name!r}: there is no such folder, and no model of that name{of} in the hub's "
            f"cache {hub_cache()}; download it once with `hf download {name}{option}`, or set "
            "backend.model.offline=false"
        )
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"{key}={name!r}: there is no such folder, and the model hub does not give a model of that "
        f"name{of} ({first}); check the name, or log in with `hf auth login` where it is gated"
    )
