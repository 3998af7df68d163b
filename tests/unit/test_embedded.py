"""The embedded model's pipeline, and its training from nothing."""

from __future__ import annotations

import csv
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from synthgen.backends.diffusion.patch_inpaint import (
    PatchControlNetInpaintPipeline,
    decode_patches,
    encode_patches,
)
from synthgen.errors import ConfigError, ModelError, RunError, SourceError
from synthgen.imaging.optics import Optics, estimate_optics
from synthgen.planning.prompts import vocabulary
from synthgen.sources.surfaces import draw_surface
from synthgen.training.crops import draw_crops
from synthgen.training.embedded import build_tokenizer
from synthgen.training.features import CriticLoss, FeatureLoss, load_features
from synthgen.training.learner import (
    PARTS,
    Learner,
    LossSettings,
    _draw_timesteps,
    change_loss,
    load_state,
    stack_crops,
)
from synthgen.training.photos import PhotoFolder, Photos, SurfaceView, draw_camera
from synthgen.training.pretrain import PretrainSettings, _Batches, _noise_levels, pretrain
from synthgen.training.pretrain_settings import is_stored
from synthgen.training.real_examples import RealExamples, RealFolder
from tests.checkpoints import save_tiny_patch_model


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> PatchControlNetInpaintPipeline:
    folder = save_tiny_patch_model(tmp_path_factory.mktemp("patch") / "model")
    loaded = PatchControlNetInpaintPipeline.from_pretrained(folder, local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def call(pipeline, size=64, **changes):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8))
    mask = np.zeros((size, size), np.uint8)
    mask[10:30, 10:31] = 255
    values = {
        "prompt": "scratch",
        "image": image,
        "mask_image": Image.fromarray(mask),
        "control_image": Image.fromarray(np.zeros((size, size, 3), np.uint8)),
        "num_inference_steps": 3,
        "generator": torch.Generator().manual_seed(0),
        "output_type": "np",
    }
    return pipeline(**(values | changes)).images[0], np.asarray(image), mask > 0


def test_patches_lose_nothing() -> None:
    image = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = encode_patches(image)
    assert latents.shape == (2, 48, 8, 12)
    assert torch.allclose(decode_patches(latents), image, atol=1e-5)


@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
@pytest.mark.parametrize("strength", [0.7, 1.0])
def test_outside_the_mask_the_pixels_are_the_sources(pipeline, strength, guidance_scale) -> None:
    painted, image, mask = call(pipeline, strength=strength, guidance_scale=guidance_scale)
    levels = np.rint(painted * 255).astype(int)
    assert np.array_equal(levels[~mask], image[~mask])
    assert (levels[mask] != image[mask]).any()


def test_the_control_scale_counts_and_zero_is_off(pipeline) -> None:
    edges = Image.fromarray(np.full((64, 64, 3), 255, np.uint8))
    off = call(pipeline, controlnet_conditioning_scale=0.0)[0]
    assert np.array_equal(
        off, call(pipeline, control_image=edges, controlnet_conditioning_scale=0)[0]
    )
    assert not np.array_equal(off, call(pipeline, control_image=edges)[0])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"size": 72}, "multiples of 16"),
        ({"strength": 0.1}, "leaves none"),
        ({"prompt": ["a", "b"]}, "2 prompts"),
    ],
)
def test_impossible_calls(pipeline, changes, text) -> None:
    with pytest.raises(ValueError, match=text):
        call(pipeline, **changes)


def test_words_are_one_token_and_others_fall_to_bytes() -> None:
    tokenizer = build_tokenizer(["scratch", "brushed", "metal", "a"])
    assert tokenizer.tokenize("a scratch") == ["a</w>", "scratch"]
    assert len(tokenizer.tokenize("zinc")) == 4
    assert len(tokenizer.tokenize("scratches")) == 9
    for word in (words := vocabulary(["brushed metal"])):  # whatever letters they share
        assert len(build_tokenizer(words).tokenize(word)) == 1, word
    assert tokenizer("brushed metal").input_ids == tokenizer("Brushed  METAL").input_ids


def test_crops_are_examples() -> None:
    crops = draw_crops(0, 3, 12, 64)
    again = draw_crops(0, 3, 12, 64)
    for crop, same in zip(crops, again, strict=True):
        assert np.array_equal(crop.defective, same.defective)
        assert crop.defect_mask.any()
        assert not (crop.defect_mask & ~crop.repaint_mask).any()
        assert np.any(crop.source != crop.defective)
        far = np.abs(crop.source.astype(int) - crop.defective)[~crop.repaint_mask]
        # What the model may not paint is nearly nothing; a large defect leaves nothing of that.
        assert not far.size or np.percentile(far, 90) <= 12
    assert sum(not crop.repaint_mask.all() for crop in crops) >= 8
    assert not np.array_equal(crops[0].source, draw_crops(0, 4, 12, 64)[0].source)


SMALL = {"batch_size": 2, "crop_sizes_px": (32, 48), "mixed_precision": "no", "sheet_every_s": 1e9}


def test_a_training_that_is_stopped_ends_like_an_unbroken_one(tmp_path, monkeypatch) -> None:
    from synthgen.training import pretrain as module

    build = module.build_pipeline
    monkeypatch.setattr(module, "build_pipeline", lambda words: build(words, (16, 32, 32), 32))
    monkeypatch.setattr(
        module, "draw_crops", lambda *a: draw_crops(*a[:2], min(a[2], 2), min(a[3], 48))
    )
    whole = pretrain(PretrainSettings(steps=4, **SMALL), tmp_path / "whole")

    class Killed(Exception):
        pass

    saved = module._save_state

    def die_after_save(*arguments):
        saved(*arguments)
        raise Killed

    monkeypatch.setattr(module, "_save_state", die_after_save)
    with pytest.raises(Killed):
        pretrain(PretrainSettings(steps=4, save_every_s=0, **SMALL), tmp_path / "cut")
    monkeypatch.setattr(module, "_save_state", saved)
    again = PretrainSettings(steps=4, **SMALL | {"mixed_precision": "auto"})
    monkeypatch.setattr(module, "best_precision", lambda _: "bf16")
    with pytest.raises(RunError, match=r"pretrain\.mixed_precision=no, not bf16"):
        pretrain(again, tmp_path / "cut")
    monkeypatch.setattr(module, "best_precision", lambda _: "fp32")
    cut = pretrain(again, tmp_path / "cut")
    for part in ("unet", "controlnet", "text_encoder"):
        one, other = (
            next((folder / part).glob("*.safetensors")).read_bytes() for folder in (whole, cut)
        )
        assert one == other, part
    card = (cut / "README.md").read_text(encoding="utf-8")
    assert "| Training | 4 steps" in card
    with (tmp_path / "cut" / "log.csv").open() as file:
        assert next(csv.DictReader(file))["loss"]
    assert list((tmp_path / "cut" / "samples").glob("*.png"))
    with pytest.raises(RunError, match=r"pretrain\.seed"):
        pretrain(PretrainSettings(steps=4, seed=1, **SMALL), tmp_path / "cut")


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"crop_sizes_px": (60,)}, {"parts": ("vae",)}, {"start_parts": ()}],
)
def test_impossible_training(wrong) -> None:
    with pytest.raises((ConfigError, ValidationError)):
        PretrainSettings(**wrong)


def test_a_training_starts_from_another_model_and_leaves_frozen_parts_alone(
    tmp_path, monkeypatch
) -> None:
    from synthgen.training import pretrain as module

    build = module.build_pipeline
    monkeypatch.setattr(module, "build_pipeline", lambda words: build(words, (16, 32, 32), 32))
    monkeypatch.setattr(module, "_look", lambda *_: None)
    start = save_tiny_patch_model(tmp_path / "start")
    before = PatchControlNetInpaintPipeline.from_pretrained(start, local_files_only=True)
    settings = PretrainSettings(
        steps=2,
        start=str(start),
        parts=("controlnet",),
        start_parts=("unet", "text_encoder"),
        **SMALL,
    )
    folder = pretrain(settings, tmp_path / "run")
    after = PatchControlNetInpaintPipeline.from_pretrained(folder, local_files_only=True)
    for name in ("unet", "controlnet"):
        pairs = zip(
            getattr(before, name).half().parameters(),
            getattr(after, name).half().parameters(),
            strict=True,
        )
        is_same = all(torch.equal(one, other) for one, other in pairs)
        assert is_same is (name == "unet")
    words = [p.tokenizer("scratch").input_ids[1] for p in (before, after)]
    rows = [
        p.text_encoder.get_input_embeddings().weight[word].half()
        for p, word in zip((before, after), words, strict=True)
    ]
    assert torch.equal(*rows)  # a word keeps its meaning, wherever it stands in the vocabulary
    assert words[0] != words[1]
    with pytest.raises(ModelError, match="model_index"):
        pretrain(PretrainSettings(start=str(tmp_path), **SMALL), tmp_path / "new")


def test_photos_are_surfaces_to_learn_from(tmp_path) -> None:
    image = np.full((70, 90), 37, np.uint8)
    Image.fromarray(image).save(tmp_path / "flat.png")
    folder = PhotoFolder(str(tmp_path), "zinc", "made here", "CC0")
    photos = Photos({"flat": folder})
    assert photos.counts == {"flat": 1}
    view = photos.draw(np.random.default_rng(0), 64)
    assert view.surface == "zinc"
    assert view.image.shape == (64, 64, 3)
    assert (view.image == 37).all()
    prompts = [c.prompt for c in draw_crops(0, 0, 24, 64, photos)]
    assert any("zinc" in prompt for prompt in prompts)
    with pytest.raises(SourceError):
        Photos({"none": PhotoFolder(str(tmp_path / "nothing"), "a", "b", "c")})


def test_a_crops_optics_are_those_of_its_picture() -> None:
    """What the camera says of itself is what is measured on the picture that it takes."""
    kernels, grains = [], []
    for number in range(8):
        rng = np.random.default_rng(number)
        drawn = draw_surface(rng, (256, 256)).image
        camera = replace(
            draw_camera(rng), gain=1.0, gamma=1.0, noise=(3.0, 0.0), noise_px=0.0, blur_px=1.5
        )
        picture, optics = camera.take(rng, SurfaceView(drawn, "metal", Optics(kernel_px=0.4)))
        found = estimate_optics(picture)
        kernels.append(found.kernel_px / optics.kernel_px)
        grains.append(found.grain_at(np.float32(128)) / optics.grain_at(np.float32(128)))
    assert 0.8 < np.median(kernels) < 1.25
    assert 0.8 < np.median(grains) < 1.25


@pytest.fixture(scope="module")
def real_folder(tmp_path_factory) -> RealFolder:
    folder = tmp_path_factory.mktemp("real")
    rows = ["image,mask,class,split,group"]
    for number in range(4):
        rng = np.random.default_rng(number)
        photo = rng.normal(150, 2, (120, 140)).astype(np.float32)
        mask = np.zeros((120, 140), np.uint8)
        cv2.line(mask, (20, 30 + 10 * number), (110, 70), 255, 4)
        photo[mask > 0] -= 70
        for name, image in ((f"{number}.png", photo), (f"{number}_mask.png", mask)):
            cv2.imwrite(str(folder / name), np.clip(image, 0, 255).astype(np.uint8))
        rows.append(f"{number}.png,{number}_mask.png,crack,train,g{number}")
    (folder / "real.csv").write_text("\n".join(rows) + "\n")
    settings = {"format": "table", "path": str(folder / "real.csv")}
    return RealFolder(real=settings, surface="zinc", origin="made here", licence="CC0")


def test_real_defects_are_examples_whose_sketch_may_be_drawn(real_folder) -> None:
    examples = RealExamples({"mine": real_folder})
    assert examples.counts == {"mine": 4}
    for number in range(12):
        crop = examples.draw(np.random.default_rng(number), 64)
        assert "crack" in crop.prompt
        assert crop.defect_mask.any()
        for image in (crop.defective, crop.sketch):  # both are darker than the surface, as is real
            change = image[crop.defect_mask].astype(float) - crop.source[crop.defect_mask]
            assert change.mean() < -8
    again = examples.draw(np.random.default_rng(11), 64)
    assert np.array_equal(again.sketch, crop.sketch)


def test_batches_repeat_their_crops_mirrored_and_hold_real_ones(real_folder) -> None:
    settings = PretrainSettings(steps=8, batch_size=6, repeats=2, real_fraction=1.0)
    batches = _Batches(settings, Photos({}), RealExamples({"mine": real_folder}), 0, 0)
    first, second, other = (batches[number] for number in range(3))
    assert torch.equal(first["source"].flip(3), second["source"])
    assert not torch.equal(first["source"], other["source"])
    assert all("crack" in prompt for prompt in first["prompts"])
    resumed = _Batches(settings, Photos({}), RealExamples({"mine": real_folder}), 1, 0)
    assert torch.equal(resumed[0]["sketch"], second["sketch"])


def test_features_know_photographs_and_see_blur() -> None:
    sizes = [tuple(one.shape[-2:]) for one in load_features()(torch.zeros(1, 3, 64, 64))]
    assert sizes == [(32, 32), (16, 16), (8, 8)]
    loss = FeatureLoss()
    picture = torch.from_numpy(draw_surface(np.random.default_rng(0), (64, 64)).image.copy())
    picture = picture.permute(2, 0, 1)[None].float() / 127.5 - 1
    blurred = torch.nn.functional.avg_pool2d(picture, 3, 1, 1)
    mask = torch.ones(1, 1, 64, 64)
    assert loss(picture, picture, mask) == 0
    assert loss(blurred, picture, mask) > 0.1


def test_a_critic_learns_to_tell_soft_crops_and_asks_for_crisp_ones() -> None:
    """After some steps its loss is lower for crisp crops, by more than the features say."""
    rng = np.random.default_rng(0)
    images = np.stack([draw_surface(rng, (64, 64)).image for _ in range(8)])
    crisp = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    soft = torch.nn.functional.avg_pool2d(crisp, 3, 1, 1)
    mask = torch.zeros(8, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    features = FeatureLoss()
    loss = CriticLoss(features, 1.0)
    untaught = CriticLoss(features, 1.0)
    for _ in range(25):
        loss(soft, crisp, mask)
    with torch.no_grad():
        gain = (loss(soft, crisp, mask) - loss(crisp, crisp, mask)).mean()
        plain = features(soft, crisp, mask).mean()
        untaught_gain = (untaught(soft, crisp, mask) - untaught(crisp, crisp, mask)).mean()
    assert gain > plain + 0.5
    assert abs(untaught_gain - plain) < 0.2
    untaught.load_state_dict(loss.state_dict())
    with torch.no_grad():
        assert torch.allclose(untaught(soft, crisp, mask), loss(soft, crisp, mask), atol=1e-3)


def test_few_steps_learn_from_the_noise_that_they_meet(pipeline) -> None:
    levels = _noise_levels(pipeline, 4)
    assert levels == (999, 749, 499, 249)
    assert _noise_levels(pipeline, None) == ()
    drawn = _draw_timesteps(4000, levels, torch.Generator().manual_seed(0))
    shares = [(drawn == level).float().mean().item() for level in levels]
    assert shares == pytest.approx([0.1875] * 4, abs=0.03)
    anything = _draw_timesteps(4000, (), torch.Generator().manual_seed(0))
    assert len(anything.unique()) > 900


def test_a_training_with_a_critic_goes_on_with_it(tmp_path) -> None:
    """Stopped after two steps and continued, it ends with the weights of an unbroken one."""
    settings = PretrainSettings(
        steps=4,
        batch_size=2,
        crop_sizes_px=(32,),
        sheet_crops=2,
        feature_weight=0.2,
        critic_weight=0.3,
        painting_steps=4,
        mixed_precision="no",
        decay_fraction=1e-9,
    )
    pretrain(settings, tmp_path / "whole")
    pretrain(replace(settings, steps=2), tmp_path / "parted")
    pretrain(settings, tmp_path / "parted")
    whole, parted = (load_state(tmp_path / name) for name in ("whole", "parted"))
    for key, value in whole["critic"]["critic"].items():
        assert torch.allclose(value, parted["critic"]["critic"][key], atol=1e-5), key
    for key, value in whole["learner"].items():
        assert torch.allclose(value, parted["learner"][key], atol=1e-5), key


def test_a_critic_needs_features() -> None:
    with pytest.raises(ConfigError, match=r"critic_weight needs pretrain\.feature_weight"):
        PretrainSettings(critic_weight=0.3)
    with pytest.raises(ConfigError, match="painting_steps must be at least 1"):
        PretrainSettings(painting_steps=0)


def test_a_loss_of_its_parts(pipeline) -> None:
    """Each further term adds to the loss; a sketch in place of the defect raises it."""
    learner, batch = Learner(pipeline, PARTS), stack_crops(draw_crops(0, 1, 4, 64))

    def loss(**changes: float) -> float:
        settings = LossSettings(**changes)
        draw = torch.Generator().manual_seed(0)
        return change_loss(learner, pipeline, batch, settings, draw, features=features).item()

    features = FeatureLoss()
    plain = loss()
    assert loss(gradient=0.3) > plain
    assert loss(feature=0.1) > plain
    assert loss(sketch=1.0) != plain


def test_stored_settings_that_lack_a_later_key_held_its_default(real_folder) -> None:
    stored = asdict(real_folder)
    assert is_stored({"mine": stored}, {"mine": real_folder})
    del stored["real"]["split"], stored["words"]
    assert is_stored({"mine": stored}, {"mine": real_folder})
    other = asdict(real_folder)
    other["real"]["split"] = "val"
    assert not is_stored({"mine": other}, {"mine": real_folder})
    del other["surface"]  # a key without a default was always there
    other["real"]["split"] = real_folder.real.split
    assert not is_stored({"mine": other}, {"mine": real_folder})
    assert not is_stored({"other": stored}, {"mine": real_folder})
