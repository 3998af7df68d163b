"""Object storage behind an address, as S3, Google's or Azure's, read and written whole."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from synthgen.errors import RunError
from synthgen.storage.files import check_relative, check_size

__all__ = ["ObjectStorage"]

PIECE_BYTES = 64 << 20
CONNECT_S, REQUEST_S = 3, 30
SETTLE_S = 0.2  # from a write until we look whether another writer has replaced it
TRIES = 5  # of one request, once the bucket has answered


@dataclass(frozen=True, slots=True)
class ObjectStorage:
    """A prefix in object storage, as ``s3://bucket/prefix``; each write is one whole object.

    The client is opened again in every process, since none outlives a fork; so this pickles.
    """

    location: str

    @property
    def _is_s3(self) -> bool:
        return self.location.startswith("s3://")

    def reach(self) -> None:
        """Raise RunError where nothing answers."""
        _find_client(self.location)

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return the bytes of an object, or a part of them without transferring the rest.

        Raises FileNotFoundError, and RunError where nothing answers or it is over 4 GiB.
        """
        with self._asked("read", name) as (client, path):
            if start == 0 and size is None and not self._is_s3:
                check_size(path, client.info(path)["size"] or 0)
                return bytes(client.cat_file(path))
            if start == 0 and size is None:
                with client.open(path, "rb") as stream:  # one request, as cat_file makes
                    return _read_limited(stream, path)
            check_size(path, size or 0)
            # Arrow's client would open a stream, of which it can give no part
            more = {"seekable": True} if self._is_s3 else {}
            end = None if size is None else start + size
            return bytes(client.cat_file(path, start=start, end=end, **more))

    def write(self, name: str, data: bytes) -> None:
        """Write one whole object; a former one of this name is replaced."""
        with self._asked("write", name) as (client, path):
            client.pipe_file(path, data)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that must not be there yet; of two at once the later one gets True."""
        if self.exists(name):
            return False
        self.write(name, data)
        time.sleep(SETTLE_S)  # it knows no "only if new": the last of two writers is seen
        return self.read(name) == data

    def exists(self, name: str) -> bool:
        """Say whether there is an object of this name; raises RunError where nothing answers."""
        # not the client's own exists(): it says no where the network fails
        with suppress(FileNotFoundError), self._asked("look for", name) as (client, path):
            return bool(client.info(path)["type"] == "file")
        return False

    def names(self, folder: str = "") -> list[str]:
        """Return the next part of all names below a prefix, asked again each time, sorted."""
        found: list[dict[str, Any]] = []
        with suppress(FileNotFoundError), self._asked("list", folder) as (client, path):
            client.invalidate_cache(path)
            found = [entry for entry in client.ls(path, detail=True) if entry["name"] != path]
        return sorted({PurePosixPath(entry["name"]).name for entry in found})

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with suppress(FileNotFoundError), self._asked("remove", name) as (client, path):
            client.rm_file(path)

    def local(self, name: str) -> Path | None:
        """Return None: nothing of it lies on this machine."""
        return None

    @contextmanager
    def _asked(self, what: str, name: str) -> Iterator[tuple[Any, str]]:
        """Give the client and the path of a file; all that goes wrong becomes a RunError."""
        if name:
            check_relative(name, self.location)
        client, root = _find_client(self.location)
        try:
            yield client, f"{root}/{name}" if name else root
        except (FileNotFoundError, RunError):
            raise
        except Exception as error:  # every client has errors of its own
            place = f"{self.location}/{name}" if name else self.location
            raise RunError(f"cannot {what} {place}: {_first_line(error)}") from error


def _read_limited(stream: BinaryIO, path: str) -> bytes:
    """Return what a stream gives, in pieces, so that an endless one is not held in memory."""
    whole = bytearray()
    while piece := stream.read(PIECE_BYTES):
        whole += piece
        check_size(path, len(whole))
    return bytes(whole)


def _find_client(location: str) -> tuple[Any, str]:
    """Return fsspec's client of an address and the path behind it; raises RunError.

    Each process has its own, since a client that was forked hangs.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return _connect(location, os.getpid(), endpoint)


@lru_cache(maxsize=16)
def _connect(location: str, process: int, endpoint: str | None) -> tuple[Any, str]:
    if location.startswith("s3://"):
        return _connect_s3(location, endpoint)
    import fsspec

    try:
        client, path = fsspec.core.url_to_fs(location)
    except (ImportError, ValueError, OSError) as error:
        raise RunError(f"run.folder={location!r} cannot be opened: {_first_line(error)}") from error
    return client, str(path).rstrip("/")


def _connect_s3(location: str, endpoint: str | None) -> tuple[Any, str]:
    """Ask for the bucket once, without trying again: what is unreachable is told at once."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import FileType

    path = location.removeprefix("s3://").strip("/")
    bucket = path.partition("/")[0]
    try:
        (info,) = _s3_client(endpoint, tries=1).get_file_info([bucket])
    except (OSError, ValueError) as error:
        raise RunError(f"{location} cannot be reached: {_first_line(error)}") from error
    if info.type == FileType.NotFound:
        raise RunError(f"{location} cannot be used: there is no bucket {bucket!r}; make it first")
    return ArrowFSWrapper(_s3_client(endpoint, TRIES)), path


def _s3_client(endpoint: str | None, tries: int) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3FileSystem(
        endpoint_override=endpoint,
        region=region or ("us-east-1" if endpoint else None),
        connect_timeout=CONNECT_S,
        request_timeout=REQUEST_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=tries),
        allow_delayed_open=True,  # a small object is then one request
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0].rstrip(".")
