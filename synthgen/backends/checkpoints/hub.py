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

    ``key``: the config key of the id, for the error. ``revision``: branch, tag or commit, None =
    the main branch. ``offline`` looks into the cache alone and asks no server.
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

    ``kind``: of a pipeline its folders, one level deep, and no weights beside them; of a model only
    what lies on top; of an adapter all safetensors that lie on top. Left out: checkpoints in one
    file, pickles, other formats, and ``fp16`` or ``non_ema`` copies where the plain weights are
    there.
    """
    if kind == "adapter":
        kinds = (".safetensors", ".json")
        return [p for p in files if "/" not in p and (p.endswith(kinds) or p in CARDS)]
    wanted: list[str] = []
    for folder in sorted({str(PurePosixPath(path).parent) for path in files}):
        if folder.count("/") or (kind == "model" and folder != "."):
            continue
        names = {p: PurePosixPath(p).name for p in files if str(PurePosixPath(p).parent) == folder}
        variants: dict[str, str] = {}  # of each file of weights, '' = the plain ones
        for path, name in names.items():
            if found := WEIGHTS.fullmatch(name):
                variants[path] = found["variant"] or ""
        order = ("", "fp16", *sorted(variants.values()))
        chosen = next((one for one in order if one in variants.values()), "")
        picked: list[str] = []
        if kind == "model" or folder != ".":
            picked = [path for path, variant in variants.items() if variant == chosen]
        for path, name in names.items():
            shards = SHARDS.fullmatch(name)
            if shards and (shards["variant"] or "") != chosen:
                continue
            if name.endswith(TEXTS) or name in CARDS:
                picked.append(path)
        wanted += sorted(picked)
    return wanted


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
