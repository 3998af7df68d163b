"""Kill it at any moment: the same command goes on, and the dataset is that of an unbroken run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from synthgen.imaging.images import read_image
from synthgen.review.service.startup import StartupProgress
from synthgen.runs.lock import hold_run
from synthgen.runs.manifest import read_table
from synthgen.runs.reader import read_run
from synthgen.storage.places import open_storage
from tests import starter
from tests.cli import run_here

ROOT = Path(__file__).resolve().parents[2]
RUN = [
    "generate",
    "backend=sketch",
    "run.count=60",
    "run.batch_size=4",
    "source.size_hw=[96,96]",
    "source.count=12",
    "run.good_fraction=0.1",
]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start(*arguments: str) -> starter.Started:
    return starter.start("-m", "synthgen", *arguments, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    done = run_here(*RUN, f"run.folder={folder}")
    assert done.returncode == 0, done.stderr
    return folder


def assert_same_dataset(folder: Path, unbroken: Path) -> None:
    assert_same_tables(folder, unbroken)
    manifest = pd.read_parquet(folder / "manifest.parquet")
    assert manifest["sample_id"].is_unique
    assert len(manifest) == 66
    for row in manifest[manifest["image"] != ""].itertuples():
        images = [read_image(root / row.image) for root in (folder, unbroken)]
        assert np.abs(images[0].astype(int) - images[1]).max() <= 1
        labels = [read_image(root / row.mask) for root in (folder, unbroken)]
        assert np.array_equal(*labels)
    files = [
        sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
        for root in (folder, unbroken)
    ]
    assert files[0] == files[1]  # nothing is lost, nothing is left over


def assert_same_tables(root: Path | str, unbroken: Path) -> None:
    one, other = read_run(root), read_run(unbroken)
    plans = [read_table(run.storage, "plan").to_pandas() for run in (one, other)]
    pd.testing.assert_frame_equal(*plans)
    for name in ("manifest", "instances", "tries"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))


def kill_again_and_again(kills: int, *arguments: str) -> None:
    """Run a command to its end, after so many kills at random moments."""
    killing = [str(ROOT / "tests" / "killing.py"), str(kills), "1", *arguments]
    done = starter.run(*killing, env=os.environ | ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kills} kills" in done.stdout


def test_twenty_kills_lose_nothing_and_make_nothing_twice(tmp_path, unbroken) -> None:
    kill_again_and_again(20, *RUN, f"run.folder={tmp_path / 'run'}")
    assert_same_dataset(tmp_path / "run", unbroken)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # no lock is left


@pytest.mark.parametrize("layout", ["files", "tar"])
def test_kills_in_the_middle_of_a_run_in_object_storage(bucket, unbroken, layout) -> None:
    root = f"{bucket}/killed/{layout}"
    kill_again_and_again(6, *RUN, f"run.folder={root}", f"run.storage={layout}")
    assert_same_tables(root, unbroken)
    one, other = read_run(root), read_run(unbroken)
    for name in one.manifest[["image", "mask", "source_path"]].to_numpy().ravel():
        assert not name or one.read(name) == other.read(name)
    left = open_storage(f"{bucket}/killed").names()
    assert layout in left
    assert not [name for name in left if name.endswith(".lock")]


def test_kills_in_the_middle_of_an_export(tmp_path, unbroken) -> None:
    formats = "format=[coco,yolo,voc,semantic,table]"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = run_here("export", f"run.folder={unbroken}", formats, f"out={whole}")
    assert done.returncode == 0, done.stderr
    kill_again_and_again(6, "export", f"run.folder={unbroken}", formats, f"out={killed}")
    assert sorted(tmp_path.iterdir()) == [killed, whole]  # nothing half-written is left
    one, other = (
        {path.relative_to(out): path.read_bytes() for path in out.rglob("*.*")}
        for out in (killed, whole)
    )
    assert one == other


def shards(folder: Path) -> int:
    return len(list((folder / "shards").glob("*.json")))


def wait_for(begun: starter.Started, folder: Path, count: int) -> None:
    """Wait for so many shards of a run, as long as it works."""
    progress = StartupProgress(psutil.Process(begun.pid))
    while shards(folder) < count:
        assert begun.poll() is None, "it ended too early"
        assert not progress.is_over(), "it stands still"
        time.sleep(0.005)


@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_workers_make_the_same_dataset_though_one_dies(tmp_path, unbroken, executor) -> None:
    if executor == "ray":
        pytest.importorskip("ray")
    folder = tmp_path / "run"
    with start(*RUN, f"run.folder={folder}", f"executor={executor}") as begun:
        wait_for(begun, folder, 2)
        name = {"processes": "spawn_main", "ray": "_Actor"}[executor]
        workers = [
            child
            for child in psutil.Process(begun.pid).children(recursive=True)
            if name in " ".join(child.cmdline())
        ]
        assert workers
        workers[0].kill()
        leftover = folder / "shards" / f".shard-00000000.{workers[0].pid}-1.tmp.json"
        leftover.write_text("{")  # what it leaves when it dies while it writes
        errors = begun.said()
        assert begun.wait() == 0, errors
    assert_same_dataset(folder, unbroken)


def test_ctrl_c_finishes_the_batch_and_goes_on(tmp_path, unbroken) -> None:
    folder = tmp_path / "run"
    with start(*RUN, f"run.folder={folder}") as begun:
        wait_for(begun, folder, 3)
        begun.send_signal(signal.SIGINT)
        errors = begun.said()
        assert begun.wait() == 130
    assert "Finishing the batch in hand" in errors
    assert "The same command goes on from here" in errors
    assert "Traceback" not in errors
    assert not list(folder.rglob("*.tmp*"))
    assert 3 <= shards(folder) < 17
    made = {p.stem for p in (folder / "images").glob("*.png")}
    told = {
        row["sample_id"]
        for path in (folder / "shards").glob("*.json")
        for row in json.loads(path.read_text(encoding="utf-8"))["manifest"]
        if row.get("image")
    }
    assert made == told  # the batch in hand was finished
    assert run_here(*RUN, f"run.folder={folder}").returncode == 0
    assert_same_dataset(folder, unbroken)


@pytest.mark.parametrize("executor", ["local", "processes"])
def test_a_second_ctrl_c_stops_in_the_middle_of_a_batch(tmp_path, executor) -> None:
    folder, told = tmp_path / "run", tmp_path / "told"
    slow = ["backend._target_=tests.slow_backend.SlowBackend", f"+backend.told={told}"]
    with start(*RUN, *slow, f"run.folder={folder}", f"executor={executor}") as begun:
        wait_until(begun, told.exists)
        workers = psutil.Process(begun.pid).children(recursive=True)
        begun.send_signal(signal.SIGINT)
        assert begun.stderr is not None
        while "once more stops at once" not in begun.stderr.readline():
            assert begun.poll() is None, "it ended too early"
        begun.send_signal(signal.SIGINT)
        assert "The same command goes on from here" in begun.said()
        assert begun.wait() == 130
    psutil.wait_procs(workers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "told"]  # no lock is left


def test_a_mask_of_the_wrong_size_ends_a_run_of_processes(tmp_path) -> None:
    """Of 12 photos one has a mask of another size: one lane of one process finds it."""
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    draw = np.random.default_rng(0)
    for number in range(12):
        size = (60, 96) if number == 7 else (96, 96)
        for place, pixels in (
            (photos, draw.integers(90, 120, (96, 96, 3), np.uint8)),
            (masks, np.zeros(size, np.uint8)),
        ):
            place.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(place / f"part-{number:02d}.png")
    # the mask is spoilt once the plan is drawn, which looks at 40 photos
    whole = masks / "part-07.png"
    spoilt = whole.read_bytes()
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(whole)
    arguments = ["generate", "backend=sketch", "source=folder", f"source.path={photos}"]
    arguments += [f"source.illegal={masks}", "run.count=24", "run.batch_size=2"]
    arguments += [f"run.folder={tmp_path / 'run'}", "executor=processes"]
    with start(*arguments) as begun:
        wait_until(begun, (tmp_path / "run" / "run.yaml").exists)
        whole.write_bytes(spoilt)
        errors = begun.said()
        assert begun.wait() == 2, errors
    assert "part-07.png is 60 x 96 px (height, width) but its image is 96 x 96" in errors
    assert "Traceback" not in errors


def wait_until(begun: starter.Started, is_so: Callable[[], bool]) -> None:
    while not is_so():
        assert begun.poll() is None, "it ended too early"
        time.sleep(0.01)


def test_the_second_run_on_a_folder_says_who_holds_it(tmp_path) -> None:
    folder = tmp_path / "run"
    with start(*RUN, "run.count=2000", f"run.folder={folder}") as first:
        wait_for(first, folder, 1)
        second = run_here(*RUN, "run.count=2000", f"run.folder={folder}")
        assert second.returncode == 2
        assert f"is held by process {first.pid} on " in second.stderr
        first.kill()
    assert (tmp_path / ".run.lock").exists()  # a stale one
    with hold_run(str(folder)):
        pass
    assert not (tmp_path / ".run.lock").exists()


def test_reproduce_makes_any_image_again(unbroken, tmp_path) -> None:
    manifest = pd.read_parquet(unbroken / "manifest.parquet")
    retried = manifest[(manifest["attempt"] > 0) & (manifest["status"] == "accepted")]
    good = manifest[manifest["status"] == "good"]
    assert len(retried) > 1
    for sample_id in [*retried["sample_id"][:2], good["sample_id"].iloc[0]]:
        out = tmp_path / f"{sample_id}.png"
        which = (f"run.folder={unbroken}", f"sample_id={sample_id}")
        done = run_here("reproduce", *which, f"out={out}")
        assert done.returncode == 0, done.stderr + done.stdout
        assert "differ by 0 grey levels" in done.stdout
        assert read_image(out).shape == (96, 3 * 96, 3)
    done = run_here("reproduce", f"run.folder={unbroken}", "sample_id=nobody")
    assert done.returncode == 2
    assert "has no sample 'nobody'" in done.stderr
