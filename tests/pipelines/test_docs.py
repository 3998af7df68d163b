"""Every `synthgen` command in README and docs runs as it is written, in a folder with photos."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.checkpoints import put_into_hub
from tests.cli import run_here
from tests.families_unet import save_sdxl
from tests.starter import address_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("synthgen ")]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if commands(p)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_commands_run_as_written(page: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        image = np.random.default_rng(number).normal(120, 8, (96, 128)).clip(0, 255)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), image.astype(np.uint8))
        mask = np.zeros((96, 128), np.uint8)
        cv2.line(mask, (20, 20 + 9 * number), (70, 40), 255, 3)
        for folder, pixels in (("bad", np.where(mask > 0, 40, image)), ("bad-masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), pixels.astype(np.uint8))
    if any("backend=sdxl" in command for command in commands(page)):
        tiny = save_sdxl(tmp_path / "tiny")
        put_into_hub(tiny.base, tmp_path / "hub", "stabilityai/stable-diffusion-xl-base-1.0")
        put_into_hub(
            tiny.controlnets["canny"], tmp_path / "hub", "diffusers/controlnet-canny-sdxl-1.0"
        )
    for command in commands(page):
        if command.startswith("synthgen evaluate fidelity"):
            continue  # takes its time; test_fidelity runs it as it is written
        small = make_small(command)
        if page.name == "README.md" or command.startswith("synthgen review"):
            done = run_in_shell(small, tmp_path)
        else:
            done = run_here(*shlex.split(small)[1:], cwd=tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def make_small(command: str) -> str:
    """Return a command as it is written, but for few and fast samples."""
    small = command.replace("workers=8", "workers=2").replace(" backend.model.offline=false", "")
    if command.startswith("synthgen generate"):
        small += " run.count=4"
        is_painted = "backend." in command or "experiment=adapter" in command
        small += " backend.painting.steps=2" if is_painted else " backend=sketch"
    if command.startswith("synthgen adapt"):
        small += " adapt.steps=1 adapt.batch_size=2 adapt.crop_sizes_px=[64] adapt.threads=1"
        small += " adapt.choose=defaults"  # tests/unit/test_recipe_of_adapter.py tries ways
    if command.startswith("synthgen pretrain"):
        small += " pretrain.steps=1 pretrain.batch_size=2 pretrain.sheet_crops=2"
    if command.startswith("synthgen evaluate labels"):
        small += " evaluate.count=60"
    # tests/browser opens the App and looks at it
    return re.sub("^synthgen review run", "synthgen review push run", small)


def run_in_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a person does, each program in a process of its own."""
    start = f"{sys.executable} -S -E {ROOT / 'tests' / 'starter.py'} {address_of('all')}"
    program = folder / "bin" / "synthgen"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {start} -m synthgen "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "FIFTYONE_DATABASE_DIR": str(folder / "database"),
        "HF_HUB_CACHE": str(folder / "hub"),
    }
    return subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True
    )


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_no_page_is_long() -> None:
    long = {page.name: len(page.read_text(encoding="utf-8").splitlines()) for page in PAGES}
    assert not {name: lines for name, lines in long.items() if lines > 250}


def cells(page: str) -> list[str]:
    """Return the cells of a page's tables; those of code blocks are none."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    rows = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    parts = [re.findall(r"((?:`[^`]*`|\\.|[^|`])*)\|", row[1:]) for row in rows]
    return [cell.strip() for row in parts for cell in row]


def has_two_sentences(cell: str) -> bool:
    """Say whether something goes on behind a full stop, a question mark or a semicolon."""
    text = re.sub(r"`[^`]*`", "code", cell).replace("...", "")
    text = re.sub(r"\b(?:e\.g|i\.e|etc|vs)\.|&#?\w+;", "", text)
    return re.search(r"[.?!;]\s+\S", text) is not None


def test_sentences_are_counted_in_cells() -> None:
    code = "```text\n| no. cell |\n```"
    page = f"| It is. | `a | b. c` is, e.g. d. |\n|---|---|\n{code}\n| One. Two | a; b |"
    two = [cell for cell in cells(page) if has_two_sentences(cell)]
    assert two == ["One. Two", "a; b"]
    assert cells(page)[:2] == ["It is.", "`a | b. c` is, e.g. d."]


def test_no_cell_of_a_table_holds_two_sentences() -> None:
    long = [
        f"{page.relative_to(ROOT)}: {cell}"
        for page in PAGES
        for cell in cells(page.read_text(encoding="utf-8"))
        if has_two_sentences(cell)
    ]
    assert not long, "one sentence a cell; what needs more is a paragraph\n" + "\n".join(long)


def test_the_picture_of_the_flow_is_that_of_its_script() -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_flow.py"))
    path = ROOT / "docs" / "images" / "flow.svg"
    assert drawn["draw_flow"]() == path.read_text(encoding="utf-8")
    named = [one[-1] for one in (*drawn["STEPS"], *drawn["OUTPUTS"])]
    rooms = [*named, *(room for _, room, _ in drawn["INPUTS"]), "runs"]
    assert all((ROOT / "synthgen" / room).is_dir() for room in rooms)


def test_the_docs_name_every_class_and_measurement() -> None:
    from synthgen.defects import DEFECTS
    from synthgen.quality.limits import MEASURED

    defects = (ROOT / "docs" / "reference" / "defects.md").read_text(encoding="utf-8")
    quality = (ROOT / "docs" / "reference" / "quality.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in defects for name in DEFECTS)
    assert all(f"`{name}`" in quality for name in MEASURED)


def test_the_tables_on_utility_hold_the_scores_of_its_csv() -> None:
    path = ROOT / "docs" / "tabulate_utility.py"
    spec = importlib.util.spec_from_file_location("tabulate_utility", path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = pd.read_csv(ROOT / "docs" / "measured" / "utility.csv", dtype={"budget": str})
    for name in module.PAGES:
        page = (ROOT / "docs" / "measured" / name).read_text(encoding="utf-8")
        assert len(module.TABLE.findall(page)) >= 3
        assert module.write_tables(page, rows) == page
