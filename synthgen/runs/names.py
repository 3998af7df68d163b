"""Names out of a run's tables become paths: they are checked once, where tables are read."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from synthgen.errors import RunError
from synthgen.runs.schema import COLUMNS, names_of
from synthgen.storage.files import DOTS, PART, RELATIVE

__all__ = ["check_names"]

PHOTOS = ("source_path", "photo")  # of this machine, or of the run
IDS = ("sample_id", "split", "defect_class")
FILES = (*(n for n in names_of(c for c in COLUMNS if c.is_path) if n not in PHOTOS), "name", "tar")
ELSEWHERE = r"(?:/|[A-Za-z]:[/\\]|\\\\)[^\x00-\x1f\x7f]*"  # also of a run that Windows wrote
DOTS_THERE = r"(?:^|[/\\])\.\.(?:[/\\]|$)"
RULES = (  # columns, what they match, what is not in them, in words
    (IDS, PART, DOTS, "may hold no /, no \\ and nothing invisible, and not be . or .."),
    (FILES, RELATIVE, DOTS, "must be the name of a file inside the run, without .. and \\"),
    (
        PHOTOS,
        f"{ELSEWHERE}|{RELATIVE}",
        DOTS_THERE,
        "must be a file inside the run, or a whole path",
    ),
)


def check_names(table: pa.Table, where: str) -> pa.Table:
    """Return a table of a run as it is; raises RunError where an id or a file's name in it could
    lead out of the run, or of a dataset that is made of it.

    ``where``: the file, for the message. Columns inside of others, as of edits, are checked, too.
    """
    for name in table.column_names:
        _check(name, table[name], where)
    return table


def _check(name: str, column: pa.ChunkedArray, where: str) -> None:
    kind = column.type
    if pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            _check(kind.field(number).name, pc.struct_field(column, [number]), where)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _check(name, pc.list_flatten(column), where)
    for names, pattern, refused, words in RULES:
        if name in names:
            _match(name, column, pattern, refused, f"{words}; {where} was changed or damaged")


def _match(name: str, column: pa.ChunkedArray, pattern: str, refused: str, words: str) -> None:
    """Raise RunError for the first text of a column that does not match, or holds what is refused.

    The message says the text, and then ``words``.
    """
    try:
        texts = column.cast(pa.large_string())
        texts.validate(full=True)  # that they are UTF-8
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise RunError(f"{name} {words} ({str(error).splitlines()[0]})") from error
    is_good = pc.and_(
        pc.match_substring_regex(texts, f"^(?:{pattern})$"),
        pc.invert(pc.match_substring_regex(texts, refused)),
    )
    is_good = pc.or_(is_good, pc.equal(texts, ""))  # no file, no class
    if not pc.all(is_good, min_count=0).as_py():
        bad = texts.filter(pc.invert(is_good))[0].as_py()
        raise RunError(f"{name}={bad!r} {words}")
