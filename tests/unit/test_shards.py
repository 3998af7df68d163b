from __future__ import annotations

import json
import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synthgen.quality.limits import read_limits, reasons_to_reject
from synthgen.quality.near_duplicates import bits_between, colour_distance
from synthgen.runs.folder import RunFolder, inspect_run, open_run
from synthgen.runs.reader import read_run
from synthgen.runs.reviews.decide import decide
from synthgen.runs.schema import FILLERS, columns_of, measure_names
from synthgen.samples.sample import Failure, Measurement
from tests.factories import CASES, CONFIG, make_sample
from tests.specs import make_spec

FACTS = {"versions": {}, "backend": "test", "checkpoint": ""}
TABLES = ("manifest", "instances", "tries", "timings")


def begin(root: Path, storage: str = "files", count: int = 12) -> RunFolder:
    """Begin a run with one shard for each of ``count`` samples."""
    cases = [list(CASES)[number % len(CASES)] for number in range(count)]
    samples = [make_sample(case, number) for number, case in enumerate(cases)]
    samples = [rename(sample, f"s{number:02}") for number, sample in enumerate(samples)]
    config = CONFIG | {"run": {"folder": "x", "count": count, "storage": storage}}
    run = open_run(root, config, [sample.spec for sample in samples], FACTS)
    for sample in samples:
        run.write([sample], "test", "none@0")
    return run


def rename(sample, name: str):
    candidate = sample.candidate
    condition = replace(candidate.condition, spec=replace(sample.spec, sample_id=name))
    return replace(sample, candidate=replace(candidate, condition=condition))


def shards_of(run: RunFolder) -> list[str]:
    return sorted(path.name for path in (Path(run.root) / "shards").iterdir())


def merged(run: RunFolder) -> dict[str, bytes]:
    run.merge()
    return {name: (Path(run.root) / f"{name}.parquet").read_bytes() for name in TABLES}


@pytest.mark.parametrize("storage", ["files", "tar"])
def test_compacted_shards_hold_the_same(tmp_path, storage) -> None:
    run = begin(tmp_path / "run", storage)
    before, done = merged(run), set(run.revisions())
    index = pd.read_parquet(tmp_path / "run" / "files.parquet") if storage == "tar" else None
    run.compact(least=13)
    assert len(shards_of(run)) == 12
    run.compact(least=12)
    [name] = shards_of(run)
    assert name.startswith("merged-00000000-")
    assert set(run.revisions()) == done == {f"s{number:02}" for number in range(12)}
    assert merged(run) == before
    if index is not None:
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run" / "files.parquet"), index)
        assert len(index) == 12 * 4 + 12
    assert not list((tmp_path / "run").rglob("*.tmp*"))


def test_old_and_new_shards_are_read_together(tmp_path) -> None:
    run = begin(tmp_path / "run")
    before = merged(run)
    small = {name: (tmp_path / "run" / "shards" / name).read_bytes() for name in shards_of(run)}
    for name in list(small)[6:]:
        (tmp_path / "run" / "shards" / name).unlink()
    run.compact(least=2)
    for name in list(small)[6:]:
        (tmp_path / "run" / "shards" / name).write_bytes(small[name])
    assert len(shards_of(run)) == 7
    assert merged(run) == before
    run.compact(least=2)
    assert len(shards_of(run)) == 2
    assert merged(run) == before


@pytest.mark.parametrize("left", [slice(0, 12), slice(3, 12), slice(0, 1), slice(11, 12)])
def test_a_kill_while_small_shards_are_removed_loses_and_doubles_nothing(tmp_path, left) -> None:
    run = begin(tmp_path / "run")
    before = merged(run)
    small = {name: (tmp_path / "run" / "shards" / name).read_bytes() for name in shards_of(run)}
    run.compact(least=2)
    for name in list(small)[left]:
        (tmp_path / "run" / "shards" / name).write_bytes(small[name])
    assert len(run.revisions()) == 12
    assert merged(run) == before
    run.compact(least=1)
    assert all(name.startswith("merged-") for name in shards_of(run))
    assert merged(run) == before


def test_a_sample_made_twice_is_that_of_the_first(tmp_path) -> None:
    """As when a worker that was taken for dead goes on: its rows must not mix with the others'."""
    run = begin(tmp_path / "run")
    run.compact(least=2)
    before = merged(run)
    other = replace(make_sample("two_parts", 1), annotations=())
    run.write([rename(replace(other, tries=()), "s01")], "other", "none@0")
    failed = Failure(make_spec(sample_id="s02", index=50), "it was too late")
    run.write([failed], "other", "none@0")
    assert len(shards_of(run)) == 3
    assert merged(run) == before


@pytest.mark.parametrize(
    "text", ["", '{"manifest": [{"sample_id": "s0', "[1, 2]", "{}", '{"manifest": [{"seed": "x"}]}']
)
def test_a_broken_small_shard_is_named_and_made_again(tmp_path, caplog, text) -> None:
    run = begin(tmp_path / "run")
    before = merged(run)
    path = tmp_path / "run" / "shards" / "shard-00000003.json"
    whole = path.read_bytes()
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert set(run.revisions()) == {f"s{number:02}" for number in range(12)} - {"s03"}
    [record] = caplog.records
    assert f"{path} is damaged and left out" in record.getMessage()
    run.compact(least=2)
    assert shards_of(run)[1:] == ["shard-00000003.json"]
    path.write_bytes(whole)
    assert merged(run) == before


@pytest.mark.parametrize("keep", [0, 100, -10])
def test_a_broken_large_shard_is_named_and_made_again(tmp_path, caplog, keep) -> None:
    run = begin(tmp_path / "run")
    run.compact(least=2)
    path = tmp_path / "run" / "shards" / shards_of(run)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    with caplog.at_level(logging.WARNING):
        assert set(run.revisions()) == set()
    assert "is damaged and left out" in caplog.text
    path.write_bytes(whole[:2000] + bytes(50) + whole[2050:])
    assert set(run.revisions()) == set()


def test_what_is_no_shard_is_left_alone(tmp_path) -> None:
    run = begin(tmp_path / "run")
    before = merged(run)
    strange = {".shard-00000001.123.tmp.json": "{", "notes.txt": "mine", "shard-x.json": "?"}
    for name, text in strange.items():
        (tmp_path / "run" / "shards" / name).write_text(text)
    assert len(run.revisions()) == 12
    run.compact(least=2)
    assert merged(run) == before
    assert set(strange) < set(shards_of(run))


def test_a_run_without_a_shard_is_not_finished(tmp_path) -> None:
    run = open_run(tmp_path / "run", CONFIG, [make_spec()], FACTS)
    run.compact()
    assert set(run.revisions()) == set()
    assert run.merge().empty


def test_a_run_killed_at_its_start_begins_again(tmp_path) -> None:
    root = tmp_path / "run"
    open_run(root, CONFIG, [make_spec()], FACTS)
    (root / "run.yaml").rename(root / ".run.123-456.tmp.yaml")
    assert sorted(path.name for path in root.iterdir()) == [".run.123-456.tmp.yaml", "plan.parquet"]
    open_run(root, CONFIG, [make_spec()], FACTS)
    assert (root / "run.yaml").is_file()


def test_a_damaged_table_is_one_sentence(tmp_path) -> None:
    from synthgen.errors import RunError

    run = begin(tmp_path / "run")
    run.merge()
    path = tmp_path / "run" / "manifest.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RunError, match=r"manifest\.parquet is damaged"):
        read_run(run.root).manifest  # noqa: B018


def test_a_compacted_run_is_decided_again(tmp_path) -> None:
    run = begin(tmp_path / "run")
    run.compact(least=2)
    run.merge()
    strict = inspect_run(run.root, {"area_px": [10_000, None]})
    assert set(strict["status"]) == {"rejected", "good"}


def test_large_shards_are_readable_zips_of_tables(tmp_path) -> None:
    run = begin(tmp_path / "run")
    rows = json.loads((tmp_path / "run" / "shards" / "shard-00000000.json").read_text())
    run.compact(least=2)
    path = tmp_path / "run" / "shards" / shards_of(run)[0]
    with zipfile.ZipFile(path) as archive, archive.open("manifest.parquet") as file:
        table = pd.read_parquet(file)
    assert len(table) == 12
    assert table.iloc[0]["seed"] == rows["manifest"][0]["seed"]


def decide_one_by_one(manifest: pd.DataFrame, limits) -> pd.DataFrame:
    """What ``decide`` says of itself, a row at a time."""
    rows, kept = manifest.to_dict("records"), {}
    for row in rows:
        row["near_duplicate_id"], row["near_duplicate_bits"] = "", float("nan")
        if row["status"] == "good" or not row["image"]:
            continue
        others = kept.setdefault((row["source_id"], row["defect_class"]), [])
        near = [other for other in others if row["perceptual_hash"] and is_near(row, other)]
        if near:
            apart = [
                bits_between(row["perceptual_hash"], other["perceptual_hash"]) for other in near
            ]
            row["near_duplicate_bits"] = float(min(apart))
            row["near_duplicate_id"] = near[apart.index(min(apart))]["sample_id"]
        measured = [Measurement(name, row[name]) for name in limits_measured()]
        reasons = reasons_to_reject(measured, limits.of(row["defect_class"]))
        row["status"], row["reasons"] = "rejected" if reasons else "accepted", "; ".join(reasons)
        if not reasons:
            others.append(row)
    return pd.DataFrame(rows, columns=manifest.columns).astype(manifest.dtypes.to_dict())


def limits_measured() -> tuple[str, ...]:
    from synthgen.quality.limits import MEASURED

    return MEASURED


def is_near(one: dict, other: dict) -> bool:
    if colour_distance(one["colours"], other["colours"]) > 5:
        return False
    marks = np.zeros((2, 80, 80), bool)
    for mark, row in zip(marks, (one, other), strict=True):
        x, y, width, height = (row[f"box_{key}"] for key in "xywh")
        mark[y : y + height, x : x + width] = True
    return bool((marks[0] & marks[1]).sum() / (marks[0] | marks[1]).sum() >= 0.5)


def draw_manifest(count: int) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    kinds = {column.name: column.kind for column in columns_of("manifest")}
    table = {name: np.full(count, FILLERS[kind]) for name, kind in kinds.items()}
    measured = (*measure_names(of_mask=True), *measure_names(of_mask=False))
    table |= {name: rng.random(count) for name in measured}
    table["mask_iou"][rng.random(count) < 0.2] = np.nan
    table |= {name: rng.integers(0, 40, count) for name in ("box_x", "box_y")}
    table |= {name: rng.integers(8, 40, count) for name in ("box_w", "box_h")}
    hashes = rng.integers(0, 2**60, 5)[rng.integers(0, 5, count)] ^ (1 << rng.integers(0, 9, count))
    colours = rng.integers(120, 123, (count, 48)) + rng.integers(0, 2, (count, 1)) * 20
    table |= {
        "sample_id": [f"s{number:04}" for number in range(count)],
        "status": rng.choice(["accepted", "rejected", "good"], count, p=[0.8, 0.1, 0.1]),
        "reasons": ["as it was"] * count,
        "image": np.where(rng.random(count) < 0.95, "images/x.png", ""),
        "source_id": rng.choice(["a", "b"], count),
        "defect_class": rng.choice(["pit", "dent"], count),
        "perceptual_hash": [
            f"{hash_:016x}" if number % 17 else "" for number, hash_ in enumerate(hashes)
        ],
        "colours": [bytes(row.astype(np.uint8)).hex() for row in colours],
    }
    unlabelled = [number for number in range(count) if not number % 17]
    for name in ("box_x", "box_y", "box_w", "box_h"):
        table[name][unlabelled] = 0
    good = table["status"] == "good"
    table["defect_class"] = np.where(good, "", table["defect_class"])
    table["edge_f1"][:] = np.nan  # no image is one of mode=vary
    return pd.DataFrame(table).astype(kinds)


@pytest.mark.parametrize(
    "quality",
    [
        {},
        {
            "near_duplicate_bits": [5, None],
            "fill_fraction": [0.1, 0.9],
            "classes": {"pit": {"near_duplicate_bits": [None, 20], "mask_iou": [0.2, None]}},
        },
    ],
)
def test_many_rows_are_decided_as_one_by_one(quality, monkeypatch) -> None:
    monkeypatch.setattr("synthgen.quality.near_duplicates.PAIRS", 1000)  # several blocks a group
    manifest, limits = draw_manifest(400), read_limits(quality)
    decided = decide(pa.Table.from_pandas(manifest), limits).to_pandas()
    pd.testing.assert_frame_equal(decided, decide_one_by_one(manifest, limits))
    assert (decided["near_duplicate_id"] != "").sum() > 50
    if quality:
        assert decided["reasons"].str.contains("near_duplicate_bits").sum() > 5
