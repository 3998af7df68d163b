"""The tables of a run that is still being generated: merged in memory from what is finished."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from synthgen.errors import RunError
from synthgen.runs.folder import RunFolder
from synthgen.runs.manifest import to_pandas
from synthgen.runs.reader import RunTables, read_run
from synthgen.runs.record import read_record
from synthgen.runs.reviews.decide import decide
from synthgen.runs.schema import Table
from synthgen.runs.shards import Shards
from synthgen.storage.places import Storage, open_storage

__all__ = ["read_so_far"]


@dataclass(frozen=True, eq=False)
class GrowingTables(RunTables):
    """What a run holds at the moment it is first asked.

    The manifest is decided by the limits in force, as that of a finished run. Samples that are
    finished later are not seen: read the run again.
    """

    @cached_property
    def _shards(self) -> Shards:
        return Shards(self.storage)

    @cached_property
    def files(self) -> Storage:
        """The storage; raises RunError where images lie in tars, which are found once finished."""
        if (self.record["config"].get("run") or {}).get("storage") == "tar":
            raise RunError(
                f"{self.root} is not finished, and its images lie in tars that have no table yet; "
                "wait until it is finished"
            )
        return self.storage

    def _table(self, name: Table) -> pd.DataFrame:
        table = self._shards.table(name)
        limits = RunFolder(self.root).limits() if name == "manifest" else None
        return to_pandas(table if limits is None else decide(table, limits))


def read_so_far(root: Path | str) -> RunTables:
    """Read a run, finished or not; raises RunError where there is none.

    A run is finished once it has a manifest. Until then its shards are merged in memory.
    """
    storage = open_storage(root)
    if storage.exists("run.yaml") and not storage.exists("manifest.parquet"):
        return GrowingTables(storage, read_record(storage))
    return read_run(root)
