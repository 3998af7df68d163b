"""What a backend is told and says of itself: one seam, four parts, former names of keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from synthgen.backends.backend import BackendInfo, SketchBackend
from synthgen.backends.diffusion.backend import DiffusionBackend, min_strength
from synthgen.backends.settings import ModelSettings
from synthgen.config.compose import compose
from synthgen.config.objects import build, to_plain
from synthgen.errors import ConfigError
from synthgen.runs.folder import open_run
from synthgen.runs.renamed import RENAMED, rename_config, rename_overrides
from synthgen.samples.sample import Attempt
from tests.backends import make_diffusion
from tests.cli import run_here

ROOT = Path(__file__).resolve().parents[2]
FORMER_OF_BACKEND = {
    former.removeprefix("backend."): now.removeprefix("backend.")
    for former, now in RENAMED.items()
    if former.startswith("backend.")
}


def to_former(config: dict) -> dict:
    """Return a config as version 0.1.0 wrote it: all keys of the backend side by side."""
    backend = dict(config["backend"])
    parts = {name: backend.pop(name) for name in ("model", "painting", "crops", "hardware")}
    for former, new in FORMER_OF_BACKEND.items():
        part, _, key = new.partition(".")
        backend[former] = parts[part][key]
    return {**config, "backend": backend}


def test_only_the_room_of_backends_asks_what_a_backend_is() -> None:
    asked = re.compile(r"getattr\(.*backend|isinstance\(.*DiffusionBackend|hasattr\(.*backend")
    files = [*(ROOT / "synthgen").rglob("*.py"), *(ROOT / "pipelines").glob("*.py")]
    outside = [f for f in files if "backends" not in f.relative_to(ROOT).parts]
    assert len(outside) > 100
    found = [f for f in outside if asked.search(f.read_text(encoding="utf-8"))]
    assert found == []


def test_what_a_backend_says_of_itself() -> None:
    assert SketchBackend().describe() == BackendInfo(name="sketch")
    info = DiffusionBackend(ModelSettings(checkpoint="embedded")).describe()
    assert info.checkpoint.startswith("embedded@")
    assert info.models["checkpoint"]["licence"] == "Apache-2.0"
    assert (info.cell_px, info.dtype, info.taught, info.reads) == (1, "float32", {}, ())
    assert info.why_not_whole == "diffusers has no pipeline for it with the embedded model"
    assert (info.tokenizers / "tokenizer" / "tokenizer_config.json").is_file()


@pytest.mark.parametrize("steps", range(1, 400))
def test_the_lowest_strength_runs_one_step(steps: int) -> None:
    assert int(steps * min_strength(steps)) == 1
    assert min_strength(steps) == pytest.approx(1 / steps)


@pytest.mark.parametrize("steps", [4, 49, 98, 103])
def test_a_whole_image_that_is_tried_again_runs_a_step(steps: int) -> None:
    backend = make_diffusion("embedded", steps=steps, strength=1)
    settings = backend._whole_settings(Attempt(boost=9).boost_of(is_whole=True))
    assert int(settings.steps * settings.strength) == 1


def test_rounding_alone_would_lose_the_step() -> None:
    assert [n for n in range(1, 110) if int(n * (1 / n)) == 0] == [49, 98, 103, 107]


@pytest.mark.parametrize("backend", ["embedded", "sd15", "flux"])
def test_a_config_under_former_names_is_the_same(backend: str) -> None:
    plain = dict(to_plain(compose("generate", [f"backend={backend}"])))
    former = to_former(plain)
    assert former["backend"].keys() == {"_target_", "name", *FORMER_OF_BACKEND}
    assert rename_config(former) == plain
    assert rename_config(plain) == plain


def test_another_backend_keeps_its_keys() -> None:
    own = {"backend": {"_target_": "mine.Painter", "steps": 3}}
    assert rename_config(own) == own


def test_former_keys_are_read_and_told(caplog) -> None:
    former = ["backend.steps=8", "backend.most_crop_px=256", "seed=1"]
    plain = to_plain(compose("generate", former))
    assert plain["backend"]["painting"]["steps"] == 8
    assert plain["backend"]["crops"]["max_px"] == 256
    assert caplog.messages == [
        "synthgen: backend.steps is now backend.painting.steps; the former name is read until "
        "version 0.3",
        "synthgen: backend.most_crop_px is now backend.crops.max_px; the former name is read "
        "until version 0.3",
    ]


def test_former_keys_of_controlnets_are_added_and_taken_out() -> None:
    net = "backend.controlnets.depth={checkpoint: /depth}"
    nets = compose("generate", ["backend=sd15", net]).backend.model.controlnets
    assert sorted(nets) == ["canny", "depth"]
    out = compose("generate", ["backend=sd15", "~backend.controlnets.canny"])
    assert out.backend.model.controlnets == {}
    assert rename_overrides(["+backend.loras.a.weight=1"])[1] == {
        "backend.loras": "backend.model.loras"
    }


def test_a_wrong_value_under_a_former_name_is_told_by_the_new(tmp_path, caplog) -> None:
    done = run_here("generate", "backend.strength=0", f"run.folder={tmp_path / 'run'}")
    assert done.returncode == 2
    assert "backend.strength is now backend.painting.strength" in caplog.text
    assert "synthgen: backend.painting.strength=0 with" in done.stderr


@pytest.mark.parametrize(
    ("part", "wrong", "text"),
    [
        ("painting", {"stepz": 3}, "backend.painting.stepz"),
        ("painting", {"init": "dream"}, "backend.painting.init='dream'"),
        ("crops", {"min_px": 0}, "backend.crops.min_px=0"),
        ("hardware", {"dtype": "int4"}, "backend.hardware.dtype='int4'"),
        ("model", {"loras": {"a": {}}}, "backend.model.loras.a.checkpoint"),
    ],
)
def test_a_wrong_setting_is_named_by_its_key(part: str, wrong: dict, text: str) -> None:
    config = compose("generate", [])
    node = to_plain(config)["backend"]
    with pytest.raises(ConfigError, match=text):
        build({**node, part: {**node[part], **wrong}}, "backend")


def test_a_run_with_a_record_of_former_names_goes_on(tmp_path) -> None:
    from synthgen.config.build import collect_facts, set_up

    config = compose("generate", ["debug=smoke", f"run.folder={tmp_path / 'run'}"])
    plain, job = dict(to_plain(config)), set_up(config)
    open_run(tmp_path / "run", to_former(plain), job.specs, collect_facts(job))
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert record["config"]["backend"]["steps"] == 4
    open_run(tmp_path / "run", plain, job.specs, collect_facts(job))  # continues
    other = to_plain(compose("generate", ["debug=smoke", "backend.painting.steps=8"]))
    with pytest.raises(Exception, match=r"backend\.painting\.steps=4, now it is 8"):
        open_run(tmp_path / "run", other, job.specs, collect_facts(job))
    free = ["debug=smoke", "backend.hardware.threads=1", "backend.hardware.paint_batch=2"]
    open_run(tmp_path / "run", to_plain(compose("generate", free)), job.specs, {})
