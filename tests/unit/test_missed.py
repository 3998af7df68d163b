"""Misses of a detector: read, planned for, drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.edges import canny_control
from synthgen.defects import DEFECTS
from synthgen.errors import ConfigError
from synthgen.planning.missed import MissedDefect, near_place, read_missed
from synthgen.planning.plan import draw_plan
from synthgen.samples.sample import Condition
from synthgen.sources import ProceduralSources
from tests.cli import run_here
from tests.samples import draw_classes

CLASSES = draw_classes("pit", "scratch", "stain")


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_misses_are_read_from_csv_and_json(tmp_path) -> None:
    rows = "defect_class,area_px,contrast_delta_e,x,y\npit,40,3.5,0.2,0.9\nscratch,,,,\n"
    expected = [MissedDefect("pit", 40, 3.5, 0.2, 0.9), MissedDefect("scratch")]
    assert read_missed(write(tmp_path / "misses.csv", rows), CLASSES) == expected
    objects = [
        {"defect_class": "pit", "area_px": 40, "contrast_delta_e": 3.5, "x": 0.2, "y": 0.9},
        {"defect_class": "scratch", "x": None},
    ]
    assert read_missed(write(tmp_path / "misses.json", json.dumps(objects)), CLASSES) == expected
    assert read_missed(write(tmp_path / "a.csv", "defect_class\n pit \n"), CLASSES) == [
        MissedDefect("pit")
    ]
    spaced = "defect_class, area_px, x, y\npit, 40, , \n"
    assert read_missed(write(tmp_path / "a.csv", spaced), CLASSES) == [MissedDefect("pit", 40)]
    objects[0]["area_px"] = True
    with pytest.raises(ConfigError, match="area_px a number is wanted, not true or false"):
        read_missed(write(tmp_path / "misses.json", json.dumps(objects)), CLASSES)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("defect_class\ndent\n", "miss 1: the run has no class 'dent', only pit, scratch, stain"),
        (
            "defect_class,x,y\npit,0.5,0\npit,1.5,0\n",
            "miss 2: x input should be less than or equal to 1",
        ),
        ("defect_class,colour\npit,red\n", "miss 1: colour unexpected keyword argument"),
        ("area_px\n3\n", "miss 1: defect_class field required"),
        ("defect_class\n", "holds no misses"),
        ("defect_class,x\npit,0.5\n", "miss 1: x and y belong together"),
        ("defect_class,area_px\npit,inf\n", "miss 1: area_px input should be a finite number"),
        ("defect_class;x;y\npit;0.5;0.5\n", "separated by ; where a comma is wanted"),
        ("defect_class,x,y\npit,0.5,0.5,0.5\n", "miss 1 has more values than there are columns"),
    ],
)
def test_what_cannot_be_a_miss(tmp_path, text, sentence) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_missed(write(tmp_path / "misses.csv", text), CLASSES)


def test_a_file_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read .*give a CSV or a JSON"):
        read_missed(str(tmp_path / "none.csv"), CLASSES)
    with pytest.raises(ConfigError, match="must hold a list of objects"):
        read_missed(write(tmp_path / "misses.json", '{"defect_class": "pit"}'), CLASSES)


def conditions(
    missed: list[MissedDefect], count: int = 24, fraction: float = 1.0
) -> list[Condition]:
    sources = ProceduralSources(6, (160, 160), ("cast",), 2)
    specs = draw_plan(sources, CLASSES, count, 0, {"train": 1}, 4, None, missed, fraction)
    build = Conditioner(sources, CLASSES, {"canny": canny_control()})
    return [build(spec) for spec in specs]


def test_a_fraction_of_the_plan_asks_for_them_and_the_rest_stays() -> None:
    sources = ProceduralSources(6, (64, 64), (), 2)
    plain = draw_plan(sources, CLASSES, 60, 6, {"train": 1}, 4)
    missed = [MissedDefect("pit", x=0.1, y=0.1), MissedDefect("stain", area_px=90)]
    asked = draw_plan(sources, CLASSES, 60, 6, {"train": 1}, 4, None, missed, 0.25)
    wishes = [spec for spec in asked if spec.asked_area_px or spec.asked_xy]
    assert [spec.defect_class for spec in wishes].count("pit") == 8
    assert [spec.defect_class for spec in wishes].count("stain") == 7
    untouched = {spec.index for spec in asked} - {spec.index for spec in wishes}
    assert all(plain[index] == asked[index] for index in untouched)


@pytest.mark.parametrize("area_px", [30, 200, 600])
def test_the_size_that_was_missed_is_drawn(area_px) -> None:
    areas = [c.defect_mask.sum() for c in conditions([MissedDefect("stain", area_px=area_px)])]
    assert 0.75 * area_px < np.median(areas) < 1.33 * area_px


def test_the_place_that_was_missed_is_taken() -> None:
    for condition in conditions([MissedDefect("pit", area_px=30, x=0.2, y=0.7)]):
        rows, columns = np.nonzero(condition.defect_mask)
        away = np.hypot(rows.mean() - 0.7 * 159, columns.mean() - 0.2 * 159)
        assert away < 0.15 * 160


def test_a_stronger_contrast_is_drawn_stronger() -> None:
    def change(contrast: float) -> float:
        drawn = conditions([MissedDefect("stain", contrast_delta_e=contrast)])
        return float(
            np.median([np.abs(c.sketch - c.image.astype(int))[c.defect_mask].mean() for c in drawn])
        )

    faint, middle, strong = (change(contrast) for contrast in (2.0, 13.5, 25.0))
    assert faint < middle < strong
    assert strong > 1.5 * faint


def test_where_nothing_is_free_near_a_place_anywhere_will_do() -> None:
    free = np.zeros((40, 80), bool)
    free[:, 70:] = True
    assert np.array_equal(near_place(free, 0.1, 0.5, 0.1), free)
    near = near_place(free, 0.95, 0.5, 0.1)
    assert near.any()
    assert near.sum() < free.sum()


def test_every_class_has_a_size_to_fit() -> None:
    missed = [MissedDefect(name, area_px=120) for name in sorted(DEFECTS) if name in CLASSES]
    assert all(c.defect_mask.any() for c in conditions(missed))


def test_a_run_asks_for_the_misses_of_a_file(tmp_path) -> None:
    misses = write(tmp_path / "misses.csv", "defect_class,area_px\npit,60\n")
    options = ("debug=smoke", "backend=sketch", "run.good_fraction=0", "missed.fraction=1")
    folder = f"run.folder={tmp_path / 'run'}"
    done = run_here("generate", *options, f"missed.path={misses}", folder)
    assert done.returncode == 0, done.stderr
    plan = pd.read_parquet(tmp_path / "run" / "plan.parquet")
    assert (plan["asked_area_px"] == 60).all()
    assert set(plan["defect_class"]) == {"pit"}

    gone = run_here("generate", *options, "missed.path=none.csv", f"run.folder={tmp_path / 'no'}")
    assert gone.returncode == 2
    assert "none.csv" in gone.stderr
    assert not (tmp_path / "no").exists()
