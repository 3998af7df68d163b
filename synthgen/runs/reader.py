"""Read a run: its tables, checked, and its files, wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from synthgen.errors import RunError
from synthgen.runs.manifest import read_table, to_pandas
from synthgen.runs.record import read_classes, read_quality, read_record
from synthgen.runs.schema import Table, fill_values
from synthgen.runs.tars import RunFiles
from synthgen.samples.sample import Status
from synthgen.storage.places import Storage, StoredFile, open_storage

__all__ = ["RunTables", "read_present", "read_run"]

STATUSES = tuple(status.value for status in Status)


@dataclass(frozen=True, eq=False)
class RunTables:
    """What a finished run says of itself. Files are known by their names in the manifest.

    The tables are read when they are first asked for; RunError is raised then where one is damaged.
    """

    storage: Storage
    record: dict[str, Any]  # run.yaml

    @property
    def root(self) -> Path | str:
        """Its folder, or its address where it is not on this machine."""
        return self.storage.local("") or self.storage.location

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """The table of samples; raises RunError where two of them have one id, or none."""
        rows = self._complete("manifest")
        where = f"{self.root}/manifest.parquet"
        twice = rows["sample_id"].duplicated() | (rows["sample_id"] == "")
        if twice.any():
            raise RunError(
                f"{where} has two samples {rows['sample_id'][twice].iloc[0]!r}, or one without an "
                "id; the run folder is damaged"
            )
        if (strange := ~rows["status"].isin(STATUSES)).any():
            raise RunError(
                f"{where}: {rows['sample_id'][strange].iloc[0]} has the status "
                f"{rows['status'][strange].iloc[0]!r}; there are {', '.join(STATUSES)}"
            )
        return rows

    @property
    def revisions(self) -> dict[str, int]:
        """The newest revision of each sample."""
        rows = self.manifest
        return dict(zip(rows["sample_id"], rows["revision"].astype(int), strict=True))

    @cached_property
    def instances(self) -> pd.DataFrame:
        """The table of defects: one row each, its mask as COCO run lengths."""
        return self._complete("instances")

    @cached_property
    def tries(self) -> pd.DataFrame:
        """The table of tries, with those that were rejected."""
        return self._complete("tries")

    @cached_property
    def timings(self) -> pd.DataFrame:
        """The table of seconds by stage, one row a sample."""
        return self._complete("timings")

    @cached_property
    def classes(self) -> dict[str, int]:
        """Class ids by name, of every class that the run was asked for."""
        return read_classes(self.record)

    @property
    def quality(self) -> dict[str, Any]:
        """The limits in force: those of ``synthgen inspect``, or else the run's own."""
        return read_quality(self.storage, self.record) or {}

    @cached_property
    def files(self) -> Storage:
        """The storage, with what lies inside tars."""
        return RunFiles(self.storage)

    def stored(self, name: str) -> StoredFile:
        """Return a file that the manifest names; a source photo has a path of its own."""
        path = Path(name)
        return StoredFile.at(path) if path.is_absolute() else StoredFile(self.files, name)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file that the manifest names; raises RunError where it is gone."""
        return read_present(self.stored(name))

    def _complete(self, name: Table) -> pd.DataFrame:
        """Return a table, with values for the columns that came since it was written."""
        table = self._table(name)
        lacks = fill_values(name, table.columns)
        return table.assign(**lacks) if lacks else table

    def _table(self, name: Table) -> pd.DataFrame:
        return to_pandas(read_table(self.storage, name))


def read_present(file: StoredFile, owner: str = "") -> bytes:
    """Return the bytes of a file of a run; raises RunError where it is gone.

    ``owner``: whose file it is, where it is not a run's, for the message.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        if owner:
            raise RunError(f"{file} is missing now, though {owner} had it before") from error
        raise RunError(
            f"{file} is named in the manifest but missing; the run folder is damaged"
        ) from error


def read_run(root: Path | str) -> RunTables:
    """Read a finished run in a folder or at an address; nothing but ``run.yaml`` is read at once.

    Raises RunError where there is no run, or one of its four tables is missing.
    """
    storage = open_storage(root)
    record = read_record(storage)
    there = set(storage.names())
    for name in ("manifest", "instances", "tries", "timings"):
        if f"{name}.parquet" not in there:
            raise RunError(
                f"{root} is not finished: {name}.parquet is missing; run the same synthgen "
                "generate command again"
            )
    return RunTables(storage, record)
