"""Every format in conf/format: the same labels, the same bytes, nothing half-written."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from synthgen.config.objects import build
from synthgen.errors import ConfigError, RunError
from synthgen.exporting.labels import read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.write import Format, export
from tests import starter
from tests.cli import run_well
from tests.hard_set import CASES, make_hard_run

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "conf" / "format").glob("*.yaml"))


def build_format(name: str, **options: object) -> Format:
    node = yaml.safe_load((ROOT / "conf" / "format" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert list(node) == [name]
    built: Format = build(node[name] | options, f"format.{name}")
    return built


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_hard_run(tmp_path_factory.mktemp("hard") / "run")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_run_gives_the_same_bytes(run, tmp_path, name) -> None:
    labels = read_labels(run)
    for out in ("a", "b"):
        export(labels, {name: build_format(name)}, tmp_path / out, Media())
    first, second = bytes_of(tmp_path / "a"), bytes_of(tmp_path / "b")
    assert list(first) == list(second)
    assert [path for path in first if first[path] != second[path]] == []
    assert len(first) > 1
    machine = str(tmp_path).encode()
    assert not [path for path, data in first.items() if machine in data]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_image_leaves_no_half_dataset(run, tmp_path, name) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "images" / "defect_free.png").unlink()
    with pytest.raises(RunError, match=r"defect_free\.png"):
        export(read_labels(copy), {name: build_format(name)}, tmp_path / "out", Media())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_one_sentence(name) -> None:
    with pytest.raises(ConfigError, match="colour"):
        build_format(name, colour="red")


def test_an_existing_folder_is_never_touched(run, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years", encoding="utf-8")
    with pytest.raises(RunError, match="exists already"):
        export(read_labels(run), {"coco": build_format("coco")}, tmp_path / "mine", Media())
    assert bytes_of(tmp_path / "mine") == {"thesis.txt": b"years"}


def test_a_killed_export_leaves_nothing_that_passes_for_a_dataset(run, tmp_path) -> None:
    out = tmp_path / "out"
    command = ["export", f"run.folder={run}", f"out={out}", "format=[coco,semantic,mvtec]"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with starter.start("-m", "synthgen", *command, cwd=tmp_path, env=environment) as killed:
        while not list(tmp_path.glob(".out.*.tmp")):
            time.sleep(0.002)
            assert killed.poll() is None, "it ended before it could be killed"
        killed.kill()
    assert not out.exists()
    run_well(*command, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_good_images_are_in_every_format_that_holds_the_image(run, tmp_path) -> None:
    for name in ("coco", "semantic", "mvtec"):
        export(read_labels(run), {name: build_format(name)}, tmp_path / name, Media())
        stems = {path.stem for path in (tmp_path / name).rglob("*.png")}
        assert {"defect_free", "defect_free_test"} <= stems
        assert len(set(CASES) - stems) == (5 if name == "mvtec" else 0)
