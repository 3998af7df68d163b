"""Broken files of runs and banks, each read by every pipeline that reads such files."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image
from pyarrow import parquet
from pydantic import ValidationError

from synthgen.runs.lock import HOLDER
from tests.cli import run_well
from tests.fuzz.ground import SMALL, Ground, Tally, judge, real_masks

__all__ = ["fuzz_artefacts", "lay_runs"]

Harm = Callable[[random.Random, Path], str | None]  # harms a file; what it is then called, or None
READERS: Sequence[tuple[str, ...]] = (
    ("export", "out=out", "format=[coco,yolo,table,semantic]", "include=all"),
    ("export", "out=out", "format=[label_studio,webdataset,voc]", "media=link", "include=all"),
    ("export", "out=out", "format=[mvtec,imagefolder,parquet]", "include=reviewed"),
    ("report",),
    ("inspect",),
    ("reproduce", "sample_id={id}"),
    ("generate", *SMALL, "run.count=3"),
)
TABLES = ("manifest", "instances", "tries", "timings", "plan", "review", "edits", "files")
OF_EXPORT = ("manifest.parquet", "instances.parquet", "images", "tars")  # whose harm it must see
WORDS = (
    *("", "nonsense", "..", "/etc/passwd", "a\0b", "-1", "NaN", "x" * 5000, "\udcff", "${a}"),
    *("=1+1", "<script>", "0" * 40, "'", "a/b", "é"),
)
VALUES: Sequence[Any] = (
    *(None, True, -1, 0, 2**40, 1e308, float("nan"), "text", "", [], {}, [[1]], {"a": 1}),
    *([None], "x" * 5000, "../../away", {"_target_": "os.system"}, [{"class_id": 1}]),
)
YAMLS = (
    *(b"", b"[]", b"5", b"a: [", b"\xff\xfe\0", b"null", b"a: &a [*a]", b"- - - -", b"{" * 5000),
    *(b"!!python/object/apply:os.system [id]", b"config: 5\ndigest: a", b"config: {}\n", b"\t"),
)


def fuzz_artefacts(ground: Ground, seed: int, count: int, tally: Tally) -> None:
    """Run ``count`` commands on runs and banks in which one file is broken, drawn by ``seed``."""
    draw = random.Random(seed)
    given = lay_runs(ground)
    for number in range(count):
        place = ground.begin()
        if number % 8 == 7:
            _break_bank(draw, ground, place, tally)
        elif number % 16 == 4:
            _break_comparison(draw, ground, place, tally)
        elif number % 32 == 12:
            _break_weights(draw, place, tally, ground)
        elif number % 8 == 6:
            _break_lock(draw, given["files"], place, tally, ground)
        else:
            kind = "tar" if number % 8 == 5 else "files"
            _break_run(draw, given[kind], place, tally, ground)


def lay_runs(ground: Ground) -> dict[str, Path]:
    """Return finished runs, one of files and one of tars, that people reviewed and edited."""
    runs = {"files": ground.folder / "given" / "reviewed", "tar": ground.folder / "given" / "tars"}
    for storage, folder in runs.items():
        if folder.exists():
            continue
        run_well(
            "generate", *SMALL, "run.count=3", f"run.storage={storage}", f"run.folder={folder}"
        )
        _review(folder)
        run_well("inspect", f"run.folder={folder}")
    return runs


def _review(folder: Path) -> None:
    from synthgen.runs.reviews.edits import Edit, EditedInstance, add_edits
    from synthgen.runs.reviews.verdicts import Verdict, add_verdicts

    time = "2026-01-31T12:00:00+00:00"
    rows = parquet.read_table(folder / "manifest.parquet").to_pylist()
    made = [row for row in rows if row["image"]]
    add_verdicts(folder, [Verdict(row["sample_id"], 0, "accept", "", "ann", time) for row in made])
    row = next(row for row in made if row["instances"])
    mask = np.zeros((row["height"], row["width"]), bool)
    mask[5:20, 5:30] = True
    edited = EditedInstance(row["defect_class"], mask)
    add_edits(
        folder,
        [
            Edit(
                sample_id=row["sample_id"],
                revision=0,
                reviewer="ann",
                time=time,
                instances=(edited,),
            )
        ],
    )


def _break_run(draw: random.Random, given: Path, place: Path, tally: Tally, ground: Ground) -> None:
    run = place / "run"
    shutil.copytree(given, run)
    rows = parquet.read_table(given / "manifest.parquet").to_pylist()
    sample_id = next(row["sample_id"] for row in rows if row["image"])
    files = [path for path in sorted(run.rglob("*")) if path.is_file()]
    # tables and records as often as the many images together
    special = [path for path in files if path.parent == run and path.suffix != ".html"]
    path = draw.choice(draw.choice((files, special, special)))
    harm = draw.choice(_harms_of(path))
    name = str(path.relative_to(run))
    told = harm(draw, path)
    if told is None:
        return
    reader = draw.choice(READERS)
    words = [word.format(id=sample_id) for word in reader]
    is_wrong = told in ("cut off", "garbage", "gone", "twice", "another type") and (
        reader[0] == "export" and "include=reviewed" not in reader and name.startswith(OF_EXPORT)
    )
    arguments = [*words, f"run.folder={run}"]
    case = f"{' '.join(words)}: {name} {told}"
    judge(tally, ground, arguments, case, [path.name, str(run)], is_wrong=is_wrong, place=place)
    _look_for_halves(place, case, tally)


def _look_for_halves(place: Path, case: str, tally: Tally) -> None:
    from tests.fuzz.ground import Found

    left = [path for path in place.rglob("*") if ".tmp" in path.name]
    if left:
        tally.found.append(Found("half-written", case, str(left[0])))


def _harms_of(path: Path) -> list[Harm]:
    anything = [_cut, _garble, _remove, _make_pipe, _make_folder, _link_out, _grow]
    if path.suffix == ".parquet":
        return [*anything, *[_change_cell] * 6, *[_change_type] * 3, _drop_column, _repeat, _empty]
    if path.suffix == ".yaml":
        return [*anything, *[_change_yaml] * 8, *[_other_yaml] * 4]
    if path.suffix == ".json":
        return [*anything, *[_change_json] * 4]
    if path.suffix == ".png":
        return [*anything, _other_image, _other_image, _flip]
    return [*anything, _flip]


def _cut(draw: random.Random, path: Path) -> str | None:
    data = path.read_bytes()
    if len(data) < 2:
        return None
    path.write_bytes(data[: draw.randrange(len(data))])
    return "cut off"


def _garble(draw: random.Random, path: Path) -> str:
    path.write_bytes(draw.randbytes(draw.choice((1, 100, 5000))))
    return "garbage"


def _flip(draw: random.Random, path: Path) -> str | None:
    data = bytearray(path.read_bytes())
    if not data:
        return None
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    return "of one bit changed"


def _remove(draw: random.Random, path: Path) -> str:
    path.unlink()
    return "gone"


def _make_pipe(draw: random.Random, path: Path) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a pipe"


def _make_folder(draw: random.Random, path: Path) -> str:
    path.unlink()
    path.mkdir()
    return "a folder"


def _link_out(draw: random.Random, path: Path) -> str:
    away = draw.choice(("/etc/passwd", "/dev/zero", "/dev/null/x", str(path)))
    path.unlink()
    path.symlink_to(away)
    return f"a link to {away}"


def _grow(draw: random.Random, path: Path) -> str:
    with path.open("ab") as file:
        file.write(draw.randbytes(1000))
    return "longer"


def _change_cell(draw: random.Random, path: Path) -> str | None:
    table = parquet.read_table(path)
    if not len(table) or not table.num_columns:
        return None
    place = draw.randrange(table.num_columns)
    field = table.schema.field(place)
    values = table.column(place).to_pylist()
    row = draw.randrange(len(values))
    kind = field.type
    if pa.types.is_large_string(kind) or pa.types.is_string(kind):
        values[row] = draw.choice([word for word in WORDS if word != "\udcff"])
    elif pa.types.is_integer(kind):
        values[row] = draw.choice((-1, 0, 999, 2**62, -(2**63)))
    elif pa.types.is_floating(kind):
        values[row] = draw.choice((-1.0, float("nan"), float("inf"), 1e308))
    else:
        values[row] = None
    _put(path, table, place, pa.array(values, kind))
    return f"{field.name}={str(values[row])[:40]!r}"


def _put(path: Path, table: pa.Table, place: int, column: pa.Array) -> None:
    name = table.schema.field(place).name
    parquet.write_table(table.set_column(place, name, column), path)


def _change_type(draw: random.Random, path: Path) -> str | None:
    table = parquet.read_table(path)
    if not table.num_columns:
        return None
    place = draw.randrange(table.num_columns)
    count = len(table)
    column = draw.choice(
        (
            pa.array([[1, 2]] * count, pa.list_(pa.int64())),
            pa.array([{"a": 1}] * count, pa.struct([("a", pa.int64())])),
            pa.array([b"\xff\0"] * count, pa.binary()),
            pa.array([None] * count, pa.null()),
            pa.array([0] * count, pa.timestamp("us")),
        )
    )
    _put(path, table, place, column)
    return f"with {table.schema.field(place).name} as {column.type}"


def _drop_column(draw: random.Random, path: Path) -> str | None:
    table = parquet.read_table(path)
    if table.num_columns < 2:
        return None
    place = draw.randrange(table.num_columns)
    parquet.write_table(table.remove_column(place), path)
    return f"without {table.schema.field(place).name}"


def _repeat(draw: random.Random, path: Path) -> str | None:
    table = parquet.read_table(path)
    if not len(table):
        return None
    parquet.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    return "twice" if path.stem in ("manifest", "instances") else "with a row twice"


def _empty(draw: random.Random, path: Path) -> str:
    parquet.write_table(parquet.read_table(path).slice(0, 0), path)
    return "without rows"


def _change_yaml(draw: random.Random, path: Path) -> str:
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    told = _change_tree(draw, tree)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return told


def _change_tree(draw: random.Random, tree: Any) -> str:
    """Give one value of nested mappings another one, or take it away."""
    node, names = tree, []
    while True:
        name = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        names.append(str(name))
        below = node[name]
        if isinstance(below, dict | list) and below and draw.random() < 0.75:
            node = below
            continue
        value = draw.choice(VALUES)
        if isinstance(node, dict) and draw.random() < 0.2:
            del node[name]
            return f"without {'.'.join(names)}"
        node[name] = value
        return f"{'.'.join(names)}={str(value)[:40]}"


def _other_yaml(draw: random.Random, path: Path) -> str:
    data = draw.choice(YAMLS)
    path.write_bytes(data)
    return f"{data[:30]!r}"


def _change_json(draw: random.Random, path: Path) -> str:
    tree = json.loads(path.read_text(encoding="utf-8"))
    told = _change_tree(draw, tree)
    path.write_text(json.dumps(tree), encoding="utf-8")
    return told


def _other_image(draw: random.Random, path: Path) -> str:
    size, mode = draw.choice((((8, 8), "L"), ((64, 64), "RGBA"), ((64, 64), "I;16"))), "RGB"
    whole = io.BytesIO()
    Image.new(size[1], size[0]).save(whole, "PNG")
    path.write_bytes(whole.getvalue())
    return f"another image, {mode}"


def _break_lock(
    draw: random.Random, given: Path, place: Path, tally: Tally, ground: Ground
) -> None:
    """Put a lock of any content beside a run that is continued."""
    run, lock = place / "run", place / ".run.lock"
    shutil.copytree(given, run)
    holder = {"host": "gone", "pid": 5, "begun": 1.0, "machine": "x", "token": "ab", "stamp": 0}
    name = draw.choice(list(holder))
    holder[name] = draw.choice(VALUES)
    told = draw.choice(("any", "folder", "json", "json", "pipe"))
    if told == "any":
        lock.write_bytes(draw.choice((b"", b"x", b"[]", b"null", b"\xff", b"{" * 9000, b"{}")))
    elif told == "json":
        with suppress(ValidationError):
            HOLDER.validate_json(json.dumps(holder))
            holder["pid"] = -1  # a well-formed one would be watched for a minute
        lock.write_text(json.dumps(holder), encoding="utf-8")
    elif told == "folder":
        lock.mkdir()
    else:
        os.mkfifo(lock)
    arguments = ["generate", *SMALL, "run.count=3", f"run.folder={run}"]
    case = f"generate: .run.lock {told} {name}={str(holder[name])[:30]!r}"
    judge(tally, ground, arguments, case, [lock.name], is_wrong=True, place=place)


def _break_comparison(draw: random.Random, ground: Ground, place: Path, tally: Tally) -> None:
    """Harm a run or the real photos that evaluate realism compares."""
    shutil.copytree(ground.many, place / "many")
    shutil.copytree(ground.parts.parent / "parts", place / "parts")
    shutil.copy(ground.parts, place / "parts.csv")
    run = [path for path in sorted((place / "many").rglob("*")) if path.is_file()]
    real = [path for path in sorted((place / "parts").rglob("*")) if path.is_file()]
    tables = [path for path in run if path.suffix in (".parquet", ".yaml")]
    path = draw.choice(draw.choice((tables, run, real, [place / "parts.csv"])))
    told = draw.choice(_harms_of(path))(draw, path)
    if told is None:
        return
    name = str(path.relative_to(place))
    few = ["evaluate.count=20", "evaluate.sheet=4", "evaluate.folder=out"]
    given = [f"evaluate.run={place / 'many'}", f"evaluate.real.path={place / 'parts.csv'}"]
    arguments = ["evaluate", "realism", *few, *given]
    names = [path.name, str(place), "evaluate.run", "evaluate.real"]
    case = f"evaluate realism: {name} {told}"
    judge(tally, ground, arguments, case, names, is_wrong=False, place=place)


def _break_weights(draw: random.Random, place: Path, tally: Tally, ground: Ground) -> None:
    """Harm HED's weights: the file that is converted, or a folder that control=hed reads."""
    folder = place / "hed"
    folder.mkdir()
    source = folder / "given.h5"
    shutil.copy(ground.hed, source)
    told = draw.choice((_cut, _garble, _remove, _make_pipe, _make_folder, _flip, _grow))(
        draw, source
    )
    if draw.random() < 0.5:
        arguments = ["convert", "hed", "out=out", f"file={source}"]
        case, names = f"convert hed: {source.name} {told}", [source.name, "h5py"]
    else:
        (folder / "ControlNetHED.safetensors").write_bytes(draw.randbytes(draw.choice((1, 900))))
        arguments = ["generate", *SMALL, "run.count=1", "run.folder=out", "control=hed"]
        arguments += [f"control.hed.folder={folder}"]
        case, names = "generate: HED's weights are garbage", ["ControlNetHED", str(folder), "hed"]
    judge(tally, ground, arguments, case, names, is_wrong=True, place=place)


def _break_bank(draw: random.Random, ground: Ground, place: Path, tally: Tally) -> None:
    bank = place / "bank"
    shutil.copytree(ground.bank, bank)
    files = [path for path in sorted(bank.rglob("*")) if path.suffix in (".parquet", ".png")]
    path = draw.choice([*files, *[bank / "bank.parquet"] * 6])
    told = draw.choice(_harms_of(path))(draw, path)
    if told is None:
        return
    words = draw.choice(
        (
            ["generate", *SMALL, "run.count=2", "run.folder=out", "bank.classes=[pit]"],
            ["bank", f"real.path={ground.photos}", *real_masks(ground)],
        )
    )
    own = [f"out={bank}"] if words[0] == "bank" else [f"bank.path={bank}", "splits={train: 1}"]
    case = f"{words[0]}: bank/{path.relative_to(bank)} {told}"
    judge(
        tally,
        ground,
        [*words, *own],
        case,
        [path.name, str(bank), "bank"],
        is_wrong=False,
        place=place,
    )
