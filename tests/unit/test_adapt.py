"""Adapting to real defects: removing them, learning them, the folder, and painting with it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from synthgen.backends.checkpoints.adapters import RECORD, WEIGHTS, find_adapter
from synthgen.backends.checkpoints.find import find_checkpoint
from synthgen.backends.checkpoints.licences import read_licence
from synthgen.backends.diffusion.loading import best_precision, pick_device
from synthgen.commands.cli import main
from synthgen.config.compose import compose
from synthgen.config.objects import check_value, to_plain
from synthgen.errors import ConfigError, ModelError, RunError, SourceError
from synthgen.realdata.read import read_real
from synthgen.realdata.records import RealImage
from synthgen.references.removal import remove_defects
from synthgen.samples.seeds import stream
from synthgen.storage.files import name_beside
from synthgen.training.adaptation.adapt import AdaptSettings, PatchExamples, adapt, adapt_backend
from synthgen.training.adaptation.crops import (
    Augmentation,
    RealExample,
    draw_real_crop,
    hold_back,
    make_examples,
    name_classes,
)
from synthgen.training.adaptation.loop import STATE, Trainer, identify
from synthgen.training.learner import save_state
from tests.backends import make_diffusion
from tests.checkpoints import save_tiny_patch_model
from tests.families import TINY
from tests.samples import draw_conditions

SIDE = 96
SMALL = {
    "steps": 4,
    "batch_size": 2,
    "crop_sizes_px": (32,),
    "threads": 1,
    "check_every": 2,
    "mixed_precision": "no",
    "prior_fraction": 0.5,
    "hold_back": 0.3,
    "choose": "defaults",
}


def draw_photo(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a clean striped surface, the same with a dark spot, and the spot's mask."""
    rng = np.random.default_rng(number)
    stripes = 120 + 15 * np.sin(np.arange(SIDE) / 3)[None]
    clean = (stripes + rng.normal(0, 3, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, (30 + 5 * number, 50), 6, 1, -1)
    real = np.where(mask > 0, 40, clean).astype(np.uint8)
    return clean, real, mask > 0


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four photos with spots of two classes, and a good one, as a table."""
    lines = ["image,mask,class,split,group"]
    for number in range(5):
        clean, spotted, mask = draw_photo(number)
        name = "good" if number == 4 else ["blow_hole", "crack"][number % 2]
        cv2.imwrite(str(tmp_path / f"{number}.png"), clean if number == 4 else spotted)
        cv2.imwrite(str(tmp_path / f"m{number}.png"), mask.astype(np.uint8) * 255)
        lines.append(
            f"{number}.png,{'' if number == 4 else f'm{number}.png'},{name},train,g{number}"
        )
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return tmp_path / "table.csv"


@pytest.fixture
def real(table: Path) -> list[RealImage]:
    return read_real({"format": "table", "path": str(table)})


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what the command prints."""
    before, sys.argv = sys.argv, ["synthgen", "adapt", *arguments]
    try:
        main()
    finally:
        sys.argv = before
    return capsys.readouterr().out


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the sentence of a command that ends with exit code 2."""
    with pytest.raises(SystemExit, match=r"^2$"):
        run(capsys, *arguments)
    return capsys.readouterr().err


def asked(table: Path, out: Path, base: Path) -> list[str]:
    """Return arguments for a small adapter."""
    return [
        f"out={out}",
        "real.format=table",
        f"real.path={table}",
        f"backend.model.checkpoint={base}",
        *(f"adapt.{key}={list(v) if isinstance(v, tuple) else v}" for key, v in SMALL.items()),
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A model that knows the classes' words, so that it need not look for the nearest ones."""
    words = ["blow", "hole", "crack", "pit"]
    return save_tiny_patch_model(tmp_path_factory.mktemp("base") / "model", words)


@pytest.fixture(scope="module")
def ignorant(tmp_path_factory) -> Path:
    """A model that knows none of the classes' words."""
    return save_tiny_patch_model(tmp_path_factory.mktemp("ignorant") / "model")


def test_a_removed_defect_leaves_the_surface_and_its_texture() -> None:
    clean, spotted, mask = (np.atleast_3d(a) for a in draw_photo(0))
    rgb = np.repeat(spotted, 3, axis=2)
    filled = remove_defects(rgb, mask[..., 0])
    hole = mask[..., 0]
    error = np.abs(filled[hole].astype(float) - clean[hole]).mean()
    smooth = cv2.inpaint(rgb, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    assert error < 8 < np.abs(rgb[hole].astype(float) - clean[hole]).mean()
    assert error < np.abs(smooth[hole].astype(float) - clean[hole]).mean()
    far = cv2.dilate(hole.astype(np.uint8), np.ones((9, 9))) == 0
    assert np.array_equal(filled[far], rgb[far])


def part_in_a_frame(seed: int) -> np.ndarray:
    """Return a photo (200, 200, 3) of a textured part with a black frame and a black bar."""
    grey = 150 + 12 * cv2.GaussianBlur(
        np.random.default_rng(seed).normal(0, 3, (200, 200)), (0, 0), 2
    )
    grey[95:101] = 30
    grey[:8] = grey[-8:] = grey[:, :8] = grey[:, -8:] = 20
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("with_good", [True, False])
def test_a_large_defect_at_the_frame_leaves_neither_dark_nor_frame(with_good: bool) -> None:
    part, mask = part_in_a_frame(0), np.zeros((200, 200), bool)
    mask[8:75, 8:110] = True
    photo = np.where(mask[..., None], np.uint8(60), part)
    filled = remove_defects(photo, mask, [part_in_a_frame(n) for n in (1, 2)] if with_good else [])
    inside = filled[mask].astype(float)
    assert abs(inside.mean() - part[mask].mean()) < 8
    assert (inside < 100).mean() < (0.01 if with_good else 0.1)


def test_removal_of_all_of_an_image_does_not_fail() -> None:
    image = np.full((40, 40, 3), 90, np.uint8)
    assert remove_defects(image, np.ones((40, 40), bool)).shape == image.shape


def test_examples_give_the_photo_back_and_crops_change_inside_their_mask_only(real) -> None:
    examples, good = make_examples(real, name_classes(real, {}), "metal")
    assert {example.noun for example in examples} == {"blow hole", "crack"}
    assert len(good) == 1
    for example in examples:
        photo = next(i for i in real if i.image_id == example.image_id).read_rgb()
        assert np.array_equal(example.real[example.mask], photo[example.mask])
    for number in range(12):
        crop = draw_real_crop(stream(0, number), examples[0], good, 64, Augmentation())
        assert crop.defect_mask.any()
        assert not (crop.defect_mask & ~crop.repaint_mask).any()
        assert np.array_equal(crop.source[~crop.repaint_mask], crop.defective[~crop.repaint_mask])
        change = crop.defective.astype(int) - crop.source
        assert change[crop.defect_mask].mean() < -20  # the spots are dark
        assert "blow hole" in crop.prompt


def test_a_transplanted_defect_dims_its_new_surface() -> None:
    rng = np.random.default_rng(0)
    rough = [np.repeat(rng.normal(140, 25, (128, 128, 1)).clip(40, 250), 3, 2) for _ in range(2)]
    removed, good = (one.astype(np.uint8) for one in rough)
    mask = np.zeros((128, 128), bool)
    mask[30:100, 30:100] = True
    change = np.where(mask[..., None], np.float32(-0.7) * removed, np.float32(0))
    example = RealExample(
        image_id="a",
        group="a",
        defect_class="dark",
        noun="dark",
        surface="cell",
        removed=removed,
        change=change,
        mask=mask,
    )
    plain = (1.0, 1.0)
    vary = Augmentation(
        transplant=1, turn=0, scale=plain, gain=plain, contrast=plain, own_texture=0
    )
    crop = draw_real_crop(stream(0, 1), example, [good], 64, vary)
    core = cv2.erode(crop.defect_mask.astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(crop.defective[core] - 0.3 * crop.source[core]).mean() < 5


def test_nothing_shows_through_a_transplant_with_its_own_texture() -> None:
    rng = np.random.default_rng(0)
    removed = np.full((128, 128, 3), 140, np.uint8)
    good = np.repeat(rng.normal(140, 25, (128, 128, 1)).clip(40, 250), 3, 2).astype(np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[30:100, 30:100] = True
    change = np.where(mask[..., None], np.float32(-70), np.float32(0)).repeat(3, 2)
    example = RealExample(
        image_id="a",
        group="a",
        defect_class="chip",
        noun="chip",
        surface="metal",
        removed=removed,
        change=change,
        mask=mask,
    )
    plain = (1.0, 1.0)
    vary = Augmentation(
        transplant=1, turn=0, scale=plain, gain=plain, contrast=plain, own_texture=1
    )
    crop = draw_real_crop(stream(0, 1), example, [good], 64, vary)
    core = cv2.erode(crop.defect_mask.astype(np.uint8), np.ones((5, 5))) > 0
    assert crop.source[core].std() > 20
    assert crop.defective[core].std() < 5
    assert abs(crop.defective[core].mean() - 70) < 6


@pytest.mark.parametrize("family", ["embedded", "sd15"])
def test_what_is_scored_on_is_not_learned(family, real, base, tmp_path) -> None:
    model = base if family == "embedded" else TINY[family](tmp_path).base
    backend, folder = make_diffusion(str(model), device="cpu"), tmp_path / "a"
    scored = [replace(image, split="test" if image.group == "g0" else "train") for image in real]
    with pytest.raises(SourceError, match=r"split test.*adapt\.splits=\[train,test\]"):
        adapt_backend(scored, backend, AdaptSettings(**SMALL), folder)
    wider = AdaptSettings(splits=("train", "test"), **SMALL)
    adapt_backend(scored, backend, wider, folder)


def test_groups_are_held_back_whole_and_of_every_class(real) -> None:
    examples, _ = make_examples(real, name_classes(real, {}), "metal")
    taught, held = hold_back(examples, 0.3, 0)
    assert {one.group for one in taught}.isdisjoint(one.group for one in held)
    assert {one.defect_class for one in held} == {one.defect_class for one in taught}
    with pytest.raises(SourceError, match=r"adapt\.words names 'rust'"):
        name_classes(real, {"rust": "corrosion"})


@pytest.mark.parametrize("seed", range(8))
def test_a_class_that_lies_on_one_part_beside_another_is_taught(seed, real) -> None:
    examples, _ = make_examples(real, name_classes(real, {}), "metal")
    hole, crack = (
        [one for one in examples if one.defect_class == name] for name in ("blow_hole", "crack")
    )
    lone = replace(crack[0], group=hole[0].group)
    taught, held = hold_back([*hole, lone], 0.5, seed)
    assert {one.defect_class for one in taught} == {"blow_hole", "crack"}
    assert [one.group for one in held] == [hole[1].group]


def test_a_refused_adaptation_leaves_no_folder(table, base, tmp_path, capsys) -> None:
    told = refuse(capsys, *asked(table, tmp_path / "a", base), "adapt.words={rust: pit}")
    assert "adapt.words names 'rust'" in told
    assert not (tmp_path / "a").exists()


def test_a_state_that_the_disk_refuses_is_told(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*state\.pt: "):
        save_state(tmp_path / "file", {"step": 1})


def test_a_state_that_was_half_written_goes_with_the_next(tmp_path) -> None:
    half = tmp_path / ".state.999999999-1.tmp.pt"
    half.write_bytes(b"half")
    save_state(tmp_path, {"step": 1})
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


@pytest.mark.parametrize("words", ["adapt.words={blow_hole: pit}", "adapt.words.blow_hole=pit"])
def test_words_may_be_given_at_once_or_one_by_one(words) -> None:
    config = compose("adapt", ["out=a", "real.path=b", words])
    assert to_plain(config)["adapt"]["words"] == {"blow_hole": "pit"}


def test_a_class_is_called_as_the_command_says(table, base, tmp_path, capsys) -> None:
    words = "adapt.words.blow_hole=pit"
    told = run(capsys, *asked(table, tmp_path / "a", base), words)
    assert "the adapter is in" in told
    record = yaml.safe_load((tmp_path / "a" / RECORD).read_text())
    assert record["classes"] == {"blow_hole": "pit", "crack": "crack"}


def test_an_adapter_that_learned_nothing_says_so(
    table, base, tmp_path, capsys, monkeypatch
) -> None:
    losses = iter([1.0, 2.0, 3.0, 3.0, 2.0, 1.0])
    monkeypatch.setattr(PatchExamples, "validate", lambda _: next(losses))
    sentence = "this adapter is the base model as it was"
    told = run(capsys, *asked(table, tmp_path / "a", base))
    assert sentence in " ".join(told.split())
    assert sentence in (tmp_path / "a" / "README.md").read_text()
    assert sentence not in " ".join(run(capsys, *asked(table, tmp_path / "b", base)).split())


@pytest.mark.parametrize(
    ("photos", "warning", "counted"),
    [
        ([0], "nothing of blow_hole is held back, so the loss is that on what", "1 taught, 0 held"),
        ([0, 1, 2], "nothing of crack is held back, so the loss says nothing", "2 taught, 1 held"),
        ([0, 1, 2, 3], "", "2 taught, 2 held"),
    ],
)
def test_too_few_groups_to_hold_back_are_told(
    photos, warning, counted, real, base, tmp_path
) -> None:
    settings = AdaptSettings(**SMALL | {"steps": 1})
    images = [real[number] for number in photos]
    done = adapt(images, find_checkpoint(str(base)), settings, tmp_path / "a")
    told = [one for one in done.warnings if "held back" in one]
    assert [one[: len(warning)] for one in told] == ([warning] if warning else [])
    card = (tmp_path / "a" / "README.md").read_text()
    assert counted in card
    assert "| Terms that its card does not state, of the base, and" in card
    assert warning in card
    assert card.count('("blow hole", 1 images)') == (len(photos) == 1)
    record = yaml.safe_load((tmp_path / "a" / RECORD).read_text())
    assert sum(map(len, record["images"].values())) == len(photos)


@pytest.mark.parametrize("place", ["table.csv", "table.csv/a"])
def test_a_file_is_no_folder_for_an_adapter(place, table, base, tmp_path, capsys) -> None:
    told = refuse(capsys, *asked(table, tmp_path / place, base))
    assert f"out={tmp_path / place} cannot be made a folder" in told


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "CPU"])
def test_an_unknown_device_is_told(device, table, base, tmp_path, capsys) -> None:
    told = refuse(capsys, *asked(table, tmp_path / "a", base), f"adapt.device='{device}'")
    assert f"adapt.device='{device}' is unknown; choose auto, cpu, cuda" in told
    with pytest.raises(
        ConfigError, match=r"backend\.hardware\.device=.* is unknown; choose auto, cpu"
    ):
        make_diffusion(str(base), device=device).load()


def test_a_gpu_that_is_not_there_is_told(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [pick_device(name) for name in ("auto", "cuda:1", "cpu")] == ["cuda", "cuda:1", "cpu"]
    with pytest.raises(ConfigError, match="torch sees cuda:0 to cuda:1 alone"):
        pick_device("cuda:2")


@pytest.mark.parametrize(
    ("sizes", "sentence"), [([], "it needs at least one size"), ([40], "all must be multiples")]
)
def test_crop_sizes_that_cannot_be_are_told(sizes, sentence) -> None:
    with pytest.raises(ConfigError) as told:
        check_value(AdaptSettings, {"crop_sizes_px": sizes}, "adapt")
    assert str(told.value).startswith(f"adapt.crop_sizes_px={sizes} is not possible: {sentence}")


def test_all_can_not_be_held_back(table, base, tmp_path, capsys) -> None:
    told = refuse(capsys, *asked(table, tmp_path / "a", base), "adapt.hold_back=1")
    assert told.startswith("synthgen: adapt.hold_back=1 is not possible")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_adapter_is_made_and_applied(method, real, ignorant, tmp_path) -> None:
    base = ignorant
    checkpoint = find_checkpoint(str(base))
    settings = AdaptSettings(method=method, learning_rate=1e-2, **SMALL)
    outcome = adapt(real, checkpoint, settings, tmp_path / "a")
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        RECORD,
        WEIGHTS,
        "README.md",
        "held_back.png",
        "loss.csv",
        "experiment",
        "recipe.json",
    }
    assert len({path.stat().st_mode for path in (tmp_path / "a").iterdir() if path.is_file()}) == 1
    assert set(outcome.words) == {"blow", "hole", "crack"}
    record = yaml.safe_load((tmp_path / "a" / RECORD).read_text())
    assert record["base"]["digest"] == checkpoint.digest
    assert sorted(row["image"] for rows in record["images"].values() for row in rows) == sorted(
        image.image_id for image in real if image.defects
    )
    [condition] = draw_conditions("pit", count=1)
    plain = make_diffusion(str(base), steps=2)
    mine = make_diffusion(str(base), steps=2, adapter=str(tmp_path / "a"))
    assert mine.checkpoint.startswith(f"{plain.checkpoint} + adapter.safetensors@")
    assert "adapter" in mine.describe().models
    assert str(read_licence(tmp_path / "a")).endswith(f"the images listed in `{RECORD}`")
    assert not np.array_equal(plain.paint([condition])[0], mine.paint([condition])[0])
    assert mine.load().pipeline.tokenizer.tokenize("a hole")[-1] == "hole"
    with pytest.raises(RunError, match="finished"):
        adapt(real, checkpoint, settings, tmp_path / "a")


def test_an_adaptation_that_is_stopped_ends_like_an_unbroken_one(
    real, ignorant, tmp_path, monkeypatch
) -> None:
    checkpoint, settings = find_checkpoint(str(ignorant)), AdaptSettings(save_every_s=0, **SMALL)
    adapt(real, checkpoint, settings, tmp_path / "whole")
    advance = Trainer._advance

    def die_at_three(trainer: Trainer) -> None:
        if trainer.step == 3:
            raise KeyboardInterrupt
        advance(trainer)

    monkeypatch.setattr(Trainer, "_advance", die_at_three)
    with pytest.raises(KeyboardInterrupt):
        adapt(real, checkpoint, settings, tmp_path / "cut")
    assert not (tmp_path / "cut" / RECORD).exists()
    monkeypatch.setattr(Trainer, "_advance", advance)
    with pytest.raises(RunError, match="other settings"):
        adapt(real, checkpoint, AdaptSettings(seed=1, **SMALL), tmp_path / "cut")
    renamed = [alter(real[0], "class"), *real[1:]]
    with pytest.raises(RunError, match="other images, masks or classes"):
        adapt(renamed, checkpoint, settings, tmp_path / "cut")
    adapt(real, checkpoint, settings, tmp_path / "cut")
    for name in (WEIGHTS, "loss.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_a_killed_adaptation_left_half_written_is_removed(real, ignorant, tmp_path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    own = name_beside(tmp_path / WEIGHTS).name
    left = tmp_path / own.replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    left.touch()
    adapt(real, find_checkpoint(str(ignorant)), AdaptSettings(**SMALL), tmp_path)
    assert (tmp_path / WEIGHTS).is_file()
    assert not left.exists()


def alter(image: RealImage, what: str) -> RealImage:
    """Return an image of the same name with another class, mask, group or photo."""
    [defect] = image.defects
    if what == "group":
        return replace(image, group="g9")
    if what == "photo":
        cv2.imwrite(str(image.path), 255 - image.read())
        return image
    changes = {"class": {"defect_class": "rust"}, "mask": {"mask": defect.mask[::-1]}}[what]
    return replace(image, defects=(replace(defect, **changes),))


@pytest.mark.parametrize("what", ["class", "mask", "group", "photo"])
def test_an_adaptation_goes_on_with_the_same_images_alone(what, real, base) -> None:
    checkpoint, settings = find_checkpoint(str(base)), AdaptSettings(**SMALL)
    before = identify(real, checkpoint, settings)
    assert identify(real[::-1], checkpoint, settings) == before
    assert identify([alter(real[0], what), *real[1:]], checkpoint, settings) != before


@pytest.mark.parametrize("left", [0, 10, 1000, -100])
def test_a_damaged_state_is_told(left, table, base, tmp_path, capsys) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    save_state(folder, {"identity": {}, "trained": [torch.zeros(1000)]})
    whole = (folder / STATE).read_bytes()
    (folder / STATE).write_bytes(whole[:left])
    told = refuse(capsys, *asked(table, folder, base))
    assert f"{folder / STATE} is damaged; delete the folder {folder}" in told


def test_an_adapter_of_another_checkpoint_or_a_damaged_one_is_refused(real, base, tmp_path) -> None:
    folder = tmp_path / "a"
    settings = AdaptSettings(**SMALL | {"steps": 1})
    adapt(real, find_checkpoint(str(base)), settings, folder)
    with pytest.raises(ModelError, match="was made for the checkpoint"):
        find_adapter(str(folder), find_checkpoint("embedded"))
    with pytest.raises(ModelError, match="holds no adapter"):
        find_adapter(str(tmp_path), find_checkpoint(str(base)))
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-2] + b"\0\1")
    with pytest.raises(ModelError, match="is not the file"):
        find_adapter(str(folder), find_checkpoint(str(base)))


@pytest.mark.parametrize("family", ["sd15_inpaint", "sdxl"])  # with 9 channels; with two encoders
def test_low_ranks_of_a_unet_learn_and_load(family, real, tmp_path) -> None:
    model = TINY[family](tmp_path)
    native = {"steps": 2, "device": "cpu", "resolution_px": None, "context_px": 16, "feather_px": 0}
    backend = make_diffusion(str(model.base), **native)
    settings = AdaptSettings(
        learning_rate=5e-3, **SMALL | {"steps": 30, "check_every": 15, "crop_sizes_px": (64,)}
    )
    outcome = adapt_backend(real, backend, settings, tmp_path / "a")
    assert outcome.best[2] < outcome.curve[0][2]
    [condition] = draw_conditions("pit", count=1)

    def paint(**changes) -> np.ndarray:
        return make_diffusion(str(model.base), **native, **changes).paint([condition])[0]

    folder = str(tmp_path / "a")
    plain, adapted = paint(), paint(adapter=folder)
    assert not np.array_equal(plain, adapted)
    off, on = (paint(loras={"mine": {"checkpoint": folder, "weight": w}}) for w in (0.0, 1.0))
    assert np.array_equal(off, plain)
    assert np.abs(on.astype(int) - adapted).max() <= 2


def test_the_attention_that_is_read_is_that_of_the_layer(tmp_path) -> None:
    from synthgen.training.adaptation.lora import Attention

    backend = make_diffusion(str(TINY["sd15"](tmp_path).base), device="cpu")
    unet = backend.load().pipeline.unet
    attention = Attention(unet)
    attention.__enter__()
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn((1, 4, 8, 8), generator=generator)
    states = torch.randn((1, 5, unet.config.cross_attention_dim), generator=generator)
    with torch.no_grad():
        unet(noisy, 10, states)
        name, layer = next(iter(attention.layers.items()))
        query, key = attention.seen[name]["to_q"], attention.seen[name]["to_k"]
        own = layer.get_attention_scores(
            layer.head_to_batch_dim(query), layer.head_to_batch_dim(key)
        )
        mean = own.reshape(1, int(layer.heads), *own.shape[1:]).mean(dim=1)
        assert torch.allclose(attention._weights(name, int(layer.heads)), mean, atol=1e-6)
    attention.__exit__()
    assert not any(module._forward_hooks for module in unet.modules())
    assert not attention.seen


@pytest.mark.parametrize(
    ("able", "expected"), [({"amx_bf16": True}, "bf16"), ({"avx512_f": True}, "fp32"), ({}, "fp32")]
)
def test_half_precision_is_for_processors_that_have_it(able, expected, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert best_precision("cpu") == expected
