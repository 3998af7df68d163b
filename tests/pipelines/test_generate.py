"""The command line, as a person uses it: real processes, real folders, the shipped model."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from synthgen.conditioning.conditioner import KERNELS_AROUND
from synthgen.config.objects import build
from synthgen.imaging.geometry import grow_mask
from synthgen.imaging.images import grey_window, read_image, to_rgb8
from synthgen.imaging.optics import estimate_optics
from synthgen.quality.realised import realise_mask
from tests import starter
from tests.cli import run_here, run_well

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("debug=smoke", "backend.hardware.threads=1")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return starter.run("-m", "synthgen", *arguments, kind="all")


def bad(*arguments: str) -> str:
    """Return the one sentence on stderr, after its stages, of a command that must fail."""
    done = run_here(*arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert [line for line in lines if line.startswith("synthgen: ")] == lines[-1:], done.stderr
    return lines[-1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    base = cv2.GaussianBlur(rng.normal(0, 30, (140, 180)), (0, 0), 2) * 4
    grey = np.clip(base + 120, 0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / "grey.png"), grey)
    cv2.imwrite(str(folder / "deep.tif"), grey.astype(np.uint16) * 200 + 900)
    cv2.imwrite(str(folder / "colour.jpg"), cv2.applyColorMap(grey, cv2.COLORMAP_BONE))
    (folder / "broken.png").write_bytes(b"\x89PNG nothing")
    return folder


def test_help_lists_the_pipelines_and_imports_little() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "synthgen", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "synthgen.commands.cli" in done.stderr
    assert not any(name in done.stderr for name in ("torch", "hydra", "pandas", "cv2"))
    for name in ("generate", "export", "pretrain"):
        assert f"\n  {name}" in done.stdout
        assert "synthgen" in run_well(name, "--help")


@pytest.fixture(scope="module")
def painted(tmp_path_factory) -> Path:
    """A small run of the embedded model, painted in a process of its own."""
    out = tmp_path_factory.mktemp("painted") / "run"
    done = run("generate", *SMALL, f"run.folder={out}")
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    return out


def test_the_embedded_model_paints_a_dataset(painted) -> None:
    manifest = pd.read_parquet(painted / "manifest.parquet")
    assert len(manifest) == 7
    assert set(manifest["backend"]) == {"embedded", ""}
    for _, row in manifest.iterrows():
        image, source = read_image(painted / row["image"]), read_image(painted / row["source_path"])
        asked = read_image(painted / row["requested"]) > 0
        changed = np.any(image != source, axis=2)
        assert row["changed_outside_px"] == 0 or row["status"] == "good"
        kernel_px = estimate_optics(source).kernel_px  # a soft edge reaches further
        reach = 5 + round(max(0.0, KERNELS_AROUND * kernel_px - 1))
        disc = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        near = cv2.dilate(asked.astype(np.uint8), disc) > 0
        assert not (changed & ~near).any()
    record = yaml.safe_load((painted / "run.yaml").read_text())
    assert record["checkpoint"].startswith("embedded@")


def test_same_seed_same_dataset_and_another_seed_another(painted, tmp_path) -> None:
    run_well("generate", *SMALL, f"run.folder={tmp_path / 'same'}")
    run_well("generate", *SMALL, "seed=2", "run.count=3", f"run.folder={tmp_path / 'other'}")
    folders = (painted, tmp_path / "same", tmp_path / "other")
    first, same, other = (pd.read_parquet(folder / "manifest.parquet") for folder in folders)
    pd.testing.assert_frame_equal(first, same)
    assert set(first["seed"]).isdisjoint(other["seed"])
    for name in first["image"]:
        pictures = [read_image(folder / name).astype(int) for folder in folders[:2]]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_a_stopped_run_goes_on_and_ends_like_an_unbroken_one(tmp_path) -> None:
    options = ("debug=smoke", "backend=sketch", "run.count=10", "run.batch_size=2")
    run_well("generate", *options, f"run.folder={tmp_path / 'whole'}")
    cut = tmp_path / "cut"
    run_well("generate", *options, f"run.folder={cut}")
    shards = sorted((cut / "shards").iterdir())
    for shard in shards[2:]:
        shard.unlink()
    for name in ("manifest", "instances", "timings"):
        (cut / f"{name}.parquet").unlink()
    kept = {p: p.stat().st_mtime_ns for p in (cut / "images").iterdir()}
    run_well("generate", *options, f"run.folder={cut}")
    untouched = [p for p, at in kept.items() if p.stat().st_mtime_ns == at]
    assert len(untouched) == 4
    one, other = (pd.read_parquet(tmp_path / n / "manifest.parquet") for n in ("whole", "cut"))
    pd.testing.assert_frame_equal(one, other)


def test_photos_of_any_kind(tmp_path, photos) -> None:
    out = tmp_path / "run"
    options = ("source=folder", f"source.path={photos}", "defect=[scratch,pit]", "run.count=6")
    few = ("backend.painting.steps=4", "backend.hardware.threads=1", f"run.folder={out}")
    done = run_here("generate", *options, *few)
    assert done.returncode == 0, done.stderr
    assert "broken.png" in done.stderr
    manifest = pd.read_parquet(out / "manifest.parquet")
    assert set(manifest["defect_class"]) == {"scratch", "pit", ""}
    for _, row in manifest.iterrows():
        image, source = read_image(out / row["image"]), read_image(Path(row["source_path"]))
        assert image.dtype == source.dtype
        assert image.shape == source.shape
        changed = (image != source).reshape(*image.shape[:2], -1).any(axis=2)
        asked = read_image(out / row["requested"])
        window = grey_window(source)
        kernel_px = estimate_optics(to_rgb8(source, window)).kernel_px
        margin_px = 4 + round(max(0.0, 2 * kernel_px - 1)) * bool(row["defect_class"])
        assert not changed[~grow_mask(asked > 0, margin_px + 1)].any()
        views = to_rgb8(source, window), to_rgb8(image, window)
        asked_mask = asked > 0
        again = realise_mask(*views, grow_mask(asked_mask, margin_px), asked_mask, close_px=2)
        assert np.array_equal(again, read_image(out / row["mask"]) > 0)  # the label of the file


def test_export_and_multirun_and_the_script(tmp_path) -> None:
    command = ["generate", "-m", "debug=smoke", "backend=sketch", "seed=1,2"]
    sweep = (f"hydra.sweep.dir={tmp_path / 'sweep'}", f"run.folder={tmp_path}/seed-${{seed}}")
    run_well(*command, *sweep, cwd=tmp_path)
    assert (tmp_path / "seed-1" / "report.html").is_file()
    assert (tmp_path / "seed-2" / "manifest.parquet").is_file()
    out = tmp_path / "coco"
    script = str(ROOT / "pipelines" / "export.py")
    done = starter.run(script, f"run.folder={tmp_path / 'seed-1'}", f"out={out}")
    assert done.returncode == 0, done.stderr
    assert list((out / "coco" / "annotations").glob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run.count=0",), "run.count=0"),
        (("run.count=many",), "run.count='many'"),
        (("run.cuont=3",), "run.cuont is not a key of generate"),
        (("defect=[scrach]",), "did you mean scratch"),
        (("backend=magic",), "backend=magic is unknown"),
        (("defect.scratch.shape.length_px=[90,10]",), "defect.scratch.shape.length_px"),
        (("+defect.scratch.shape.lenght_px=[9,10]",), "defect.scratch.shape.lenght_px"),
        (("+defect.scratch.wieght=1",), "defect.scratch.wieght"),
        (("backend.painting.strength=0",), "backend.painting.strength"),
        (("+backend.stepps=3",), "stepps"),
        (("backend.painting.steps=few",), "backend.painting.steps"),
        (("backend.model.checkpoint=/nowhere",), "there is no such folder"),
        (("quality.fill_fraction=[1,0]",), "quality.fill_fraction"),
        (("+quality.beauty=[1,2]",), "quality.beauty"),
        (("source=folder",), "source.path must be given"),
        (("source=folder", "source.path=/nowhere"), "/nowhere"),
        (("splits={train:0,val:0,test:0}",), "splits"),
        (("control=hed",), "ControlNetHED.pth"),
        (("seed=-1",), "seed"),
        (("source.size_hw=[9,9]",), "source.size_hw"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(tmp_path, arguments, text) -> None:
    out = tmp_path / "run"
    assert text in bad("generate", f"run.folder={out}", *arguments)
    assert not out.exists()


def test_what_a_run_names_at_its_end_is_there(tmp_path) -> None:
    for storage in ("files", "tar"):
        out = tmp_path / storage
        keys = ("debug=smoke", "backend=sketch", "run.count=1", f"run.storage={storage}")
        told = run_well("generate", *keys, f"run.folder={out}").splitlines()
        named = [Path(line.split()[-1]) for line in told if str(out) in line]
        assert len(named) >= 3
        assert all(path.exists() for path in named)


def test_a_run_of_another_config_names_the_key(tmp_path) -> None:
    out = tmp_path / "run"
    run_well("generate", "debug=smoke", "backend=sketch", f"run.folder={out}")
    sentence = bad("generate", "debug=smoke", "backend=sketch", "seed=5", f"run.folder={out}")
    assert "seed=0, now it is 5" in sentence
    assert "no pipeline 'generat'" in bad("generat")
    assert "no run.yaml" in bad("export", f"run.folder={tmp_path}", f"out={tmp_path / 'c'}")


def test_a_sweep_with_an_impossible_value_has_no_traceback(tmp_path) -> None:
    sweep = (f"hydra.sweep.dir={tmp_path / 'sweep'}", f"run.folder={tmp_path}/r-${{run.count}}")
    done = run_here("generate", "-m", "backend=sketch", "run.count=0,1", *sweep, cwd=tmp_path)
    assert done.returncode == 2
    assert "synthgen: run.count=0 is not possible" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_preset_composes() -> None:
    for name in sorted(p.stem for p in (ROOT / "conf" / "experiment").glob("*.yaml")):
        text = run_well("generate", f"experiment={name}", "--cfg", "job")
        assert "count:" in text
    for name in sorted(p.stem for p in (ROOT / "conf" / "control").glob("*.yaml")):
        assert "_target_" in run_well("generate", f"control={name}", "--cfg", "job")


def test_masks_of_another_size(tmp_path, photos) -> None:
    (tmp_path / "legal").mkdir()
    for name in ("grey", "deep", "colour"):
        cv2.imwrite(str(tmp_path / "legal" / f"{name}.png"), np.full((20, 30), 255, np.uint8))
    options = ("source=folder", f"source.path={photos}", f"source.legal={tmp_path / 'legal'}")
    done = run_here("generate", *options, f"run.folder={tmp_path / 'run'}", "run.count=2")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("synthgen: the mask ")
    assert "20 x 30 px" in last
    assert "Traceback" not in done.stderr


def test_nothing_is_built_twice_in_one_process(tmp_path, monkeypatch) -> None:
    built: Counter[str] = Counter()

    def count(node: Any, key: str, *needed: Any, **extra: Any) -> Any:
        built[key] += 1
        return build(node, key, *needed, **extra)

    monkeypatch.setattr("synthgen.config.build.build", count)
    run_well("generate", *SMALL[:1], "backend=sketch", f"run.folder={tmp_path / 'run'}")
    assert {"source", "backend", "control.canny", "defect.pit.shape"} <= set(built)
    assert set(built.values()) == {1}
