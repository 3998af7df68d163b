"""A config that cannot be right is one sentence that names its whole key, and writes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from synthgen.config.compose import compose
from synthgen.config.environment import to_stored
from synthgen.config.objects import to_plain
from synthgen.config.sections import check_values
from synthgen.errors import ConfigError, RunError
from synthgen.storage.places import open_storage
from tests.cli import run_here, run_well

SKETCH = ("backend=sketch", "run.folder=out")
BROKEN = [  # pipeline, override, what the sentence names
    ("generate", "++executor.a_b_c=1", "executor.a_b_c"),
    ("generate", "run=5", "run=5"),
    ("generate", "run=null", "run=null"),
    ("generate", "++mask=text", "mask='text'"),
    ("generate", "~mask", "~mask"),
    ("generate", "~run.count", "run.count"),
    ("generate", "~source", "~source"),
    ("generate", "source=null", "source=null"),
    ("generate", "backend=5", "backend=5"),
    ("generate", "++backend=5", "backend=5"),
    ("generate", "++backend=[1]", "backend=[1]"),
    ("generate", "++quality=5", "quality=5"),
    ("generate", "quality=null", "quality=null"),
    ("generate", "++defect.crack=true", "defect.crack=True"),
    ("generate", "++control.canny=7", "control.canny"),
    ("generate", "++nonsense.x=1", "nonsense"),
    ("generate", "++run.nonsense=1", "run.nonsense"),
    ("generate", "++label.cuont=1", "label.cuont"),
    ("generate", "++debug.nonsense=1", "debug"),
    ("generate", "++experiment={a: 1}", "experiment"),
    ("preview", "++backend.painting.nonsense=1", "backend.painting.nonsense"),
    ("preview", "backend.painting.strength=[[1]]", "backend.painting.strength"),
    ("preview", "++control.canny.nonsense=text", "control.canny.nonsense"),
    ("preview", "control.canny.blur_px={a: 1}", "control.canny.blur_px"),
    ("generate", "source.seed={a: 1}", "source.seed"),
    ("preview", "++executor.nonsense=1", "executor.nonsense"),
    ("preview", "backend._target_=-1", "backend._target_=-1"),
    ("preview", "executor=null", "executor"),
    ("preview", "control.canny._target_=[1]", "control.canny._target_=[1]"),
    ("preview", "seed=1e9", "source.seed"),
    ("generate", "source.size_hw={}", "source.size_hw"),
    ("generate", "++bank.deform.nonsense=1", "bank.deform.nonsense"),
    ("generate", "+source._args_=5", "source._args_"),
    ("generate", "source._target_=synthgen.defects.Pit", "source"),
    ("generate", "backend._target_=nothing.at.all", "backend._target_"),
    ("generate", "backend._target_=5", "backend._target_"),
    ("generate", "control.canny._target_=os.getcwd", "control.canny"),
    ("generate", "run.good_fraction=nan", "run.good_fraction=nan"),
    ("generate", "defect.pit.shape.contrast=[0.1,nan]", "defect.pit.shape.contrast.1=nan"),
    ("generate", "defect.pit.weight=inf", "defect.pit.weight=inf"),
    ("generate", "defect.pit.weight=1e308", "defect.pit.weight"),
    ("generate", "defect.pit.shape.radius_px=[1e-300,1]", "defect.pit.shape.radius_px.0"),
    ("generate", "quality.area_px=[nan,null]", "quality.area_px.0=nan"),
    ("generate", "seed=" + "9" * 30, "seed"),
    ("generate", "control.canny.blur_px=1e9", "control.canny.blur_px"),
    ("generate", "source.count=x", "source.count='x'"),
    ("generate", "source.size_hw=[100000,100000]", "source.size_hw"),
    ("generate", "run.retries=" + "[" * 60 + "1" + "]" * 60, "run.retries"),
    ("generate", "prompt.template='{0.__class__}'", "prompt.template"),
    ("generate", "prompt.template='{'", "prompt.template"),
    ("generate", "prompt.material='a\x01b'", "prompt.material"),
    ("generate", "run.folder=[1,2]", "run.folder=[1, 2]"),
    ("generate", "run.folder=null", "run.folder"),
    ("inspect", "++run.nonsense=1", "run.nonsense"),
    ("inspect", "run.folder={a: 1}", "run.folder"),
    ("report", "runs=5", "runs=5"),
    ("export", "out=[1]", "out=[1]"),
    ("export", "++format.coco=5", "format.coco"),
    ("bank", "out=null", "out"),
    ("doctor", "out=[1]", "out=[1]"),
    ("pretrain", "pretrain.folder={}", "pretrain.folder"),
    ("pretrain", "pretrain.learning_rate=nan", "pretrain.learning_rate=nan"),
    ("adapt", "++adapt.nonsense=1", "adapt.nonsense"),
    ("adapt", "real.defect_class=a/b", "real.defect_class='a/b' cannot be a defect's name"),
    ("evaluate utility", "evaluate.real.path=/x/real.csv", "evaluate.real.path='/x/real.csv'"),
]
NEEDED = {
    "export": ("run.folder=x", "out=y"),
    "inspect": ("run.folder=x",),
    "bank": ("real.path=x", "out=y"),
    "adapt": ("real.path=/", "real.masks=/", "out=y"),
    "evaluate utility": ("evaluate.folder=out",),
    "generate": SKETCH,
    "preview": ("run.folder=out",),
}


@pytest.mark.parametrize(("pipeline", "override", "named"), BROKEN, ids=lambda one: str(one)[:60])
def test_a_broken_config_is_one_sentence(tmp_path, pipeline, override, named) -> None:
    arguments = [*NEEDED.get(pipeline, ()), override]
    done = run_here(*pipeline.split(), *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert done.stderr.lstrip().startswith("synthgen: "), done.stderr
    assert named in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "what"),
    [(float("nan"), "finite"), (1e13, "large"), (1e-40, "small"), (10**30, "large"), ("a\0", "0")],
)
def test_values_that_nothing_takes_are_named_by_their_key(value, what) -> None:
    with pytest.raises(ConfigError, match=rf"^a\.1\.b.*{what}"):
        check_values({"a": [0, {"b": value}]})


@pytest.mark.parametrize(
    "address",
    ["http://a/b", "https://a/b", "ftp://a", "sftp://a/b", "github://a:b@/", "simplecache::s3://a"],
)
def test_other_addresses_are_not_opened(address) -> None:
    with pytest.raises(RunError, match="of a kind that is not opened"):
        open_storage(address)


def test_a_password_in_an_address_is_refused_and_not_said(tmp_path) -> None:
    done = run_here("report", "run.folder=s3://ann:secret@bucket/run", cwd=tmp_path)
    assert done.returncode == 2
    assert "secret" not in done.stderr
    assert "s3://***@bucket/run holds a user or a password" in done.stderr


def test_passwords_and_the_environment_do_not_get_into_run_yaml(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SYNTHGEN_TEST_METAL", "brushed secret")
    run = ("generate", "backend=sketch", "debug=smoke", "run.count=1", "run.folder=out")
    run += ("prompt.material=${oc.env:SYNTHGEN_TEST_METAL}", "source.size_hw=[64,64]")
    run += ("prompt.negative='see x://ann:secret@host'",)
    run_well(*run, cwd=tmp_path)
    text = (tmp_path / "out" / "run.yaml").read_text(encoding="utf-8")
    assert "secret" not in text
    config = yaml.safe_load(text)["config"]
    assert not {"experiment", "debug"} & set(config)
    assert config["prompt"]["material"] == "${oc.env:SYNTHGEN_TEST_METAL}"
    assert config["prompt"]["negative"] == "see x://***@host"
    run_well(*run, cwd=tmp_path)  # it continues, as one does whose version stored the value
    record = tmp_path / "out" / "run.yaml"
    resolved = text.replace("${oc.env:SYNTHGEN_TEST_METAL}", "brushed secret")
    record.write_text(resolved, encoding="utf-8")
    run_well(*run, cwd=tmp_path)
    record.write_text(resolved.replace("brushed", "dull"), encoding="utf-8")
    done = run_here(*run, cwd=tmp_path)
    assert done.returncode == 2
    assert "prompt.material=dull secret" in done.stderr
    record.write_text(text, encoding="utf-8")
    which = ("reproduce", "run.folder=out", "sample_id=abrasion-000000")
    done = run_here(*which, cwd=tmp_path)
    assert done.returncode == 2
    assert "'allow=[oc.env:SYNTHGEN_TEST_METAL]'" in done.stderr
    run_well(*which, "allow=[oc.env:SYNTHGEN_TEST_METAL]", cwd=tmp_path)


def test_the_environment_is_read_where_a_config_is_used(monkeypatch) -> None:
    monkeypatch.setenv("SYNTHGEN_TEST_SEED", "7")
    overrides = ["seed=${oc.decode:${oc.env:SYNTHGEN_TEST_SEED}}", "run.folder=${oc.env:HOME,x}"]
    config = compose("generate", overrides)
    assert to_plain(config)["seed"] == 7
    assert to_plain(config)["source"]["seed"] == 7
    assert to_plain(config)["run"]["folder"] == os.environ["HOME"]
    assert to_stored(config)["seed"] == "${oc.decode:${oc.env:SYNTHGEN_TEST_SEED}}"
    with pytest.raises(ConfigError, match="SYNTHGEN_TEST_NONE"):
        compose("generate", ["seed=${oc.env:SYNTHGEN_TEST_NONE}"])


def test_what_the_disk_refuses_is_a_sentence(tmp_path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    done = run_here("doctor", f"out={tmp_path / 'file' / 'x.json'}", cwd=Path(tmp_path))
    assert done.returncode == 2
    assert str(tmp_path / "file") in done.stderr
