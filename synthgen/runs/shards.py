"""What is finished so far: a small JSON per batch, and zips of tables that many of them go into."""

from __future__ import annotations

import io
import json
import logging
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from synthgen.errors import RunError
from synthgen.runs.manifest import TABLES, complete, fill_missing, read_columns, schema_of, to_arrow
from synthgen.runs.names import check_names
from synthgen.runs.renamed import rename_row
from synthgen.runs.schema import Table
from synthgen.storage.places import Storage

__all__ = ["Shards", "compact", "write_large", "write_shard"]

FOLDER = "shards"
SMALL = re.compile(r"shard-(\d+)(~\d+)?\.json")
LARGE = re.compile(r"merged-\d+-[0-9a-f]{8}\.zip")
MAX = 1000  # small shards in one large one
JOINED = 100_000  # rows
SORTED_BY = ("sample_id", "instance_id", "attempt", "name")
OWNER_COLUMNS = ("sample_id", "revision")
SHARD = "shard"  # a column while tables are merged: which file a row is from
UNREADABLE = (  # what reading a broken zip or a broken table in it raises
    *(zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, RuntimeError),
    *(NotImplementedError, TypeError),
)
log = logging.getLogger(__name__)


def write_shard(storage: Storage, key: str, tables: Mapping[Table, Sequence[Any]]) -> None:
    """Write the rows of a batch; ``key``: the lowest index of its samples and its revision."""
    text = json.dumps({name: list(rows) for name, rows in tables.items()})
    storage.write(f"{FOLDER}/shard-{key}.json", text.encode("utf-8"))


def compact(storage: Storage, least: int = 200) -> None:
    """Put small shards into large ones where there are ``least`` or more.

    One process at a time may do so; others may write meanwhile. The large one is whole before a
    small one goes: a kill between leaves rows twice, and they are read once.
    """
    names = [name for name in storage.names(FOLDER) if SMALL.fullmatch(name)]
    if len(names) < least:
        return
    for start in range(0, len(names), MAX):
        read = {name: _read_small(storage, name) for name in names[start : start + MAX]}
        whole = {name: tables for name, tables in read.items() if tables is not None}
        if whole:
            write_large(storage, whole)
        for name in whole:
            storage.remove(f"{FOLDER}/{name}")
    pa.default_memory_pool().release_unused()  # a run goes on for long after this


def write_large(storage: Storage, shards: Mapping[str, Mapping[Table, pa.Table]]) -> None:
    """Write one large shard, each sample as it is now.

    Its name has a digest, so that none is ever written over another.
    """
    packed = io.BytesIO()
    owners = _find_owners(pa.concat_tables(_number_all(shards, "manifest", OWNER_COLUMNS)))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in TABLES:
            sink = pa.BufferOutputStream()
            parts = [_drop_strangers(part, owners) for part in _number_all(shards, name)]
            parquet.write_table(pa.concat_tables(parts).drop_columns([SHARD]), sink)
            member = zipfile.ZipInfo(f"{name}.parquet")  # of 1980, as there is no clock in data
            archive.writestr(member, sink.getvalue().to_pybytes())
    data = packed.getvalue()
    first = min(shards).removeprefix("shard-").split(".")[0].split("~")[0]
    storage.write(f"{FOLDER}/merged-{first}-{zlib.crc32(data):08x}.zip", data)


class Shards:
    """What a run holds at one moment.

    A sample that lies in two shards counts as that of the higher revision, or else that of the
    first shard. A shard that is damaged is named in the log and left out: its samples count as
    not made.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        names = storage.names(FOLDER)
        self._large = [name for name in names if LARGE.fullmatch(name)]
        self._small = {
            name: tables
            for name in names
            if SMALL.fullmatch(name) and (tables := _read_small(storage, name)) is not None
        }
        self._damaged: set[str] = set()

    def revisions(self) -> dict[str, int]:
        """Return the samples that a shard holds, each with its newest revision."""
        newest: dict[str, int] = {}
        for part in self._parts("manifest", OWNER_COLUMNS):
            for sample_id, revision in _keys(part):
                newest[sample_id] = max(revision, newest.get(sample_id, 0))
        return newest

    @cached_property
    def _owners(self) -> dict[str, int]:
        """The shard that counts of each sample that is in several."""
        parts = list(self._parts("manifest", OWNER_COLUMNS))
        return _find_owners(pa.concat_tables(parts)) if parts else {}

    def table(self, name: Table) -> pa.Table:
        """Return one of the tables, sorted by sample, defect, try and file.

        '' and 0 stand for texts and whole numbers that are missing. The rows of a sample come from
        one shard. Of several files of one name only the first is in the table.
        """
        owners = self._owners
        parts = list(_join(self._parts(name)))
        table = pa.concat_tables(parts) if parts else schema_of(name).empty_table()
        del parts
        if SHARD in table.schema.names:
            table = _drop_strangers(table, owners).drop_columns([SHARD])
        order = _order(table, is_unique=name == "files")
        columns = dict(zip(table.schema.names, table.columns, strict=True))
        del table
        for column in columns:  # one by one, so that no more than one is in memory twice
            columns[column] = fill_missing(columns[column].take(order)).combine_chunks()
            pa.default_memory_pool().release_unused()
        return pa.table(columns)

    def _parts(self, name: Table, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the table of each shard, with a column of the shard's number."""
        for number, shard in enumerate(self._large):
            part = self._read_large(shard, name, columns)
            if part is not None:
                yield _number(part, number)
        for number, tables in enumerate(self._small.values(), start=len(self._large)):
            yield _number(tables[name] if columns is None else tables[name].select(columns), number)

    def _read_large(
        self, shard: str, name: Table, columns: Sequence[str] | None
    ) -> pa.Table | None:
        try:
            data = _read(self._storage, shard)
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                    raise ValueError("a part of it is compressed")
                if archive.testzip() is not None:
                    raise ValueError("a part of it has another checksum")
                member = pa.BufferReader(archive.read(f"{name}.parquet"))
            table = complete(name, read_columns(parquet.ParquetFile(member), columns), columns)
        except UNREADABLE as error:
            if shard not in self._damaged:
                _tell(self._storage, shard, error)
            self._damaged.add(shard)
            return None
        return check_names(table, _where(self._storage, shard))


def _read_small(storage: Storage, name: str) -> dict[Table, pa.Table] | None:
    """Return the tables of a small shard; None, and a word in the log, where it is damaged."""
    try:
        rows = json.loads(_read(storage, name))
        tables = {table: to_arrow(table, map(rename_row, rows.get(table, []))) for table in TABLES}
        if tables["manifest"]["sample_id"].null_count or not len(tables["manifest"]):
            raise ValueError("it holds no samples")
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        _tell(storage, name, error)
        return None
    where = _where(storage, name)
    return {table: check_names(rows, where) for table, rows in tables.items()}


def _where(storage: Storage, name: str) -> str:
    return f"{storage.location}/{FOLDER}/{name}"


def _read(storage: Storage, name: str) -> bytes:
    try:
        return storage.read(f"{FOLDER}/{name}")
    except FileNotFoundError as error:
        raise RunError(
            f"{storage.location}/{FOLDER}/{name} went while it was read: another process works on "
            "this run; wait until it is done"
        ) from error
    except OSError as error:
        raise RunError(f"cannot read {storage.location}/{FOLDER}/{name}: {error}") from error


def _tell(storage: Storage, name: str, error: Exception) -> None:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    log.warning(
        "%s/%s/%s is damaged and left out (%s); the same synthgen generate command makes its "
        "samples again",
        *(storage.location, FOLDER, name, reason),
    )


def _join(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables of some 100,000 rows: many small pieces would hold twice their memory."""
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= JOINED:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _number_all(
    shards: Mapping[str, Mapping[Table, pa.Table]],
    name: Table,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield one table of some small shards, with a column of the shard's number."""
    for number, tables in enumerate(shards.values()):
        yield _number(tables[name] if columns is None else tables[name].select(columns), number)


def _number(table: pa.Table, number: int) -> pa.Table:
    return table.append_column(SHARD, pa.repeat(pa.scalar(number, pa.int32()), len(table)))


def _keys(manifest: pa.Table) -> Iterator[tuple[str, int]]:
    """Yield the sample and the revision of each row."""
    revisions = manifest["revision"].to_pylist()
    for sample_id, revision in zip(manifest["sample_id"].to_pylist(), revisions, strict=True):
        yield sample_id, revision or 0


def _find_owners(manifest: pa.Table) -> dict[str, int]:
    """Return the shard that counts of each sample that is in more than one."""
    counted = manifest.group_by("sample_id").aggregate([(SHARD, "count")])
    twice = counted.filter(pc.greater(counted[f"{SHARD}_count"], 1))["sample_id"]
    rows = manifest.filter(pc.is_in(manifest["sample_id"], twice))
    owners: dict[str, tuple[int, int]] = {}
    for (sample_id, revision), shard in zip(_keys(rows), rows[SHARD].to_pylist(), strict=True):
        owners[sample_id] = min((-revision, shard), owners.get(sample_id, (1, 0)))
    return {sample_id: shard for sample_id, (_, shard) in owners.items()}


def _drop_strangers(table: pa.Table, owners: Mapping[str, int]) -> pa.Table:
    """Return the table without the rows of samples that another shard owns."""
    if not owners:
        return table
    ids, shards = table["sample_id"].to_pylist(), table[SHARD].to_pylist()
    kept = [owners.get(key, own) == own for key, own in zip(ids, shards, strict=True)]
    return table.filter(pa.array(kept, pa.bool_()))


def _order(table: pa.Table, is_unique: bool) -> pa.Array:
    """Return the places of the rows in order; ``is_unique``: of each name the first only."""
    keys = ["name"] if is_unique else [key for key in SORTED_BY if key in table.schema.names]
    order = pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])
    if not is_unique or len(order) < 2:
        return order
    names = table["name"].take(order)
    is_new = pc.not_equal(names.slice(1), names.slice(0, len(names) - 1))  # not that before it
    return order.filter(pa.concat_arrays([pa.array([True]), is_new.combine_chunks()]))
