"""Batches as WebDataset shards, and how single files are found inside them."""

from __future__ import annotations

import io
import json
import tarfile
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from synthgen.errors import RunError
from synthgen.runs.manifest import file_stem, read_table
from synthgen.storage.places import Storage

__all__ = ["RunFiles", "TarPack", "add_member", "tar_key"]

PARTS = {
    "images": "image",
    "masks": "mask",
    "requested": "requested",
    "controls": "control",
    "sources": "source",
}


def tar_key(name: str) -> str:
    """Return a sample's key in WebDataset, which would cut it at a dot.

    >>> tar_key("pit-1.5")
    'pit-1%2E5'
    """
    return name.replace("%", "%25").replace(".", "%2E").replace("/", "%2F")


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to a tar, of time 0 and nobody's, so that the same data gives the same tar."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


class TarPack:
    """A tar in the making. ``rows``: what ``files.parquet`` says of each file in it."""

    def __init__(self, path: str) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()
        self._file = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._file, mode="w")  # noqa: SIM115

    def add_source(self, name: str, data: bytes) -> None:
        """Add a drawn source image by its name in the manifest."""
        self._add_file(name, data, "", Path(name).stem)

    def add_sample(
        self,
        row: Mapping[str, Any],
        instances: Sequence[Mapping[str, Any]],
        files: Mapping[str, bytes],
    ) -> None:
        """Add the files of one sample, by their names in the manifest, and what is known of it.

        In the JSON the status is that of the painting; near duplicates are found later.
        """
        sample_id = str(row["sample_id"])
        stem = file_stem(sample_id, int(row["revision"]))
        text = json.dumps({"manifest": row, "instances": instances}, ensure_ascii=False)
        self._add_member(f"{tar_key(stem)}.json", text.encode("utf-8"))
        for name, data in files.items():
            self._add_file(name, data, sample_id, stem)

    def finish(self) -> bytes:
        """Return the tar; b'' where nothing was added."""
        self._tar.close()
        return self._file.getvalue() if self.rows else b""

    def _add_file(self, name: str, data: bytes, sample_id: str, key: str) -> None:
        folder, _, file = name.partition("/")
        rest = file.removesuffix(".png").removeprefix(key)  # ".<name>" of a further control image
        offset = self._add_member(f"{tar_key(key)}.{PARTS[folder]}{rest}.png", data)
        place = {"tar": self.path, "offset": offset, "size": len(data)}
        self.rows.append({"name": name, **place, "sample_id": sample_id})

    def _add_member(self, name: str, data: bytes) -> int:
        """Add a member and return where its bytes begin."""
        add_member(self._tar, name, data)
        return self._tar.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


@dataclass(frozen=True)
class RunFiles:
    """The files of a run by their names in the manifest: files of their own, or parts of tars.

    A storage itself. Parts of tars are read where they lie, found by ``files.parquet``.
    """

    storage: Storage

    def __reduce__(self) -> tuple[Any, ...]:
        return RunFiles, (self.storage,)  # the index is read again where it is needed

    @property
    def location(self) -> str:
        """That of the run."""
        return self.storage.location

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return the bytes of a file, or ``size`` of them from ``start``, of its own or of a tar.

        Raises FileNotFoundError where neither has it, RunError where its tar is cut off.
        """
        try:
            return self.storage.read(name, start, size)
        except FileNotFoundError:
            part = self._find(name)
            if part is None:
                raise
        tar, offset, total = part
        left = max(0, total - start)
        wanted = left if size is None else min(size, left)
        data = self.storage.read(tar, offset + start, wanted)
        if len(data) < wanted:
            raise RunError(f"{self.location}/{tar} is cut off: {name} in it is not whole")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file of its own; tars stay as they are."""
        self.storage.write(name, data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file of its own that must not be there yet; what a tar holds does not count."""
        return self.storage.create(name, data)

    def exists(self, name: str) -> bool:
        """Say whether there is a file of this name, or a tar has it."""
        return self.storage.exists(name) or self._find(name) is not None

    def names(self, folder: str = "") -> list[str]:
        """Return the files of their own in a folder; what tars hold is not listed."""
        return self.storage.names(folder)

    def remove(self, name: str) -> None:
        """Remove a file of its own; what a tar holds stays."""
        self.storage.remove(name)

    def local(self, name: str) -> Path | None:
        """Return the path of a file of its own on this machine, None for all others."""
        path = self.storage.local(name)
        return path if path is not None and path.is_file() else None

    @cached_property
    def _index(self) -> pa.Table:
        """The places of files in tars, sorted by name; empty where the run has none."""
        columns = ["name", "tar", "offset", "size"]
        if not self.storage.exists("files.parquet"):
            return pa.table({name: [] for name in columns})
        table = read_table(self.storage, "files", columns).combine_chunks()
        if missing := [name for name in columns if name not in table.column_names]:
            raise RunError(f"{self.location}/files.parquet has no column {missing[0]}")
        return table

    def _find(self, name: str) -> tuple[str, int, int] | None:
        """Return tar, offset and size of a file; None where no tar has it."""
        names = self._index["name"]
        place = bisect_left(range(len(names)), name, key=lambda at: names[at].as_py())
        if place == len(names) or names[place].as_py() != name:
            return None
        found = self._index.slice(place, 1).to_pylist()[0]
        if min(found["offset"], found["size"]) < 0:
            raise RunError(
                f"{self.location}/files.parquet says that {name} begins at {found['offset']} and "
                f"has {found['size']} bytes; the run folder is damaged"
            )
        return found["tar"], found["offset"], found["size"]
