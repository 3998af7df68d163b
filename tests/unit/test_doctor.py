"""`synthgen doctor` as a process, in environments that lack or break something."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from synthgen.doctor.diagnose import without_names
from synthgen.doctor.features import FEATURES
from synthgen.doctor.packages import EXTRAS, PROGRAM, REQUIRED, install
from tests.checkpoints import save_tiny_stable_diffusion

ROOT = Path(__file__).resolve().parents[2]


def run_doctor(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "synthgen", "doctor", *arguments],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(folder / "hub"), "COLUMNS": "200"}
        | environment,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def put_package(folder: Path, name: str, metadata: str = "", code: str | None = None) -> None:
    """Install a package into a folder: its metadata, and its code where there is some."""
    info = folder / f"{name.replace('-', '_')}-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 9.9\n{metadata}")
    if code is not None:
        (folder / f"{name}.py").write_text(code)


@pytest.fixture(scope="module")
def well(tmp_path_factory) -> tuple[int, str, Path]:
    folder = tmp_path_factory.mktemp("well")
    models = folder / "home" / "models"
    tiny = save_tiny_stable_diffusion(models / "tiny")
    shutil.copytree(tiny / "controlnet", models / "edges")
    broken = Path(shutil.copytree(tiny, models / "broken"))
    shutil.rmtree(broken / "vae")
    out = (f"models={models}", "out=doctor.json")
    return *run_doctor(folder, *out, HOME=str(folder / "home")), folder


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> tuple[int, str]:
    """What is said where two OpenCVs, a package under the AGPL and the hub's cache are there."""
    folder = tmp_path_factory.mktemp("crowded")
    put_package(folder, "opencv-python")
    put_package(folder, "ultralytics", "License: AGPL-3.0\n")
    commit = "a" * 40
    snapshot = folder / "hub" / "models--some--one.more" / "snapshots" / commit
    save_tiny_stable_diffusion(snapshot)
    (snapshot / "README.md").write_text("---\nlicense: openrail\n---\n")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(commit)
    return run_doctor(folder, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}")


def test_it_says_what_is_there_and_what_runs(well) -> None:
    code, said, folder = well
    assert code == 0
    plain = json.loads((folder / "doctor.json").read_text())
    runs = {feature["name"]: feature["runs"] for feature in plain["features"]}
    assert plain["is_well"]
    assert runs["backend=embedded"]
    assert runs["backend=sketch"]
    assert runs["backend=diffusion"]  # there is a checkpoint for it
    assert runs["run.folder=s3://..."]  # by pyarrow
    assert "s3fs" not in said
    versions = {package["name"]: package["version"] for package in plain["packages"]}
    assert set(versions) >= {PROGRAM, *REQUIRED, *EXTRAS}
    models = {model["name"]: model for model in plain["models"]}
    assert models["embedded"]["licence"] == "Apache-2.0"
    assert models["~/models/tiny"]["class_name"] == "StableDiffusionControlNetInpaintPipeline"
    assert len(models["~/models/tiny"]["digest"]) == 16
    assert models["~/models/edges"]["class_name"] == "ControlNetModel"
    assert "'vae' is missing" in models["~/models/broken"]["error"]
    assert re.search(r"embedded\s.*licence Apache-2\.0, digest [0-9a-f]{16}", said)
    assert f"torch {versions['torch']}" in re.sub(" +", " ", said)


def test_every_feature_runs_or_names_what_mends_it(well) -> None:
    plain = json.loads((well[2] / "doctor.json").read_text())
    for row in plain["features"]:
        assert row["runs"] or (row["note"] and row["mend"]), row
    for package in plain["packages"]:
        assert bool(package["version"]) != bool(package["mend"]), package


def test_the_report_names_neither_home_nor_user(well) -> None:
    folder = well[2]
    text = (folder / "doctor.json").read_text()
    assert '"~/models/tiny"' in text
    assert str(folder / "home") not in text
    assert f"/{getpass.getuser()}/" not in text
    home = str(Path.home())
    assert without_names(f"{home}/a: {home}") == "~/a: ~"
    assert without_names(f"/data/{getpass.getuser()}/x") == "/data/<user>/x"


def test_without_torch_it_still_says_what_to_do(tmp_path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12: cannot open')\n")
    code, said = run_doctor(tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert code == 1
    assert re.search(r"backend=embedded\s+no, torch does not load: libcudart", said)
    assert re.search(r"backend=sketch\s+yes", said)


def test_without_any_package_of_the_extras(tmp_path) -> None:
    """The metadata finder shows one folder only: what pip would show in a small environment."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "real = m.MetadataPathFinder.find_distributions\n"
        f"hidden = {sorted(EXTRAS)!r}\n"
        "def find(context=m.DistributionFinder.Context()):\n"
        "    return (d for d in real(context)\n"
        "            if d.metadata['Name'].lower().replace('_', '-') not in hidden)\n"
        "m.MetadataPathFinder.find_distributions = staticmethod(find)\n"
    )
    code, said = run_doctor(tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert code == 0
    assert f"ray is not installed: pip install '{PROGRAM}[ray]'" in said
    assert "peft is not installed: pip install peft" in said
    for package in EXTRAS:
        assert re.search(rf"^{package}\s+not installed, pip install", said, re.MULTILINE), package


def test_two_opencvs_and_agpl_are_warned_about(crowded) -> None:
    code, said = crowded
    assert code == 0
    assert "opencv-python-headless and opencv-python are installed into one folder" in said
    assert "pip uninstall -y opencv-python-headless opencv-python && pip install" in said
    assert "ultralytics is under the AGPL" in said


def test_an_opencv_without_contents_is_found(tmp_path) -> None:
    (tmp_path / "cv2").mkdir()  # so it looks after one of two was removed
    (tmp_path / "cv2" / "__init__.py").write_text("")
    code, said = run_doctor(tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert code == 1
    assert "OpenCV does not work: module 'cv2' has no attribute '__version__'" in said
    assert re.search(r"backend=embedded\s+no, OpenCV does not work: pip uninstall", said)


def test_a_checkpoint_in_the_hubs_cache_is_listed(crowded) -> None:
    code, said = crowded
    assert code == 0
    assert re.search(r"some/one\.more\s.*licence openrail", said)
    assert re.search(
        r"backend=diffusion\s+yes, with backend\.model\.checkpoint=some/one\.more", said
    )


def test_help_and_a_wrong_folder(tmp_path) -> None:
    code, said = run_doctor(tmp_path, "--help")
    assert (code, "synthgen doctor out=doctor.json" in said) == (0, True)
    code, said = run_doctor(tmp_path, "models=gone")
    assert code == 2
    assert said.splitlines()[-1] == (
        "synthgen: models='gone' is not a folder; give one that holds checkpoints"
    )


def test_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for package, extra in EXTRAS.items():
        brings = [
            name
            for name, needs in extras.items()
            if name != "dev" and any(re.split(r"[\[<>=~! ]", need)[0] == package for need in needs)
        ]
        assert (extra in brings) if extra else (not brings), f"{package}: {brings}"
    needed = {re.split(r"[\[<>=~! ]", need)[0] for need in project["dependencies"]}
    assert set(REQUIRED) <= needed
    assert {name for needs in FEATURES.values() for name in needs} <= set(EXTRAS)
    assert install("torch") == f"pip install {PROGRAM}"
