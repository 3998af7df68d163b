"""`synthgen evaluate fidelity`, small, on a tiny untrained model: every part of it runs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.checkpoints import save_tiny_patch_model
from tests.cli import run_here

PAGE = Path(__file__).resolve().parents[2] / "docs" / "measured" / "fidelity.md"
SMALL = [  # after what the page says
    "evaluate.count=24",
    "evaluate.photo_count=6",
    "evaluate.probes=12",
    "evaluate.examples=64",
    "evaluate.timed=1",
    "evaluate.sweeps=1",
    "evaluate.steps=[2]",
    "backend.painting.steps=2",
    "source.size_hw=[96,96]",
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here("evaluate", "fidelity", *arguments)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("fidelity")
    model = save_tiny_patch_model(root / "model")
    (model / "README.md").write_text("# A model\n")
    rng = np.random.default_rng(0)
    for name in ("good", "defects", "masks"):
        (root / name).mkdir()
    for number in range(21):
        photo = rng.normal(120, 6, (110, 120)).clip(0, 255).astype(np.uint8)
        mask = np.zeros((110, 120), np.uint8)
        mask[40:50, 30 + number : 44 + number] = 255
        if number < 3:
            cv2.imwrite(str(root / "good" / f"{number}.png"), photo)
        photo[mask > 0] = 30
        cv2.imwrite(str(root / "defects" / f"{number}.png"), photo)
        cv2.imwrite(str(root / "masks" / f"{number}.png"), mask)
    defects = f"defects: {{path: {root / 'defects'}, masks: {root / 'masks'}}}"
    photos = f"+evaluate.photos.tile={{path: {root / 'good'}, surface: tile, {defects}}}"
    out = root / "out"
    command = re.search(
        r"^synthgen evaluate fidelity (evaluate\.folder)=\w+$",
        PAGE.read_text("utf-8"),
        re.MULTILINE,
    )
    assert command is not None
    done = run(
        *SMALL,
        photos,
        f"{command[1]}={out}",
        f"backend.model.checkpoint={model}",
        "evaluate.card=true",
    )
    assert done.returncode == 0, done.stderr
    assert str(out / "fidelity.md") in done.stdout.replace("\n", "")
    return out, model


def test_every_score_is_there_with_its_bar(folders) -> None:
    out, _ = folders
    record = json.loads((out / "fidelity.json").read_text(encoding="utf-8"))
    scores = {score["name"]: score for score in record["scores"]}
    bars = {
        "visible": 0.9,
        "edge control, F1": 0.55,
        "edge control, ratio": 1.8,
        "class control": 0.8,
        "diversity, ratio": 3,
    }
    assert {name: scores[name]["minimum"] for name in bars} == bars
    assert scores["clean edge"]["maximum"] == 1.15
    assert not scores["visible, from noise"]["is_met"]
    assert 0 <= scores["2 steps from noise: visible"]["value"] <= 1
    assert scores["diversity, other seed"]["value"] > 1  # even noise differs by its seed
    assert scores["images/s, noise 2 steps"]["value"] > 0
    assert not scores["class control, from noise"]["is_met"]
    assert record["facts"]["sets"] == "drawn, tile"


def test_there_is_a_row_for_each_image_and_a_table_in_the_card(folders) -> None:
    out, model = folders
    rows = pd.read_parquet(out / "rows.parquet")
    assert rows["set"].value_counts().to_dict() == {"drawn": 24, "tile": 6}
    probes = rows[rows["answer_noise"].notna()]
    assert len(probes) == 12
    assert probes["defect_class"].nunique() == 12
    told = rows[rows["other_class"].notna()]
    assert len(told)
    assert (told["other_class"] != told["defect_class"]).all()
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "## Measured" in card
    assert str(model.parent) not in card


def test_sheets_show_every_group(folders) -> None:
    out, _ = folders
    for group in ("lines", "areas", "hollows"):
        assert cv2.imread(str(out / f"samples-{group}.jpg")).shape[1] == 12 * 98


def test_it_says_what_is_wrong(tmp_path) -> None:
    done = run(f"evaluate.folder={tmp_path}", "backend=sketch")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "synthgen: evaluate fidelity needs a diffusion backend, e.g. backend=embedded"
    )
    done = run("evaluate.count=24")
    assert done.returncode == 2
    assert "evaluate.folder must be given, e.g. synthgen evaluate fidelity" in done.stderr
