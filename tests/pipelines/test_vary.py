"""mode=vary: new good images from good ones, by a ControlNet that keeps the part's shape."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synthgen.generation.generate import build_candidate
from synthgen.imaging.images import read_image
from synthgen.quality.limits import read_limits
from synthgen.quality.measures import measure, view_change
from synthgen.runs.reviews.decide import decide
from tests.cli import run_here
from tests.families import TINY, TinyModel
from tests.samples import draw_conditions

SMALL = ["backend.painting.steps=4", "backend.hardware.dtype=float32", "run.batch_size=2"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> TinyModel:
    return TINY["sd15"](tmp_path_factory.mktemp("sd15"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        image = np.random.default_rng(number).normal(120, 8, (72, 104)).clip(0, 255)
        cv2.rectangle(image, (20, 20), (70, 50), 200, -1)
        cv2.imwrite(str(folder / f"part{number}.png"), image.astype(np.uint8))
    return folder


def vary(tiny: TinyModel, photos: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    nets = f"backend.model.controlnets={{canny:{{checkpoint:{tiny.controlnets['canny']}}}}}"
    backend = ["backend=diffusion", f"backend.model.checkpoint={tiny.base}", nets, *SMALL]
    source = ["source=folder", f"source.path={photos}"]
    return run_here("generate", "mode=vary", *source, *backend, f"run.folder={out}", *more)


@pytest.fixture(scope="module")
def varied(tiny, photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("varied") / "run"
    done = vary(tiny, photos, out, "run.count=4", "quality=off", "run.retries=[]")
    assert done.returncode == 0, done.stderr
    return out


def test_good_images_come_of_good_images(varied, photos) -> None:
    manifest = pd.read_parquet(varied / "manifest.parquet")
    assert list(manifest["status"]) == ["good"] * 4
    assert (manifest["defect_class"] == "").all()
    assert manifest["checkpoint"].str.contains("@").all()
    assert manifest["edge_f1"].between(0, 1).all()
    assert (manifest["varied_delta_e"] > 1).all()
    for row in manifest.itertuples():
        source, image = read_image(Path(row.source_path)), read_image(varied / row.image)
        assert image.shape == source.shape == (72, 104)
        assert (image != source).mean() > 0.5
        assert not read_image(varied / row.mask).any()
        assert (photos / f"{row.group}.png").samefile(row.source_path)
    assert (varied / "report.html").is_file()


def test_each_is_made_again_from_its_row(varied) -> None:
    done = run_here("reproduce", f"run.folder={varied}", "sample_id=good-000002")
    assert done.returncode == 0, done.stderr
    assert "differ by 0 grey levels" in done.stdout


def test_varied_images_are_sources_with_the_group_of_theirs(varied, photos, tmp_path) -> None:
    out = tmp_path / "run"
    small = ["backend=sketch", "run.count=6", "defect=[pit]", "run.retries=[]", "quality=off"]
    done = run_here("generate", "source=run", f"source.path={varied}", *small, f"run.folder={out}")
    assert done.returncode == 0, done.stderr
    first = pd.read_parquet(varied / "manifest.parquet").set_index("sample_id")
    second = pd.read_parquet(out / "manifest.parquet")
    assert set(second["source_id"]) <= set(first.index)
    for row in second.itertuples():
        origin = first.loc[row.source_id]
        assert row.group == origin["group"]
        assert row.photo == origin["photo"]
        clean = read_image(out / row.source_path)
        assert np.array_equal(clean, read_image(varied / origin["image"]))


def test_images_that_lost_their_part_are_rejected(tiny, photos, tmp_path) -> None:
    """Random weights keep no part; the limit finds that out, and so does inspect."""
    out = tmp_path / "run"
    done = vary(tiny, photos, out, "run.count=2", "run.retries=[noise]")
    assert done.returncode == 0, done.stderr
    manifest = pd.read_parquet(out / "manifest.parquet")
    assert list(manifest["status"]) == ["rejected"] * 2
    assert manifest["reasons"].str.contains("edge_f1").all()
    assert (manifest["attempt"] == 1).all()
    assert run_here("inspect", f"run.folder={out}", "quality=off").returncode == 0
    assert list(pd.read_parquet(out / "manifest.parquet")["status"]) == ["good"] * 2
    limits = read_limits({"area_px": [6, None], "edge_f1": [0, None]})
    strict = decide(pa.Table.from_pandas(manifest), limits)
    assert strict["status"].to_pylist() == ["good"] * 2  # a label's limits are none of theirs


@pytest.mark.parametrize("backend", ["sketch", "embedded"])
def test_what_cannot_vary_says_so(photos, tmp_path, backend) -> None:
    out = tmp_path / "run"
    source = ["source=folder", f"source.path={photos}"]
    done = run_here("generate", "mode=vary", *source, f"backend={backend}", f"run.folder={out}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("synthgen: mode=vary: ")
    assert not out.exists()


def test_the_edge_measure_tells_the_same_part_from_another() -> None:
    condition = draw_conditions("pit", count=1)[0]
    image = np.full((128, 128, 3), 90, np.uint8)
    cv2.rectangle(image, (30, 40), (90, 80), (200, 190, 180), -1)
    nothing = np.zeros((128, 128), bool)
    whole = replace(
        condition,
        spec=replace(condition.spec, defect_class=None, class_id=0, instances=0),
        source=replace(condition.source, pixels=image),
        image=image,
        defect_mask=nothing,
        instance_map=nothing.astype(np.uint8),
        repaint_mask=~nothing,
    )

    def edge_f1(painted: np.ndarray) -> float:
        candidate = build_candidate(whole, painted)
        measured = measure(candidate, view_change(candidate))
        return next(one.value for one in measured if one.name == "edge_f1")

    assert edge_f1(image) == 1
    assert edge_f1((image * 0.8).astype(np.uint8)) == 1  # another light, the same part
    assert edge_f1(np.roll(image, 12, axis=1)) < 0.7
    assert edge_f1(np.zeros_like(image)) == 0
    assert not build_candidate(whole, np.zeros_like(image)).realised_mask.any()
