"""SHA-256 of weight files, remembered: gigabytes are not read again at every start."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from synthgen.errors import ModelError, RunError
from synthgen.progress import stage
from synthgen.storage.files import write_text

__all__ = ["LARGE_BYTES", "cache_file", "file_digest", "is_quick"]

LARGE_BYTES = 64 << 20  # smaller files are read sooner than they are looked up
BLOCK_BYTES = 1 << 20


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; of a large one it is kept in ``cache_file()``.

    It is kept under path, size, time of change and inode, so a changed file is read again. Raises
    ModelError where the model hub's cache names a file by another digest than it has.
    """
    real = path.resolve()  # in the hub's cache the path is a link
    state = real.stat()
    if state.st_size < LARGE_BYTES:
        return _check_name(path, real, _hash(real))
    key, seal = str(real), _seal(state)
    if (known := _known(key, seal)) is not None:
        return known
    with stage(f"reading {path.name} once, to know it again", state.st_size >> 20, unit="MB") as at:
        digest = _check_name(path, real, _hash(real, at.add))
    # Files that are gone are dropped. Of two processes that write at the same moment one may win:
    # the other's file is read again.
    known_files = {file: entry for file, entry in _read_cache().items() if Path(file).exists()}
    entries = {**known_files, key: [*seal, digest]}
    with suppress(RunError):  # a cache that cannot be written costs time, nothing else
        write_text(cache_file(), json.dumps(entries, indent=1, sort_keys=True))
    return digest


def is_quick(path: Path) -> bool:
    """Say whether ``file_digest`` reads little: the file is small, or its digest is kept."""
    real = path.resolve()
    state = real.stat()
    return state.st_size < LARGE_BYTES or _known(str(real), _seal(state)) is not None


def cache_file() -> Path:
    """Return where digests are kept: in the user's cache folder, ``XDG_CACHE_HOME``."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "synthgen" / "digests.json"


def _seal(state: os.stat_result) -> list[int | str]:
    return [state.st_size, state.st_mtime_ns, state.st_ino]


def _known(key: str, seal: list[int | str]) -> str | None:
    known = _read_cache().get(key)
    return str(known[-1]) if isinstance(known, list) and known[:-1] == seal else None


def _hash(path: Path, read_block: Callable[[], None] = lambda: None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            read_block()
    return digest.hexdigest()


def _check_name(path: Path, real: Path, digest: str) -> str:
    """Return the digest; the hub's cache names large files by theirs, which must be true."""
    is_named = real.parent.name == "blobs" and len(real.name) == len(digest)
    if is_named and real.name != digest:
        raise ModelError(
            f"{path} is damaged: its SHA-256 is {digest[:16]}..., not {real.name[:16]}... by which "
            "the hub's cache names it; delete it and download it again"
        )
    return digest


def _read_cache() -> dict[str, list[int | str]]:
    try:
        known = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, unreadable or damaged: it only saves time
        return {}
    return known if isinstance(known, dict) else {}
