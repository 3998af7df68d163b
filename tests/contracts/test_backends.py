"""One suite for every backend: the sketch, the embedded model, a Stable Diffusion checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from synthgen.backends.backend import Backend, SketchBackend
from synthgen.backends.checkpoints.find import checkpoint_digest, find_checkpoint
from synthgen.errors import ConfigError, ModelError
from synthgen.samples.sample import Attempt
from tests.backends import make_diffusion
from tests.checkpoints import save_tiny_patch_model, save_tiny_stable_diffusion
from tests.samples import draw_conditions


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "patch": save_tiny_patch_model(root / "patch"),
        "stable": save_tiny_stable_diffusion(root / "stable"),
    }


@pytest.fixture(params=["sketch", "patch", "stable", "embedded"])
def backend(request, folders) -> Backend:
    if request.param == "sketch":
        return SketchBackend()
    if request.param == "embedded":
        return make_diffusion("embedded", steps=4)
    size = 128 if request.param == "stable" else None
    return make_diffusion(str(folders[request.param]), steps=4, resolution_px=size)


def inputs(backend: Backend, count: int = 3, **options):
    return draw_conditions(
        "scratch", "stain", count=count, cell_px=backend.describe().cell_px, **options
    )


def test_images_come_in_order_and_size(backend) -> None:
    conditions = inputs(backend, size=136)
    images = backend.paint(conditions)
    assert [image.shape for image in images] == [c.image.shape for c in conditions]
    assert all(image.dtype == np.uint8 for image in images)


def test_nothing_outside_the_repaint_mask_changes(backend) -> None:
    conditions = inputs(backend)
    for condition, image in zip(conditions, backend.paint(conditions), strict=True):
        changed = np.any(image != condition.image, axis=2)
        assert not (changed & ~condition.repaint_mask).any()
        assert changed[condition.defect_mask].mean() > 0.3


def test_a_batch_equals_single_calls_in_any_order(backend) -> None:
    conditions = inputs(backend)
    together = backend.paint(conditions)
    alone = [backend.paint([condition])[0] for condition in reversed(conditions)][::-1]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_no_conditions_no_images(backend) -> None:
    assert backend.paint([]) == []


def test_a_defect_at_the_border_and_an_image_smaller_than_the_crop(backend) -> None:
    conditions = inputs(backend, count=4, size=72)
    assert all(image.shape == (72, 72, 3) for image in backend.paint(conditions))


@pytest.mark.parametrize("name", ["patch", "stable"])
def test_another_attempt_paints_another_image(folders, name) -> None:
    from dataclasses import replace

    backend = make_diffusion(str(folders[name]), steps=4, resolution_px=128)
    condition = inputs(backend, count=1)[0]
    again = replace(condition, attempt=Attempt(1))
    assert not np.array_equal(backend.paint([condition])[0], backend.paint([again])[0])


@pytest.mark.parametrize("name", ["patch", "stable"])
def test_the_control_image_and_the_prompt_count(folders, name) -> None:
    from dataclasses import replace

    backend = make_diffusion(str(folders[name]), steps=4, resolution_px=128, init="noise")
    condition = inputs(backend, count=1)[0]
    blank = replace(condition, controls={"canny": np.zeros_like(condition.control_image)})
    other = replace(condition, spec=replace(condition.spec, prompt="metal metal metal"))
    image = backend.paint([condition])[0]
    assert not np.array_equal(image, backend.paint([blank])[0])
    assert not np.array_equal(image, backend.paint([other])[0])


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "UniPCMultistepScheduler"])
@pytest.mark.parametrize("name", ["patch", "stable"])
def test_schedulers_by_name(folders, name, scheduler) -> None:
    backend = make_diffusion(str(folders[name]), steps=4, resolution_px=128, scheduler=scheduler)
    conditions = inputs(backend, count=1)
    assert np.array_equal(backend.paint(conditions)[0], backend.paint(conditions)[0])


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"strength": 0}, "strength"),
        ({"strength": 0.1, "steps": 4}, "strength"),
        ({"init": "photo"}, "init"),
        ({"dtype": "float8"}, "dtype"),
        ({"resolution_px": 100}, "resolution_px"),
        ({"scheduler": "NoScheduler"}, "scheduler"),
    ],
)
def test_impossible_settings_name_the_key(folders, wrong, key) -> None:
    with pytest.raises(ConfigError, match=rf"backend\.(painting|crops|hardware)\.{key}"):
        make_diffusion(str(folders["patch"]), **wrong).load()


def test_what_is_no_checkpoint(tmp_path, folders) -> None:
    with pytest.raises(ModelError, match="not a diffusers folder"):
        find_checkpoint(str(tmp_path))
    broken = shutil.copytree(folders["patch"], tmp_path / "broken")
    shutil.rmtree(broken / "unet")
    with pytest.raises(ModelError, match="'unet' is missing"):
        find_checkpoint(str(broken))
    pickled = shutil.copytree(folders["patch"], tmp_path / "pickled")
    weights = pickled / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelError, match="pickle"):
        find_checkpoint(str(pickled))
    cut = shutil.copytree(folders["patch"], tmp_path / "cut")
    weights = cut / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="does not load"):
        make_diffusion(str(cut)).load()


def test_the_digest_follows_the_weights(tmp_path, folders) -> None:
    copy = shutil.copytree(folders["patch"], tmp_path / "copy")
    assert checkpoint_digest(copy) == checkpoint_digest(folders["patch"])
    (copy / "scheduler" / "scheduler_config.json").write_text("{}")
    assert checkpoint_digest(copy) != checkpoint_digest(folders["patch"])
