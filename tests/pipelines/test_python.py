"""synthgen from Python: the code of its page, and that it does what the commands do."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import synthgen
from synthgen.commands.call import translate_errors
from synthgen.errors import ConfigError, RunError
from tests.checkpoints import save_tiny_patch_model
from tests.cli import run_here, run_script, run_well

ROOT = Path(__file__).resolve().parents[2]
SMALL = {  # what the pages ask for, and what the tests paint
    # the run of an adapter is painted by what it adapts
    '"runs/own"},\n    {"source": "folder", "source.path": "photos", "run.count": 200}': (
        '"runs/own"},\n    {"source": "folder", "source.path": "photos", "run.count": 2}'
    ),
    '"run.count": 200': '"run.count": 4, "backend": "sketch"',
    '"run.count": 20}': '"run.count": 4, "backend": "sketch"}',
    '"adapt.steps": 250': '"adapt.steps": 1, "adapt.batch_size": 2, "adapt.crop_sizes_px": [32], '
    '"backend.model.checkpoint": "tiny", "adapt.threads": 1',
}
PAGE = "docs/how-to/python.md"
TINY = ("debug=smoke", "backend=sketch", "defect=[pit,scratch]")


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photos of good parts, and of scratched ones with masks."""
    for name in ("photos", "bad", "bad-masks"):
        (tmp_path / name).mkdir()
    for number in range(3):
        image = np.random.default_rng(number).normal(120, 8, (96, 128)).clip(0, 255)
        mask = np.zeros((96, 128), np.uint8)
        cv2.line(mask, (20, 20 + 9 * number), (70, 40), 255, 3)
        spoilt = np.where(mask > 0, 40, image)
        for name, pixels in (("photos", image), ("bad", spoilt), ("bad-masks", mask)):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), pixels.astype(np.uint8))
    return tmp_path


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> synthgen.Run:
    place = tmp_path_factory.mktemp("made") / "a run"
    return synthgen.generate(*TINY, {"run.folder": place}, quiet=True)


def test_code_of_the_page_runs_as_written(folder: Path) -> None:
    code = "\n".join(blocks(PAGE))
    for written, small in SMALL.items():
        code = code.replace(written, small)
    assert '": 200' not in code
    if '"tiny"' in code:
        save_tiny_patch_model(folder / "tiny")
    (folder / "page.py").write_text(code, encoding="utf-8")
    printed = run_script("page.py", cwd=folder)
    assert "dataset ['coco', 'yolo']" in printed
    assert (folder / "dataset" / "coco").is_dir()
    assert "did you mean run.count?" in printed


def test_plan_to_export_takes_twelve_lines() -> None:
    lines = [line for line in blocks(PAGE)[0].splitlines() if line]
    assert len(lines) <= 12
    assert "generate(" in " ".join(lines)
    assert "export(" in " ".join(lines)


def test_it_paints_what_the_command_paints(run, tmp_path) -> None:
    run_well("generate", *TINY, f"run.folder={tmp_path}/other")
    other = synthgen.open_run(tmp_path / "other")
    pd.testing.assert_frame_equal(run.manifest, other.manifest)
    pd.testing.assert_frame_equal(run.instances, other.instances)
    assert len(run.samples) == len(other.samples) == len(run.manifest) > 4
    for one, two in zip(run.samples, other.samples, strict=True):
        assert np.array_equal(one.image, two.image)
        assert np.array_equal(one.label, two.label)


def test_it_previews_what_the_command_previews(folder) -> None:
    asked = {"source": "folder", "source.path": folder / "photos", "defect": ["pit", "scratch"]}
    found = synthgen.preview(asked, "preview.count=4", {"run.folder": folder / "one"}, quiet=True)
    command = [f"source.path={folder}/photos", "source=folder", "defect=[pit,scratch]"]
    run_well("preview", *command, "preview.count=4", f"run.folder={folder}/two")
    one, two = ((folder / name / "preview.html").read_text() for name in ("one", "two"))
    assert re.sub(r"\bone<", "two<", one) == two
    assert any("No background seen" in sentence for sentence in found.sentences)
    assert str(found) == f"<Preview {folder}/one/preview.html: 4 of 72 defects>"
    shown = found._repr_html_()
    assert shown.count("<img") == 2 * 4
    assert shown.count("data:image/jpeg") == 2 * 4
    assert "scratch" in shown


def test_it_exports_what_the_command_exports(run, tmp_path) -> None:
    asked = {"run.folder": run.root, "format": ["coco", "semantic"]}
    written = synthgen.export(asked, {"out": tmp_path / "one"}, quiet=True)
    command = [f"run.folder={run.root}", "format=[coco,semantic]", f"out={tmp_path}/two"]
    run_well("export", *command)
    assert written.path == tmp_path / "one"
    assert written.formats == ["coco", "semantic"]
    assert len(written.labels) == run.accepted + run.counts["good"]
    assert str(written).startswith(f"<ExportResult {tmp_path}/one: ")
    files = sorted(p.relative_to(written.path) for p in written.path.rglob("*") if p.is_file())
    assert len(files) > 10
    for path in files:
        assert (written.path / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_a_sample_has_its_arrays(run) -> None:
    sample = next(one for one in run.samples if one.status == "accepted")
    assert sample.image.shape == sample.source.shape == (*sample.labels.size_hw, 3)
    assert sample.label.dtype == np.uint8
    assert set(np.unique(sample.label)) == {0, run.classes[sample.defect_class]}
    assert sample.mask.sum() == (sample.instances > 0).sum() == sample.row["area_px"]
    assert sample.requested.dtype == np.bool_
    changed = np.any(sample.image != sample.source, axis=2)
    assert changed[sample.mask].all()
    assert sample.measures["contrast_delta_e"] == sample.row["contrast_delta_e"]
    assert run.samples[sample.sample_id].sample_id == sample.sample_id
    assert [one.sample_id for one in run.samples[1:3]] == list(run.manifest["sample_id"][1:3])
    with pytest.raises(RunError, match="has no sample 'nobody' with an image"):
        run.samples["nobody"]


def test_counts_are_those_of_the_manifest(run) -> None:
    assert run.counts == run.manifest["status"].value_counts().to_dict()
    assert str(run) == (
        f"<Run {run.root}: {run.accepted} accepted, {run.rejected} rejected, "
        f"{run.counts['good']} good>"
    )
    assert run.duration_s is not None
    assert synthgen.open_run(run.root).duration_s is None


def test_other_limits(tmp_path) -> None:
    made = synthgen.generate(*TINY, {"run.folder": tmp_path / "run"}, quiet=True)
    none = synthgen.inspect({"run.folder": made.root, "quality.contrast_delta_e": [99, None]})
    assert made.accepted > 0
    assert none.accepted == 0
    assert synthgen.open_run(made.root).counts == none.counts


MISTAKES = [
    ("generate", ["run.cuont=3"]),
    ("generate", ["backend=sketsh"]),
    ("generate", ["run.count=0"]),
    ("generate", ["source=folder", "source.path=nowhere"]),
    ("generate", ["seed=1,2"]),
    ("export", ["out=out"]),
    ("export", ["run.folder=nowhere", "out=out"]),
    ("inspect", ["run.folder=nowhere"]),
    ("bank", ["out=bank", "real.path=nowhere"]),
    ("adapt", ["out=adapter", "real.path=nowhere"]),
]


@pytest.mark.parametrize(("command", "settings"), MISTAKES, ids=lambda v: str(v))
def test_mistakes_are_told_in_the_same_sentence(command, settings, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(synthgen.SynthgenError) as told:
        getattr(synthgen, command)(*settings)
    done = run_here(command, *settings)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"synthgen: {told.value}"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RunError("s3://me:secret@there is gone"), "s3://***@there is gone"),
        (PermissionError(13, "Permission denied", "/a"), "/a cannot be used: Permission denied"),
        (MemoryError("no 9 GiB"), "the memory of this machine is too small (no 9 GiB); ask for"),
    ],
)
def test_whatever_a_user_can_mend_is_an_error_of_synthgen(error, sentence) -> None:
    with pytest.raises(synthgen.SynthgenError, match=re.escape(sentence)), translate_errors():
        raise error


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["-m", "seed=1,2"], "-m is a flag of the command line; in Python"),
        ([{"seed=1": 2}], "'seed=1' is not a key"),
        ([{"run.count": {3}}], "run.count is given a set; give a text"),
        ([Path("runs/a")], "is not a setting: give texts such as 'run.count=20'"),
    ],
)
def test_what_is_no_setting_is_told(settings, sentence) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        synthgen.generate(*settings)


def test_values_need_no_quotes(tmp_path) -> None:
    place = tmp_path / 'a = "b", [c] {d}: ö'
    values = {"run.folder": place, "defect": ("pit",), "splits": {"train": np.float32(1)}}
    made = synthgen.generate(*TINY, values, {"seed": np.int64(3), "bank.path": None}, quiet=True)
    assert Path(made.root) == place
    assert set(made.manifest["defect_class"]) == {"pit", ""}
    assert set(made.manifest["split"]) == {"train"}
    assert made.record["config"]["seed"] == 3


def test_a_file_that_was_changed_is_told(run, tmp_path) -> None:
    made = synthgen.generate(*TINY, {"run.folder": tmp_path / "run"}, quiet=True)
    sample = made.samples[0]
    (tmp_path / "run" / str(sample.row["image"])).write_bytes(run.report.read_bytes())
    with pytest.raises(RunError, match="is not the file that was written"):
        _ = sample.image
    assert "Its pictures cannot be shown" in sample._repr_html_()
    table = made.instances.assign(class_id=77)
    table.to_parquet(tmp_path / "run" / "instances.parquet")
    with pytest.raises(RunError, match=r"instances\.parquet"):
        synthgen.open_run(tmp_path / "run")


def test_nothing_is_printed(folder, capfd) -> None:
    """On stdout nothing at all; on stderr what the command shows there, but where ``quiet``."""
    asked = (*TINY, {"run.folder": folder / "run"})
    synthgen.generate(*asked, quiet=True)
    export = {"run.folder": folder / "run", "out": folder / "out"}
    synthgen.export(export, quiet=True)
    real = {"real.path": folder / "bad", "real.masks": folder / "bad-masks"}
    real |= {"real.defect_class": "scratch", "out": folder / "bank"}
    assert synthgen.bank(real, quiet=True).notes
    assert capfd.readouterr() == ("", "")
    synthgen.generate(*asked)
    synthgen.bank(real)
    out, err = capfd.readouterr()
    assert out == ""
    assert "painting: 7 images, 7 are there already\n" in err
    assert "note: every image counts as a part of its own" in err


def test_it_runs_in_a_thread(tmp_path) -> None:
    made: list[synthgen.Run] = []
    place = {"run.folder": tmp_path / "run", "run.count": 2}
    work = threading.Thread(target=lambda: made.append(synthgen.generate(*TINY, place, quiet=True)))
    work.start()
    work.join()
    assert made[0].accepted > 0


def test_a_run_in_object_storage(bucket) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the server's library
        made = synthgen.generate(*TINY, {"run.folder": f"{bucket}/python"}, quiet=True)
        opened = synthgen.open_run(f"{bucket}/python")
        assert opened.root == made.root == f"{bucket}/python"
        assert opened.samples[0].image.shape[:2] == opened.samples[0].mask.shape
        assert opened._repr_html_().count("data:image/jpeg;base64,") == opened.accepted


def test_importing_loads_next_to_nothing() -> None:
    heavy = ("torch", "diffusers", "hydra", "omegaconf", "numpy", "pandas", "cv2", "pydantic")
    code = "import sys, synthgen; names = dir(synthgen); assert 'generate' in names; "
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import sys; from synthgen import open_run, generate, export, inspect, bank, adapt; "
    code += "print([name for name in ('torch', 'scipy', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in synthgen.__all__:
        assert getattr(synthgen, name).__name__ == name
        assert getattr(synthgen, name).__doc__
    assert set(synthgen.__all__) <= set(dir(synthgen))
    from synthgen.exporting import write  # a room of that name would hide the function

    assert callable(synthgen.export)
    assert write.ExportResult is synthgen.ExportResult
    with pytest.raises(AttributeError, match="no attribute 'generat'"):
        _ = synthgen.generat  # type: ignore[attr-defined]


def test_the_code_of_the_pages_is_typed(tmp_path) -> None:
    """mypy --strict, as a user runs it, on the pages' code, and on a mistake in it."""
    for page in ("README.md", "docs/how-to/python.md"):
        name = f"{Path(page).stem.lower()}_code.py"
        (tmp_path / name).write_text("\n".join(blocks(page)), encoding="utf-8")
    wrong = (
        "import synthgen\n\nsynthgen.generat('seed=1')\nx: int = synthgen.open_run('a').counts\n"
    )
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
    options = ("strict = true", "follow_imports = silent", "ignore_missing_imports = true")
    options += ("no_site_packages = true",)  # those of NumPy and pandas take minutes to read
    (tmp_path / "mypy.ini").write_text("\n".join(["[mypy]", *options]), encoding="utf-8")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "synthgen").symlink_to(ROOT / "synthgen")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "readme_code.py", "python_code.py", "wrong.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    assert [line.partition(":")[0] for line in lines] == ["wrong.py", "wrong.py"], done.stdout
    assert "generat" in lines[0]
    assert "int" in lines[1]
    assert (ROOT / "synthgen" / "py.typed").is_file()
