"""controlnet-aux: aligned to the pixel whatever it rounds to; weights from a local folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from synthgen.conditioning.control.annotators import DETECTORS, _read_weights, aux_control
from synthgen.conditioning.control.dense import DenseControl
from synthgen.config.compose import compose
from synthgen.config.objects import build
from synthgen.errors import ConfigError, ModelError
from tests import starter

pytest.importorskip("timm")

PRESETS = {"lineart_standard": "lineart_standard", "depth": "midas", "softedge": "pidinet"} | {
    name: name for name in ("hed", "lineart", "mlsd", "pidinet")
}
SAVE = """
import importlib, sys, torch
from synthgen.conditioning.control.annotators import DETECTORS
LOUDER = {  # last layers, so that what is random is also visible: what they hold * and +
    "classifier.weight": (100, 0),
    "block23.conv3.weight": (20, 0),
    "scratch.output_conv.4.bias": (0, 2),
}
for name, detector in DETECTORS.items():
    for net in detector.nets:
        made = getattr(importlib.import_module(f"controlnet_aux.{net.module}"), net.name)
        torch.manual_seed(0)
        state = made(**net.arguments).half().state_dict()
        for key, (factor, more) in LOUDER.items():
            if key in state:
                state[key] = factor * state[key] + more
        if name == "pidinet":  # as it is published: of a training run on several GPUs
            state = {"state_dict": {f"module.{key}": value for key, value in state.items()}}
        torch.save(state, f"{sys.argv[1]}/{net.file}")
"""
MEASURE = """
import json, cv2, numpy as np, sys
from synthgen.config.compose import compose
from synthgen.config.objects import build
from synthgen.errors import ModelError
folder, names = sys.argv[1], json.loads(sys.argv[2])
noise = np.random.default_rng(0).normal(128, 60, (200, 240, 3))
scene = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
scene = scene.astype(np.uint8)
cv2.circle(scene, (150, 120), 30, (255, 255, 255), 3)

def make(name, folder):
    own = [] if name == "lineart_standard" else [f"control.{name}.folder={folder}"]
    node = compose("generate", [f"control={name}", *own]).control[name]
    return build(node, name).annotate

def alike(one, other):
    return float(np.corrcoef(one.max(axis=2).ravel(), other.max(axis=2).ravel())[0, 1])

found = {}
for name in names:
    annotate = make(name, folder)
    one, other = annotate(scene[:150, :203]), annotate(scene[16:166, 16:219])
    again = annotate._loaded
    view = other[30:104, 30:157]  # away from the borders
    shifts = {
        shift: alike(one[30 + shift : 104 + shift, 30 + shift : 157 + shift], view)
        for shift in range(10, 23)
    }
    spotted = scene[:150, :203].copy()
    spotted[90:98, 40:48] = 255 - spotted[90:98, 40:48]
    change = np.abs(annotate(spotted).astype(float) - one).max(axis=2)
    where = np.unravel_index(cv2.blur(change, (9, 9)).argmax(), change.shape)
    annotate(np.full((70, 31, 3), 90, np.uint8))  # an even image, smaller than a step
    found[name] = {
        "shape": one.shape,
        "dtype": str(one.dtype),
        "levels": len(np.unique(one)),
        "shift": max(shifts, key=shifts.get),
        "alike": max(shifts.values()),
        "spot": [int(value) for value in where],
        "loaded_once": again is annotate._loaded,
    }
swapped = sys.argv[3]
try:
    make("hed", swapped)(scene)
except ModelError as error:
    found["swapped"] = str(error)
print(json.dumps(found))
"""


def run_apart(code: str, *arguments: str) -> str:
    """Run in a process of its own: importing controlnet-aux warns, and changes timm's registry."""
    done = starter.run("-c", code, *arguments, kind="all")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What every detector draws with random weights, from files of the published form."""
    folder, swapped = (tmp_path_factory.mktemp(name) for name in ("weights", "swapped"))
    (swapped / "ControlNetHED.pth").symlink_to(folder / "sk_model.pth")
    given = (str(folder), json.dumps(list(PRESETS)), str(swapped))
    told = run_apart(SAVE + MEASURE, *given)
    for file in folder.iterdir():  # MiDaS alone is 250 MB
        file.unlink()
    return json.loads(told.splitlines()[-1])


@pytest.mark.parametrize("name", PRESETS)
def test_a_shifted_image_gives_an_equally_shifted_map(found, name) -> None:
    told = found[name]
    assert told["shape"][:2] == [150, 203]
    assert told["dtype"] == "uint8"
    assert told["levels"] > 1
    assert told["shift"] == 16
    assert told["alike"] > 0.7
    assert told["loaded_once"]


@pytest.mark.parametrize("name", ["lineart_standard", "lineart", "hed", "pidinet", "depth"])
def test_the_map_changes_where_the_image_does(found, name) -> None:
    row, column = found[name]["spot"]
    assert max(abs(row - 94), abs(column - 44)) <= 12


def test_the_safe_soft_edge_has_few_levels(found) -> None:
    assert found["softedge"]["levels"] <= 4
    assert found["pidinet"]["levels"] > 10


def test_weights_of_another_detector(found) -> None:
    assert "ControlNetHED.pth holds other weights than control 'hed' has" in found["swapped"]


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "lineart_standard"])
def test_missing_weights_name_the_file(tmp_path, name) -> None:
    file = DETECTORS[PRESETS[name]].nets[0].file
    node = compose("generate", [f"control={name}", f"control.{name}.folder={tmp_path}"]).control
    with pytest.raises(ModelError, match=rf"{file}.*{tmp_path}"):
        build(node[name], name)


def test_only_one_of_two_files(tmp_path) -> None:
    (tmp_path / "sk_model.pth").touch()
    with pytest.raises(ModelError, match=r"sk_model2\.pth"):
        aux_control("lineart", str(tmp_path))


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("content", ["pickle", "text", "nothing"])
def test_files_that_are_not_safe_to_load(tmp_path, monkeypatch, content) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "ControlNetHED.pth"
    if content == "pickle":
        torch.save({"block1.weight": Bomb()}, file)
    else:
        file.write_bytes(b"<html>" if content == "text" else b"")
    with pytest.raises(ModelError, match=r"ControlNetHED\.pth is not a file of weights.*again"):
        _read_weights(file)
    assert not Path("exploded").exists()


def test_unknown_detectors_and_options() -> None:
    with pytest.raises(ConfigError, match="'sobel' is unknown; choose from lineart_standard"):
        aux_control("sobel")
    with pytest.raises(ConfigError, match="no option 'sigma'; it has guassian_sigma"):
        aux_control("lineart_standard", options={"sigma": 3})


def test_depth_is_a_dense_map(tmp_path) -> None:
    (tmp_path / DETECTORS["midas"].nets[0].file).touch()
    assert isinstance(aux_control("midas", str(tmp_path)), DenseControl)
