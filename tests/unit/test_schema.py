"""One table of columns, and all that follows from it."""

from __future__ import annotations

import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from synthgen.exporting.facts import PATHS
from synthgen.review.documents import FIELDS, LABEL_FIELDS
from synthgen.review.look import ADDED, ORDER
from synthgen.runs import schema
from synthgen.runs.manifest import manifest_row, read_table, schema_of, to_arrow
from synthgen.runs.reader import read_run
from synthgen.runs.renamed import COLUMNS_NOW
from synthgen.runs.reviews.edits import FROM_LABEL
from synthgen.runs.schema import COLUMNS, GROUPS, Column, columns_of, measure_names, names_of
from synthgen.storage.places import open_storage
from tests.factories import make_run, make_sample

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_a_name_is_once_in_a_table_and_of_one_kind() -> None:
    for table in ("manifest", "instances", "tries", "timings", "files"):
        names = names_of(columns_of(table))
        assert len(set(names)) == len(names) > 0
        assert schema_of(table).names == list(names)
    kinds = {(column.name, column.kind) for column in COLUMNS}
    assert len(kinds) == len({name for name, _ in kinds})
    assert all(column.meaning and "|" not in column.meaning for column in COLUMNS)


def test_what_a_run_writes_is_what_the_table_says(tmp_path) -> None:
    make_run(tmp_path / "run")
    run = read_run(tmp_path / "run")
    for name in ("manifest", "instances", "tries", "timings"):
        assert list(pd.read_parquet(tmp_path / "run" / f"{name}.parquet")) == list(
            names_of(columns_of(name))
        )
        assert list(getattr(run, name)) == list(names_of(columns_of(name)))


NEWER = [one for one in columns_of("manifest") if one.since != "0.1.0" or one.name == "revision"]


@pytest.mark.parametrize("column", NEWER, ids=lambda column: column.name)
def test_a_run_that_lacks_a_column_is_read(column, tmp_path_factory, finished) -> None:
    root = shutil.copytree(finished, tmp_path_factory.mktemp("older") / "run")
    table = pd.read_parquet(finished / "manifest.parquet").drop(columns=column.name)
    table.to_parquet(root / "manifest.parquet")
    values = read_run(root).manifest[column.name]
    assert values.isna().all() if column.kind == "float64" else not values.any()


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return Path(make_run(tmp_path_factory.mktemp("finished") / "run").root)


def test_the_review_shows_each_column_under_one_heading() -> None:
    shown = [name for names in ADDED.values() for name in names]
    shown += [one.name for one in columns_of("manifest") if one.group in ORDER]
    assert sorted(shown) == sorted({*shown})
    assert {*FIELDS, "reasons"} <= {*shown}
    assert set(GROUPS) <= set(ORDER)
    assert {"class_id", "area_px", "severity", *measure_names(of_mask=True)} <= set(LABEL_FIELDS)
    assert "rle" not in LABEL_FIELDS


def test_what_a_label_decides_and_what_no_dataset_takes_along() -> None:
    assert {"defect_class", "mask", "edited_by", "area_px", "box_h", "perceptual_hash"} <= set(
        FROM_LABEL
    )
    assert not {"seed", "image", "status", "seam_delta_e"} & set(FROM_LABEL)
    paths = ("source_path", "photo", "image", "mask", "image_digest", "mask_digest")
    assert (*paths, "requested", "control") == PATHS


@pytest.mark.parametrize("name", ["run-folder.md", "quality.md", "names.md"])
def test_a_page_has_the_tables_of_today(name) -> None:
    tabulated = runpy.run_path(str(DOCS / "tabulate_columns.py"))
    page = (DOCS / "reference" / name).read_text(encoding="utf-8")
    told = tabulated["fill_in"](page, tabulated["PAGES"][name]())
    assert told == page, "python docs/tabulate_columns.py writes it"
    assert ("| `part_finding` | str | 0.2.0 |" in page) == (name == "run-folder.md")


def test_a_new_column_is_one_row(tmp_path, monkeypatch) -> None:
    wanted = Column("negative_prompt", "str", ("manifest",), "what it was led away from", since="9")
    make_run(tmp_path / "older")
    monkeypatch.setattr(schema, "COLUMNS", (*COLUMNS, wanted))
    assert set(read_run(tmp_path / "older").manifest["negative_prompt"]) == {""}
    sample = make_sample("hole", 0)
    condition = sample.candidate.condition
    spec = replace(condition.spec, negative_prompt="text")
    told = replace(sample.candidate, condition=replace(condition, spec=spec))
    row = manifest_row(replace(sample, candidate=told), "test", "")
    assert to_arrow("manifest", [row])["negative_prompt"].to_pylist() == ["text"]


FORMER = {now: former for former, now in COLUMNS_NOW.items()}


def test_columns_under_former_names_are_read(tmp_path) -> None:
    make_run(tmp_path)
    whole = read_run(tmp_path).manifest.assign(reference="pit-3", near_duplicate_bits=2.0)
    file = tmp_path / "manifest.parquet"
    pd.read_parquet(file).assign(**whole[[*FORMER]]).rename(columns=FORMER).to_parquet(file)
    assert not set(FORMER) & set(pd.read_parquet(file))
    pd.testing.assert_frame_equal(read_run(tmp_path).manifest, whole)
    asked = read_table(open_storage(tmp_path), "manifest", ["sample_id", "reference"])
    assert asked.to_pydict() == whole[["sample_id", "reference"]].to_dict("list")
