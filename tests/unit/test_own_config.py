"""Configuration of one's own: found beside what ships, refused where it is misspelt."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import hydra
import pytest
import yaml
from omegaconf import OmegaConf

from synthgen.config.compose import compose, find_own_folders
from synthgen.config.foreign import list_shipped
from synthgen.config.objects import to_plain
from synthgen.errors import ConfigError
from synthgen.runs.renamed import RENAMED, find_moved, former_names, rename_config
from tests import starter
from tests.cli import run_here, run_well

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("debug=smoke", "backend=sketch")


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_documented(folder: Path) -> None:
    """Write the files of docs/how-to/configuration.md, by the names in their first lines."""
    page = (ROOT / "docs" / "how-to" / "configuration.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in blocks] == [
        "conf/defect/gouge.yaml",
        "line2.py",
        "conf/experiment/line2.yaml",
    ]
    for name, text in blocks:
        write(folder, name, text)


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """Return an empty folder to be in, without configuration in the home folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_what_the_page_shows_paints(own, monkeypatch) -> None:
    import pandas as pd

    write_documented(own)
    monkeypatch.syspath_prepend(str(own))
    run_well("generate", "experiment=line2", "backend=sketch", "run.folder=out", cwd=own)
    manifest = pd.read_parquet(own / "out" / "manifest.parquet")
    planned = manifest[manifest["defect_class"] != ""]
    assert len(planned) == 4
    assert set(planned["defect_class"]) == {"gouge", "scratch"}
    assert (planned.loc[planned["defect_class"] == "gouge", "class_id"] == 30).all()
    assert (planned["status"] == "accepted").any()


def test_three_folders_in_order(own, tmp_path) -> None:
    text = "defaults:\n  - sketch\nname: {}\n"
    write(own / "conf", "executor/mine.yaml", "here: 1\n")
    write(tmp_path / "home" / "synthgen", "executor/mine.yaml", "home: 1\n")
    write(tmp_path / "home" / "synthgen", "executor/other.yaml", "home: 1\n")
    write(tmp_path / "given", "executor/mine.yaml", text.format("given"))
    assert find_own_folders() == [own / "conf", tmp_path / "home" / "synthgen"]
    assert compose("generate", ["executor=mine"]).executor == {"here": 1}
    assert compose("generate", ["executor=other"]).executor == {"home": 1}
    given = find_own_folders(str(tmp_path / "given"))
    assert given[0] == tmp_path / "given"
    write(tmp_path / "given", "executor/mine.yaml", "given: 1\n")
    assert compose("generate", ["executor=mine"], given).executor == {"given": 1}


@pytest.mark.parametrize("flag", [["--config-dir", "my conf"], ["--config-dir=my conf"]])
@pytest.mark.parametrize(
    "show", [["--cfg", "job", "backend=mine"], ["backend=mine", "--cfg", "job"]]
)
def test_config_dir_may_stand_anywhere(own, flag, show) -> None:
    write(own / "my conf", "backend/mine.yaml", "defaults:\n  - sketch\nname: mine\n")
    for arguments in ([*flag, *show], [*show, *flag]):
        shown = run_well("generate", *arguments, cwd=own)
        assert "name: mine" in shown


def test_config_dir_works_in_a_real_run_and_a_sweep(own) -> None:
    flag = ["--config-dir", "my conf"]
    write(own / "my conf", "backend/mine.yaml", "defaults:\n  - sketch\n")
    run_well("generate", *flag, "backend=mine", "debug=smoke", "run.folder=out", cwd=own)
    assert (own / "out" / "manifest.parquet").is_file()
    sweep = ("hydra.sweep.dir=sweep", "seed=1", "run.folder=swept")
    arguments = ("generate", *flag, "-m", "backend=mine", "debug=smoke", *sweep)
    # In a process of its own: Hydra's sweeps set up logging for all of a process.
    done = starter.run("-m", "synthgen", *arguments, cwd=own)
    assert done.returncode == 0, done.stderr
    assert (own / "swept" / "manifest.parquet").is_file()


def test_a_config_dir_that_is_not_there(own) -> None:
    done = run_here("generate", "--config-dir=nowhere", *SMALL, cwd=own)
    assert done.returncode == 2
    assert done.stderr == "synthgen: --config-dir=nowhere: there is no such folder\n"


def test_a_folder_of_the_checkout_is_not_searched_twice(monkeypatch, own) -> None:
    monkeypatch.chdir(ROOT)
    assert find_own_folders() == []


@pytest.mark.parametrize(
    ("name", "overrides"),
    [("defect/pit.yaml", []), ("backend/embedded.yaml", []), ("debug/smoke.yaml", ["debug=smoke"])],
)
def test_a_file_with_the_name_of_a_shipped_one_is_refused(own, name, overrides) -> None:
    write(own / "conf", name, "x: 1\n")
    with pytest.raises(ConfigError, match=f"{name} is not read, .*another name"):
        compose("generate", overrides)


def test_what_would_not_count_anyway_does_no_harm(own) -> None:
    write(own / "conf", "backend/flux.yaml", "x: 1\n")  # not chosen
    write(own / "conf", "format/coco.yaml", "x: 1\n")  # no group of generate
    write(own / "conf", "generate.yaml", "x: 1\n")  # of another program
    assert compose("generate", []).backend.name == "embedded"


def test_an_experiment_of_former_keys_is_read(own, caplog) -> None:
    text = "# @package _global_\nbackend:\n  steps: 9\n  most_crop_px: 256\n"
    write(own / "conf", "experiment/old.yaml", text)
    backend = compose("generate", ["experiment=old"]).backend
    assert (backend.painting.steps, backend.crops.max_px) == (9, 256)
    assert "backend.most_crop_px is now backend.crops.max_px" in caplog.text


@pytest.mark.parametrize("source", ["procedural", "folder"])
@pytest.mark.parametrize("choice", ["debug=smoke", "experiment=metal"])
def test_recipes_go_with_every_source(own, choice, source) -> None:
    where = ["source.path=/photos"] if source == "folder" else []
    plain = to_plain(compose("generate", [choice, f"source={source}", *where]))
    is_drawn = source == "procedural"
    changed = {"debug=smoke": "size_hw", "experiment=metal": "kinds"}[choice]
    assert (changed in plain["source"]) == is_drawn
    assert plain["run"]["count"] == {"debug=smoke": 6, "experiment=metal": 400}[choice]


def test_smoke_is_small_and_metal_is_metal() -> None:
    source = compose("generate", ["experiment=metal", "debug=smoke"]).source
    assert source.size_hw == [96, 96]
    assert source.kinds == ["brushed", "cast", "ground", "rolled", "turned"]
    assert compose("generate", ["debug=smoke", "source.size_hw=[64,80]"]).source.size_hw == [64, 80]


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("experiment=metl", "experiment=metl is unknown; did you mean metal? choose from metal, "),
        ("debug=smok", "debug=smok is unknown; did you mean smoke?"),
        ("run.cuont=3", "run.cuont is not a key of generate; did you mean run.count?"),
        ("defect.scrach.weight=2", "did you mean defect.scratch.weight?"),
        ("backend.painting.stepz=3", "did you mean backend.painting.steps?"),
        ("backend.stepz=3", "did you mean backend.painting.steps?"),
        ("steps=3", "did you mean backend.painting.steps?"),
        ("+rnu.count=3", "rnu is not a key of generate; did you mean run?"),
        ("+run.cuont=3", "run.cuont is unknown; did you mean count?"),
        ("+backend.painting.stepz=3", "backend.painting.stepz is unknown; did you mean steps?"),
        ("+defect.pit.shape.radius_fractoin=[1,2]", "did you mean radius_fraction?"),
        ("+source.knds=[]", "source.knds is unknown or missing: did you mean kinds?"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_near_one(own, argument, text) -> None:
    done = run_here("generate", argument, "run.folder=out", cwd=own)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (own / "out").exists()


def test_a_setting_of_a_controlnet_is_near_one() -> None:
    from synthgen.backends.diffusion.backend import DiffusionBackend
    from synthgen.config.suggest import list_settings

    path = ("model", "controlnets", "canny")
    assert "scale" in list_settings(DiffusionBackend, path)


def test_an_experiment_of_ones_own_is_misspelt_inside(own) -> None:
    write(own / "conf", "experiment/mine.yaml", "# @package _global_\nrnu:\n  count: 3\n")
    with pytest.raises(ConfigError, match="rnu is not a key of generate; did you mean run"):
        compose("generate", ["experiment=mine"])
    with pytest.raises(ConfigError, match="experiment=min is unknown; did you mean mine"):
        compose("generate", ["experiment=min"])


@pytest.mark.parametrize(
    ("former", "now"),
    [
        (
            "synthgen.control.edges.canny_control",
            "synthgen.conditioning.control.edges.canny_control",
        ),
        ("synthgen.export.coco.Coco", "synthgen.exporting.formats.coco.Coco"),
        (
            "synthgen.backends.diffusion.DiffusionBackend",
            "synthgen.backends.diffusion.backend.DiffusionBackend",
        ),
    ],
)
def test_classes_that_moved_are_found_under_their_former_names(former, now) -> None:
    config = {"a": [{"_target_": former, "key": 1}]}
    assert rename_config(config) == {"a": [{"_target_": now, "key": 1}]}
    assert rename_config(rename_config(config)) == rename_config(config)
    assert find_moved(config) == {former: now}
    assert former_names(now) == [former]
    assert {former, now} <= list_shipped()
    assert hydra.utils.get_object(now)


def test_a_former_name_in_a_file_of_ones_own_is_told(tmp_path, caplog) -> None:
    (tmp_path / "executor").mkdir()
    (tmp_path / "executor" / "mine.yaml").write_text(
        "_target_: synthgen.runs.executor.LocalExecutor\n"
    )
    with caplog.at_level("WARNING"):
        config = compose("generate", ["executor=mine"], [tmp_path])
    assert config.executor._target_ == "synthgen.generation.executors.executor.LocalExecutor"
    assert "synthgen.runs.executor.LocalExecutor is now" in caplog.text


@pytest.mark.parametrize(
    ("pipeline", "former", "value", "now"),
    [
        ("generate", "gaps.share", 0.25, "missed.fraction"),
        ("generate", "bank.share", 0.25, "bank.fraction"),
        ("generate", "bank.donors", ["val"], "bank.splits"),
        ("generate", "bank.least_visible", 0.25, "bank.min_visible_fraction"),
        ("generate", "prompt.synonym_share", 0.25, "prompt.synonym_fraction"),
        ("generate", "quality.twin_bits", [5, None], "quality.near_duplicate_bits"),
        ("generate", "quality.donor_delta_e", [5, None], "quality.reference_delta_e"),
        ("generate", "defect.stain.shape.rim_share", 0.25, "defect.stain.shape.rim_fraction"),
        ("bank", "bank.least_area_px", 5, "bank.min_area_px"),
        ("adapt", "adapt.prior_share", 0.125, "adapt.prior_fraction"),
        ("adapt", "adapt.donors", ["val"], "adapt.splits"),
        ("pretrain", "pretrain.look_crops", 5, "pretrain.sheet_crops"),
        ("evaluate_fidelity", "evaluate.lessons", 99, "evaluate.examples"),
        (
            *("evaluate_utility", "evaluate.training.defect_share", 0.25),
            "evaluate.training.defect_fraction",
        ),
    ],
)
def test_former_keys_are_read_and_the_new_one_is_said(caplog, pipeline, former, value, now) -> None:
    given = str(value).replace("None", "null")
    needed = {"bank": ["out=b"], "adapt": ["out=a"], "pretrain": ["pretrain.folder=p"]}.get(
        pipeline, ["evaluate.folder=e", "evaluate.real.path=r"] if "eval" in pipeline else []
    )
    real = [f"real.path={former}"] if pipeline in ("bank", "adapt") else []
    if pipeline == "evaluate_fidelity":
        needed = ["evaluate.folder=e"]
    with caplog.at_level("WARNING"):
        config = compose(pipeline, [*needed, *real, f"{former}={given}"])
    assert OmegaConf.select(config, now) == value
    assert f"{former} is now {now}; the former name is read until" in caplog.text


def list_keys(node: object, key: str = "") -> set[str]:
    if not isinstance(node, dict):
        return {key}
    return {key}.union(*(list_keys(inner, f"{key}.{name}") for name, inner in node.items()))


def test_every_new_name_is_a_key_that_ships() -> None:
    files = list((ROOT / "conf").glob("*.yaml"))
    keys = {key for path in files for key in list_keys(yaml.safe_load(path.read_text()))}
    for group in ("defect", "quality", "backend"):
        for path in (ROOT / "conf" / group).glob("*.yaml"):
            keys |= list_keys(yaml.safe_load(path.read_text()), f".{group}")
    for now in RENAMED.values():
        inner = now.replace("defect.*.", "defect.*").replace("quality.classes.*.", "quality.")
        assert any(fnmatch.fnmatch(key, f".{inner}") for key in keys), now


def test_former_keys_in_an_experiment_of_ones_own(tmp_path, caplog) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ngaps:\n  path: misses.csv\n  share: 0.75\n"
    )
    with caplog.at_level("WARNING"):
        config = compose("generate", ["experiment=mine"], [tmp_path])
    assert (config.missed.path, config.missed.fraction) == ("misses.csv", 0.75)
    assert "gaps.share is now missed.fraction" in caplog.text
