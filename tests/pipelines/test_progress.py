"""What each command shows without a terminal: a line per stage, then the page to open."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import pytest

from tests.checkpoints import save_tiny_patch_model
from tests.cli import run_here

REAL = ("real.path=bad", "real.masks=masks", "real.defect_class=scratch", "real.split=train")
ADAPT = ("adapt.steps=2", "adapt.batch_size=2", "adapt.crop_sizes_px=[32]")
SMALL = ("debug=smoke", "defect=[pit,scratch]")
RUN = "run.folder=run"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of good parts, of scratched ones with masks, a tiny model, and a run."""
    root = tmp_path_factory.mktemp("stages")
    for name in ("photos", "bad", "masks"):
        (root / name).mkdir()
    for number in range(3):
        image = np.random.default_rng(number).normal(120, 8, (96, 128)).clip(0, 255)
        mask = np.zeros((96, 128), np.uint8)
        cv2.line(mask, (20, 20 + 9 * number), (70, 40), 255, 3)
        spoilt = np.where(mask > 0, 40, image)
        for name, pixels in (("photos", image), ("bad", spoilt), ("masks", mask)):
            cv2.imwrite(str(root / name / f"{number}.png"), pixels.astype(np.uint8))
    save_tiny_patch_model(root / "model")
    done = run_here("generate", *SMALL, "backend=sketch", RUN, cwd=root)
    assert done.returncode == 0, done.stderr
    return root


def show(folder: Path, *arguments: str) -> CompletedProcess[str]:
    done = run_here(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("command", "stages", "opened"),
    [
        (
            f"generate {' '.join(SMALL)} backend.model.checkpoint=model backend.painting.steps=2 "
            "source=folder source.path=photos run.folder=painted",
            [
                "looking through the photos: 3 photos",
                "planning",
                "finding the parts: 3 photos",
                "learning what the photos show: 3 photos",
                "looking what is there already",
                "painting: 7 images",
                "loading the model model",
                "writing the tables",
                "deciding by the limits: 7 samples",
                "writing report.html",
            ],
            "painted/report.html",
        ),
        (
            f"preview {' '.join(SMALL)} run.folder=shown preview.count=2",
            ["planning", "drawing the defects: 2 photos"],
            "shown/preview.html",
        ),
        (
            f"inspect {RUN} quality=strict",
            ["writing the tables", "deciding by the limits: 7 samples", "writing report.html"],
            "run/report.html",
        ),
        (
            f"export {RUN} format=[coco,yolo] out=dataset",
            ["reading and checking the run", "writing coco", "writing yolo", "the datasheet"],
            "open    dataset",
        ),
        (
            f"bank out=bank {' '.join(REAL)}",
            [
                "reading the real images",
                "note: ",
                "cutting out the defects: 3 images",
                "measuring the defects: 3 defects",
                "writing the bank: 3 defects",
                "writing bank.html",
            ],
            "bank/bank.html",
        ),
        (
            f"adapt out=adapter {' '.join(REAL)} backend.model.checkpoint=model {' '.join(ADAPT)}",
            [
                "reading the real images",
                "taking the defects out of their photos: 3 images",
                "loading the model model",
                "looking for words that the model knows",
                "trying the base model on what is held back",
                "learning: 2 steps",
                "painting what is held back",
            ],
            "adapter/held_back.png",
        ),
        (
            "evaluate labels evaluate.folder=labels evaluate.count=20",
            ["measuring the labels: 20 cases"],
            "labels/labels.md",
        ),
        (f"report {RUN}", ["writing report.html"], "run/report.html"),
        ("report runs=[run,painted] out=both.html", ["comparing the runs"], "both.html"),
        (
            f"reproduce {RUN} sample_id=pit-000000 out=again.png",
            ["painting pit-000000 again"],
            "again.png",
        ),
        (
            "doctor out=doctor.json",
            ["looking at the packages", "looking at the models", "looking at what runs"],
            "doctor.json",
        ),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) and " " in value else None,
)
def test_a_command_says_what_it_does(
    folder: Path, command: str, stages: list[str], opened: str
) -> None:
    done = show(folder, *command.split())
    at = 0
    for stage in stages:
        assert stage in done.stderr[at:], (stage, done.stderr)
        at = done.stderr.index(stage, at)
    assert opened in done.stdout
    assert stages[0] not in done.stdout


def test_a_run_that_goes_on_says_what_is_there(folder: Path) -> None:
    done = show(folder, "generate", *SMALL, "backend=sketch", RUN)
    assert "painting: 7 images, 7 are there already\n" in done.stderr
    assert "under way" not in done.stderr
