from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from pydantic import ValidationError

from synthgen.defects import Scratch
from synthgen.errors import ConfigError
from synthgen.planning.plan import DefectClass, draw_plan, find_empty_train, split_groups
from synthgen.runs import planned
from synthgen.runs.manifest import write_table
from synthgen.runs.planned import (
    explain_difference,
    plan_digest,
    read_plan,
    read_spec,
    tabulate_plan,
)
from synthgen.sources import ProceduralSources
from synthgen.storage.places import open_storage
from tests.samples import draw_classes

SPLITS = {"train": 0.6, "val": 0.2, "test": 0.2}


def plan(seed: int = 1, count: int = 60, good: int = 15) -> list:
    sources = ProceduralSources(20, (64, 64), (), seed)
    return draw_plan(sources, draw_classes("scratch", "pit"), count, good, SPLITS, seed)


def test_counts_classes_and_good_images() -> None:
    counts = Counter(spec.defect_class for spec in plan())
    assert counts == {"scratch": 30, "pit": 30, None: 15}


def test_weights_are_ratios() -> None:
    classes = draw_classes("pit") | draw_classes("scratch", weight=3.0)
    sources = ProceduralSources(4, (64, 64), (), 0)
    counts = Counter(s.defect_class for s in draw_plan(sources, classes, 40, 0, SPLITS, 0))
    assert counts == {"scratch": 30, "pit": 10}


def test_same_seed_same_plan_other_seed_another() -> None:
    digests = [plan_digest(plan(seed)) for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_a_longer_plan_begins_like_the_shorter_one() -> None:
    short, long = plan(count=10, good=0), plan(count=30, good=0)
    assert [s.seed for s in short] == [s.seed for s in long[:10]]
    assert [s.source_id for s in short] == [s.source_id for s in long[:10]]


def test_ids_are_unique_and_a_group_has_one_split() -> None:
    specs = plan()
    assert len({s.sample_id for s in specs}) == len(specs)
    splits: dict[str, set[str]] = {}
    for spec in specs:
        splits.setdefault(spec.group, set()).add(spec.split)
    assert all(len(found) == 1 for found in splits.values())
    assert set().union(*splits.values()) == {"train", "val", "test"}


def test_fractions_of_splits() -> None:
    found = Counter(split_groups([f"g{n}" for n in range(100)], SPLITS, 3).values())
    assert found == {"train": 60, "val": 20, "test": 20}


@pytest.mark.parametrize("splits", [{}, {"train": 0}, {"train": 1, "val": -0.1}])
def test_impossible_splits(splits: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="splits"):
        split_groups(["a"], splits, 0)


def test_two_classes_with_one_id() -> None:
    duplicate = DefectClass(class_id=9, noun="pit", shape=Scratch())
    sources = ProceduralSources(1, (64, 64), (), 0)
    with pytest.raises(ConfigError, match="class_id=9"):
        draw_plan(sources, {"pit": duplicate, "other": duplicate}, 2, 0, SPLITS, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_id": 0},
        {"weight": 0},
        {"instances": (3, 1)},
        {"severity": (0.5, 1.5)},
        {"severity": (0.9, 0.1)},
        {"close_px": -1},
    ],
)
def test_impossible_class(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        DefectClass(**({"class_id": 1, "noun": "x", "shape": Scratch()} | wrong))


def test_a_field_that_nobody_uses_does_not_count_in_the_digest(monkeypatch) -> None:
    specs = plan(count=4, good=1)
    digest = plan_digest(specs)
    monkeypatch.setitem(planned.FIELDS, "is_defect_free", True)  # as if it came since
    assert plan_digest(specs) != digest  # some use it
    good = [spec for spec in specs if spec.is_defect_free]
    with_it = plan_digest(good)
    monkeypatch.delitem(planned.FIELDS, "is_defect_free")
    assert plan_digest(good) == with_it
    assert plan_digest([replace(specs[0], reference="pit-1"), *specs[1:]]) != digest


def test_a_plan_is_read_as_it_was_written(tmp_path) -> None:
    specs = plan(count=4, good=1)
    specs[1] = replace(specs[1], asked_area_px=9.5, asked_x=0.25, asked_y=0.5, reference="pit-1")
    storage = open_storage(tmp_path)
    write_table(storage, "plan", tabulate_plan(specs))
    assert read_plan(storage) == specs
    assert read_spec(storage, specs[1].sample_id) == specs[1]
    assert explain_difference(specs, read_plan(storage)) == ""
    other = [*specs[:4], replace(specs[4], split="elsewhere")]
    assert f"split of {specs[4].sample_id} was" in explain_difference(specs, other)


def test_a_plan_of_an_older_version_says_what_is_absent_in_its_own_way(tmp_path) -> None:
    specs = plan(count=2, good=1)
    table = (
        tabulate_plan(specs)
        .to_pandas()
        .fillna(
            {
                "asked_x": -1.0,
                "asked_y": -1.0,
                "asked_area_px": 0.0,
                "reference": "",
                "reference_group": "",
            }
        )
    )
    table.assign(attempt=0, push=0).to_parquet(tmp_path / "plan.parquet")
    assert read_plan(open_storage(tmp_path)) == specs
    assert specs[0].asked_xy is None


def test_a_plan_that_leaves_nothing_in_train_says_so() -> None:
    sources = ProceduralSources(1, (64, 64), (), 0)
    for fractions, is_told in (({"train": 0.2, "val": 0.8}, True), ({"val": 1.0}, False)):
        specs = draw_plan(sources, draw_classes("pit"), 4, 0, fractions, 0)
        assert {spec.split for spec in specs} == {"val"}
        notes = find_empty_train(specs, fractions)
        assert [("nothing is in the split train: 1 parts" in note) for note in notes] == (
            [True] if is_told else []
        )
