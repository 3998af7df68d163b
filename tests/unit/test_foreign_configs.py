"""Nothing that the config of somebody's run names is run, but what ships with synthgen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthgen.backends.diffusion.loading import set_scheduler
from synthgen.config.foreign import check_buildable, list_shipped
from synthgen.errors import ConfigError, RunError
from tests.cli import run_here, run_well

AUGMENT = "synthgen.conditioning.augment.AlbumentationsAugment"
BY_NAME = "synthgen.conditioning.control.functions.function_control"

WRITTEN = Path(__file__).resolve().parents[1] / "data" / "run-0.1.0"
ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "sample_id=good-000008"
RAN = "ran.txt"
TRAP = f"""
from pathlib import Path
def trap(*args, **kwargs):
    Path({RAN!r}).write_text("ran")
def flat(image):
    return image.max(axis=2)
Path("imported.txt").write_text("imported")
"""
POPEN = {"_target_": "psutil.Popen", "args": ["touch", RAN]}
TARGETS: list[dict[str, Any]] = [
    POPEN,
    {"_target_": "traps.trap"},
    {"_target_": "os.system", "command": f"touch {RAN}"},
    {"_target_": "pandas.read_pickle", "filepath_or_buffer": "evil.pkl"},
    {"_target_": "torch.hub.load", "repo_or_dir": ".", "model": "x", "source": "local"},
    {"_target_": "synthgen.storage.files.os.system", "command": f"touch {RAN}"},
    {"_target_": "synthgen.storage.places.write_bytes", "path": RAN, "data": "x"},
    {"_target_": "synthgen.config.compose.hydra.utils.call", "config": POPEN},
    {"_target_": ["os", "system"]},
]
NODES = (
    *("backend", "source", "control.canny", "defect.burn.shape", "augment.source"),
    *("augment.finish", "executor", "backend.inner.deep", "source.kinds", "prompt.template"),
)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """Return a run in a folder that Python imports from, where a trap waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "traps.py").write_text(TRAP, encoding="utf-8")
    return Path(shutil.copytree(WRITTEN, tmp_path / "run"))


def put(run: Path, key: str, value: Any) -> None:
    """Write a value into the run's config."""
    record = yaml.safe_load((run / "run.yaml").read_text(encoding="utf-8"))
    node = record["config"]
    *path, last = key.split(".")
    for part in path:
        node = node.setdefault(part, {})
    node[last] = value
    (run / "run.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")


def assert_not_run(run: Path, *words: str) -> None:
    done = run_here("reproduce", f"run.folder={run}", SAMPLE)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("synthgen: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert {path.name for path in Path.cwd().iterdir()} <= {"run", "traps.py", "__pycache__"}


PLACES = [("backend", one) for one in TARGETS] + [(key, TARGETS[1]) for key in NODES[1:]]


@pytest.mark.parametrize(("key", "target"), PLACES, ids=lambda one: str(one))
def test_a_target_of_others_is_not_built(run, key, target) -> None:
    put(run, key, target)
    assert_not_run(run, "_target_", "run.yaml", "allow=[")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source.kinds", [POPEN]),
        ("backend.x", [[{"a": [POPEN]}]]),
        ("defect.burn.shape", {"_target_": "synthgen.defects.Pit", "depth": POPEN}),
        ("augment.source", {"_target_": AUGMENT, "t": [POPEN]}),
        ("quality.x", {"a": {"b": {"c": POPEN}}}),
    ],
)
def test_nor_one_that_lies_deeper(run, key, value) -> None:
    put(run, key, value)
    assert_not_run(run, "'psutil.Popen'")


@pytest.mark.parametrize(
    "value",
    ["${run.hidden}", '${oc.decode:"{_target_: psutil.Popen}"}', "${oc.env:HOME}", "x ${oc.env:A}"],
)
def test_a_reference_is_not_followed(run, value) -> None:
    put(run, "source", value)
    assert_not_run(run, "source='", "is a reference")


@pytest.mark.parametrize("function", ["os:system", "traps:flat", "", None, ["os:system"]])
def test_a_function_of_others_is_not_imported(run, function) -> None:
    node = {"_target_": BY_NAME, "function": function}
    put(run, "control.canny", node | {"kind": "dense"})
    assert_not_run(run, "control.canny.function=", "allow=[")


@pytest.mark.parametrize("order", ["_args_", "_partial_", "_recursive_", "_convert_"])
def test_no_other_order_to_hydra_is_taken(run, order) -> None:
    node = {"_target_": BY_NAME, "function": "traps:flat"}
    put(run, "control.canny", node | {"kind": "dense", order: ["traps:flat", "dense"]})
    done = run_here("reproduce", f"run.folder={run}", SAMPLE, "allow=[traps:flat]")
    assert done.returncode == 2
    assert f"control.canny.{order}" in done.stderr


def test_aliases_that_multiply_and_circles_end(run) -> None:
    lines = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)]
    record = yaml.safe_load((run / "run.yaml").read_text(encoding="utf-8"))
    for text in ("\n".join(lines), "x: &x [*x]"):
        bomb = yaml.safe_load(text)
        with pytest.raises(RunError, match="too large or nested too deep"):
            check_buildable(record["config"] | bomb, (), str(run))


@pytest.mark.parametrize("config", [None, [], "x", 3])
def test_a_config_that_is_none(run, config) -> None:
    with pytest.raises(RunError, match="holds no config"):
        check_buildable(config, (), str(run))


def test_a_function_that_is_named_again_is_called(run) -> None:
    node = {"_target_": BY_NAME, "function": "traps:flat"}
    put(run, "control.canny", node | {"kind": "dense"})
    run_well("reproduce", f"run.folder={run}", SAMPLE, "allow=[traps:flat]")
    assert Path("imported.txt").is_file()


def test_a_class_that_is_named_again_is_built(run) -> None:
    module = "from synthgen.backends.backend import SketchBackend\nclass Own(SketchBackend): ...\n"
    Path("painters.py").write_text(module, encoding="utf-8")
    put(run, "backend", {"_target_": "painters.Own"})
    done = run_here("reproduce", f"run.folder={run}", SAMPLE)
    assert "'allow=[painters.Own]'" in done.stderr
    run_well("reproduce", f"run.folder={run}", SAMPLE, "allow=[painters.Own]")


def test_an_allowed_name_allows_no_other(run) -> None:
    put(run, "backend", POPEN)
    done = run_here("reproduce", f"run.folder={run}", SAMPLE, "allow=[psutil,traps.trap]")
    assert done.returncode == 2
    assert not Path(RAN).exists()


def test_what_ships_is_known() -> None:
    known = list_shipped()
    assert {"synthgen.defects.Crack", "synthgen.defects.crack.Crack"} <= known
    assert "synthgen.backends.diffusion.backend.DiffusionBackend" in known
    assert all(name.startswith("synthgen.") for name in known)
    assert len(known) >= 38


def test_a_run_that_would_download_stays_offline(run) -> None:
    node = yaml.safe_load((ROOT / "conf" / "backend" / "embedded.yaml").read_text(encoding="utf-8"))
    node["model"] |= {"checkpoint": "nobody/nothing", "offline": False}
    put(run, "backend", node)
    assert_not_run(run, "no model of that name", "in the hub's cache")


@pytest.mark.parametrize("name", ["DiffusionPipeline", "logging", "nothing", "__name__"])
def test_a_scheduler_is_one_of_diffusers(name) -> None:
    with pytest.raises(ConfigError, match="is not a scheduler of diffusers"):
        set_scheduler(None, name)
