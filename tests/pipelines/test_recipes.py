"""The recipes and code blocks of docs/how-to/training.md run as written, on small data."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli import run_script, run_well

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "training.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python (docs/recipes/.*)$", PAGE, re.MULTILINE)
SMALL = {  # given after what the page says, so that these hold
    "mask_rcnn.py": "--epochs 1 --size 64 --batch 8 --workers 0 --run few",
    "unet.py": "--epochs 1 --crop 64 --workers 0",
    "padim.py": "--layers layer1 --features 16 --size 64 --workers 0",
}
SCORES = {
    "mask_rcnn.py": ["bbox_map", "bbox_map_50", "segm_map", "segm_map_50"],
    "unet.py": ["pixel_ap", "pixel_ap_untrained", "pixel_f1"],
    "padim.py": ["image_AUROC", "pixel_AUPR", "pixel_AUROC"],
}


def synthgen(command: str, cwd: Path) -> None:
    run_well(*command.split(), cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the run ``out``, and ``real``: a tree of MVTec AD, as photos come in."""
    root = tmp_path_factory.mktemp("recipes")
    drawn = "debug=smoke backend=sketch source.kinds=[painted] source.size_hw=[64,64]"
    classes = "defect=[stain,chip] run.good_fraction=0.5 defect.stain.shape.radius_px=[9,24]"
    classes += " defect.chip.shape.radius_px=[6,20]"  # small pictures: a fraction would be tiny
    synthgen(f"generate {drawn} {classes} run.folder=out run.count=8", root)
    few = f"{classes} splits={{train:0.5,test:0.5}}"  # each image costs Mask R-CNN a second
    synthgen(f"generate {drawn} {few} run.folder=few run.count=2", root)
    synthgen(f"generate {drawn} {classes} run.folder=other run.count=4 seed=5", root)
    synthgen("export run.folder=other format=[mvtec] out=exported", root)
    (root / "exported" / "mvtec" / "part").rename(root / "real")
    (root / "docs").symlink_to(ROOT / "docs")
    cv2.imwrite(str(root / "photo.png"), np.full((64, 64, 3), 120, np.uint8))
    return root


def test_code_blocks_of_the_page_run_in_their_order(folder) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    checks = """
assert image.dtype == torch.uint8 and len(images) == len(targets) == 4
assert {image.is_synthetic for image in labels.of_split("test")} == {False}
real = [not dataset.is_synthetic[index] for index in sampler]
assert real == [True, False, False] * (len(real) // 3)
assert len(next(iter(loader))[0]) == len(next(iter(data.train_dataloader()))[0]) == 6
"""
    code = "\n".join([*blocks, checks])
    short = code.replace(
        'train_inspector("out")', 'train_inspector("out", model="unet_small", steps=2)'
    )
    assert short != code
    (folder / "page.py").write_text(short, encoding="utf-8")
    run_script("page.py", cwd=folder)


def test_the_page_names_every_recipe() -> None:
    recipes = {path.name for path in (ROOT / "docs" / "recipes").glob("*.py")}
    assert recipes == {Path(command.split()[0]).name for command in COMMANDS} == set(SMALL)
    for path in (ROOT / "docs" / "recipes").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 95


def scores_of(command: str, small: str, cwd: Path) -> dict[str, float]:
    """Run a command of the page, with smaller settings after its own, and return its scores."""
    printed = run_script(*command.split(), *small.split(), cwd=cwd)
    name, out = Path(command.split()[0]).name, command.split()[-1]
    scores = json.loads((cwd / out / "metrics.json").read_text(encoding="utf-8"))
    assert sorted(scores) == SCORES[name]
    assert all(0 <= score <= 1 for score in scores.values())
    assert str(scores) in printed
    losses = [float(number) for number in re.findall(r"loss.* ([\d.]+|nan)$", printed, re.M)]
    assert len(losses) == (name != "padim.py")
    assert all(0 < loss < math.inf for loss in losses)
    return scores


@pytest.mark.parametrize("name", SMALL)
def test_recipe(folder, name) -> None:
    others = [command for command in COMMANDS if not command.endswith("--out unet")]
    chosen = [command for command in others if f"/{name} " in command]
    assert chosen
    for command in chosen:
        scores_of(command, SMALL[name], folder)


def test_unet_learns(tmp_path) -> None:
    synthgen(
        "generate debug=smoke backend=sketch run.folder=out run.count=48 run.good_fraction=0.25"
        " source.kinds=[painted] source.size_hw=[64,64] defect=[inclusion]"
        " defect.inclusion.severity=[0.7,1] defect.inclusion.shape.radius_px=[6,14]"
        " defect.inclusion.shape.dark_fraction=1",
        tmp_path,
    )
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    [command] = [command for command in COMMANDS if command.endswith("--out unet")]
    scores = scores_of(command, "--epochs 5 --crop 64 --batch 4 --workers 0", tmp_path)
    assert scores["pixel_ap"] > scores["pixel_ap_untrained"] + 0.1
