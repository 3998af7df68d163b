"""What CONTRIBUTING says to add is added to a copy of the project, and works there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests import starter
from tests.families import TINY

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", PAGE, re.DOTALL | re.MULTILINE))
BLOCKS = re.compile(r"```(?:python|yaml)\n# (\S+?)(?:, last row of (\w+))?\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Return a copy of the project with all that the page adds."""
    root = tmp_path_factory.mktemp("project")
    for name in ("synthgen", "conf", "pipelines", "data"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", root / "docs", ignore=shutil.ignore_patterns("images"))
    for section in SECTIONS.values():
        for path, table, text in BLOCKS.findall(section):
            if table:
                add_row(root / path, table, text)
            else:
                assert not (root / path).exists()
                (root / path).write_text(text, encoding="utf-8")
    return root


def add_row(path: Path, table: str, row: str) -> None:
    """Add a row to the table of that name, as its last one."""
    before, named, rest = re.split(
        rf"^({table}\b.*?\($)", path.read_text("utf-8"), maxsplit=1, flags=re.M
    )
    rows, end, after = rest.partition("\n)\n")
    assert end
    path.write_text(f"{before}{named}{rows}\n{row.rstrip()}{end}{after}", encoding="utf-8")


def run_commands(section: str, project: Path, folder: Path) -> None:
    """Run a section's commands in ``folder`` by the code of ``project``."""
    environment = os.environ | {"PYTHONPATH": str(project)}
    (commands,) = re.findall(r"```bash\n(.*?)```", SECTIONS[section], re.DOTALL)
    for command in commands.splitlines():
        done = starter.run("-m", *shlex.split(command), kind="all", cwd=folder, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_a_table_of_the_page_has_a_section_for_each_of_its_rows() -> None:
    rows = re.findall(r"^\| (an? .+?) \|", PAGE, re.MULTILINE)
    assert [row.capitalize() for row in rows] == list(SECTIONS)
    assert len(rows) == 6


def test_a_defect_class(project, tmp_path) -> None:
    run_commands("A defect class", project, tmp_path)
    rows = pd.read_parquet(tmp_path / "bumps" / "manifest.parquet")
    assert set(rows["defect_class"]) - {""} == {"bump"}
    assert (rows["status"] == "accepted").any()


def test_a_quality_measure(project, tmp_path) -> None:
    run_commands("A quality measure", project, tmp_path)
    root = tmp_path / "centred"
    for table in ("manifest", "instances", "tries"):
        values = pd.read_parquet(root / f"{table}.parquet")["centre_x_fraction"].dropna()
        assert len(values)
        assert values.between(0, 1).all()
    assert "where the label&#39;s middle lies" in (root / "report.html").read_text("utf-8")
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = starter.run("docs/tabulate_columns.py", cwd=project, env=environment)
    assert done.returncode == 0, done.stderr
    for page in ("quality.md", "run-folder.md"):
        text = (project / "docs" / "reference" / page).read_text("utf-8")
        assert "| `centre_x_fraction` |" in text


def test_a_column(project, tmp_path) -> None:
    run_commands("A column of a run's tables", project, tmp_path)
    rows = pd.read_parquet(tmp_path / "told" / "manifest.parquet")
    assert rows["negative_prompt"].dtype.kind in "OT"


def test_a_backend_family(project, tmp_path) -> None:
    TINY["sd15"](tmp_path / "tiny")
    index = tmp_path / "tiny" / "base" / "model_index.json"
    parts = json.loads(index.read_text("utf-8")) | {"_class_name": "StableDiffusionPAGPipeline"}
    index.write_text(json.dumps(parts), encoding="utf-8")
    run_commands("A backend family", project, tmp_path)
    rows = pd.read_parquet(tmp_path / "pag" / "manifest.parquet")
    assert (rows["image"] != "").all()


def test_an_inspection_model(project, tmp_path) -> None:
    rows, draw = [], np.random.default_rng(0)
    for number in range(12):
        image = draw.normal(120, 6, (64, 64)).clip(0, 255).astype(np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        if number % 2:
            mask[20:30, 8 : 14 + number] = 255
            image[mask > 0] = 30
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        cv2.imwrite(str(tmp_path / f"{number}-mask.png"), mask)
        kind, split = ("pit", "good")[number % 2 == 0], ("train", "val")[number > 7]
        shown = f"{number}-mask.png" if number % 2 else ""
        rows.append((f"{number}.png", shown, kind, split, f"part{number}"))
    columns = ["image", "mask", "class", "split", "group"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "real.csv", index=False)
    run_commands("An inspection model", project, tmp_path)
    scores = pd.read_csv(tmp_path / "grey" / "utility.csv")
    assert set(scores["inspector"]) == {"grey"}
    assert scores["pixel_ap"].min() > 0.95


def test_an_export_format(project, tmp_path) -> None:
    run_commands("An export format", project, tmp_path)
    rows = pd.read_csv(tmp_path / "dataset" / "counts" / "counts.csv")
    assert len(rows) == len(list((tmp_path / "dataset" / "counts" / "images").iterdir())) > 0
