"""The notebooks run from top to bottom in a kernel of Jupyter, on few and small pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PAINT = '"backend.hardware.threads": 1'
SMALL = {  # what stands behind the cell of settings
    "first_run.ipynb": f"""
        COUNT = 6
        MORE = {{"defect": ["pit", "scratch"], {PAINT}}}
    """,
    "few_defects.ipynb": f"""
        COUNT, ADAPT_STEPS, TRAIN_STEPS = 5, 1, 4
        MORE = {{"quality": "off", {PAINT}}}
        MORE_ADAPT = {{"adapt.batch_size": 2, "adapt.crop_sizes_px": [32], "adapt.threads": 1}}
    """,
}
SHOWN = {  # pictures at least: of figures, and of previews, runs and samples
    "first_run.ipynb": (3, 5),
    "few_defects.ipynb": (7, 1),
}
STAGES = {
    "first_run.ipynb": {"synthgen.preview(": "drawing", "synthgen.generate(": "painting"},
    "few_defects.ipynb": {
        "synthgen.bank(": "cutting",
        "synthgen.adapt(": "learning",
        "synthgen.generate(": "painting",
        "synthgen.train_inspector(": "training",
    },
}


@pytest.fixture(scope="module", params=sorted(SMALL))
def executed(request, tmp_path_factory) -> nbformat.NotebookNode:
    """A notebook after it has run, each cell with its outputs, in a folder without photos."""
    notebook = nbformat.read(FOLDER / request.param, as_version=4)
    notebook.metadata["name"] = request.param
    settings = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    lines = (line.strip() for line in SMALL[request.param].splitlines())
    settings.source += "\n".join(["", *filter(None, lines)])
    place = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    NotebookClient(notebook, kernel_name="python3", timeout=900, resources=place).execute()
    return notebook


def list_data(notebook: nbformat.NotebookNode, kind: str) -> list[tuple[str, str]]:
    """Return the source of its cell and the content of each output of a kind."""
    outputs = [(cell.source, one) for cell in notebook.cells for one in cell.get("outputs", ())]
    return [(source, one.data[kind]) for source, one in outputs if kind in one.get("data", {})]


def test_pictures_came(executed) -> None:
    figures, tiles = SHOWN[executed.metadata["name"]]
    assert len(list_data(executed, "image/png")) >= figures
    shown = "".join(html for _, html in list_data(executed, "text/html"))
    assert len(re.findall('<img src="data:image/jpeg;base64,/9j/', shown)) >= tiles


def test_progress_was_shown(executed) -> None:
    told = list_data(executed, "text/plain")
    for call, stage in STAGES[executed.metadata["name"]].items():
        texts = [text for source, text in told if call in source and stage in text]
        assert any(re.search(rf"{stage}.*█.* of ", text) for text in texts), (call, told)


def test_nothing_was_complained_about(executed) -> None:
    streams = [
        one.text
        for cell in executed.cells
        for one in cell.get("outputs", ())
        if one.output_type == "stream" and one.name == "stderr"
    ]
    assert "Warning" not in "".join(streams)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_notebook_is_kept_small_and_without_outputs(name: str) -> None:
    path = FOLDER / name
    cells: list[Any] = nbformat.read(path, as_version=4).cells
    assert path.stat().st_size < 30_000
    for cell in cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
