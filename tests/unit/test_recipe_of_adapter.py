"""The recipe of an adapter: how its settings are chosen, written, and read by generate."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from synthgen.commands.adapt import adapt
from synthgen.commands.generate import generate
from synthgen.commands.preview import preview
from synthgen.config.compose import compose
from synthgen.errors import ConfigError
from synthgen.evaluation.recipe import _decide, choose_recipe
from synthgen.realdata.read import read_real
from synthgen.runs.reader import read_run
from synthgen.training.adaptation.crops import hold_back, make_examples, name_classes
from synthgen.training.adaptation.recipe import (
    RECIPE,
    TRIED,
    Recipe,
    TaughtBackend,
    Trial,
    plan_recipe,
    write_recipe,
)
from tests.unit.test_adapt import SMALL, draw_photo


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """``bad`` and ``masks``, four photos with dark spots; ``good``, three without."""
    place = tmp_path_factory.mktemp("recipe")
    for name in ("bad", "masks", "good"):
        (place / name).mkdir()
    for number in range(7):
        clean, spotted, mask = draw_photo(number)
        if number < 4:
            cv2.imwrite(str(place / "bad" / f"{number}.png"), spotted)
            cv2.imwrite(str(place / "masks" / f"{number}.png"), mask.astype(np.uint8) * 255)
        else:
            cv2.imwrite(str(place / "good" / f"{number}.png"), clean)
    return place


@pytest.fixture(scope="module")
def adapter(folders):
    settings = {f"adapt.{key}": value for key, value in SMALL.items()} | {"adapt.choose": "realism"}
    return adapt(
        {
            "out": folders / "adapter",
            "real.path": folders / "bad",
            "real.masks": folders / "masks",
            "real.defect_class": "spot",
            **settings,
        },
        quiet=True,
    )


def test_adapt_writes_a_bank_and_a_recipe_that_says_what_was_tried(adapter) -> None:
    assert adapter.bank.is_file()
    text = adapter.recipe.read_text()
    assert text.startswith("# @package _global_\n# Written by synthgen adapt.\n# Chosen: ")
    assert adapter.reason in text
    tried = [line.split() for line in text.splitlines() if line.startswith(("# yes", "# no"))]
    assert len(tried) == 2 * 3 * 3  # adapter, strength, texture
    assert text.count("# crop-paste") == 3
    node = yaml.safe_load(text)
    assert node["run"]["count"] == 200
    assert Path(node["bank"]["path"]) == adapter.folder / "bank"


def test_generate_and_preview_take_the_folder_of_an_adapter(adapter, folders) -> None:
    own = {
        "experiment": adapter.folder,
        "source": "folder",
        "source.path": folders / "good",
        "run.count": 4,
        "run.good_fraction": 0,
        "backend.hardware.threads": 1,
    }
    config = compose("generate", [f"experiment={adapter.folder}", "run.count=7"])
    node = yaml.safe_load(adapter.recipe.read_text())
    assert config.bank.path == node["bank"]["path"]
    assert config.run.count == 7
    assert config.defect == {}
    drawn = preview(own, {"run.folder": folders / "look"}, quiet=True)
    assert {tile.defect_class for tile in drawn.drawn.tiles} == {"spot"}
    done = generate(own, {"run.folder": folders / "run"}, quiet=True)
    manifest = read_run(done.root).manifest
    assert set(manifest["defect_class"]) == {"spot"}
    assert set(manifest["split"]) == {"train"}


def test_a_path_without_a_recipe_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"has no experiment/recipe\.yaml; give a folder that"):
        compose("generate", [f"experiment={tmp_path}"])
    with pytest.raises(ConfigError, match="experiment=metall is unknown; did you mean metal"):
        compose("generate", ["experiment=metall"])


def test_a_shipped_experiment_wins_over_a_folder_of_its_name(tmp_path, monkeypatch) -> None:
    place = tmp_path / "metal" / "experiment"
    place.mkdir(parents=True)
    (place / "recipe.yaml").write_text("# @package _global_\nseed: 77\n")
    monkeypatch.chdir(tmp_path)
    assert compose("generate", ["experiment=metal"]).seed == 0
    assert compose("generate", ["experiment=./metal"]).seed == 77


def test_the_command_shows_the_config_of_a_recipe(adapter, capsys, monkeypatch) -> None:
    from synthgen.commands.cli import main

    monkeypatch.setattr(
        sys, "argv", ["synthgen", "generate", f"experiment={adapter.folder}", "--cfg", "job"]
    )
    main()
    assert str(adapter.folder / "bank") in capsys.readouterr().out


def trial(distance: float, *, adapter=True, strength=0.5, texture=0.5, contrast=1.0) -> Trial:
    wave = 0.1 * np.sin(np.arange(50))  # what all ways share
    return Trial(
        is_adapted=adapter,
        strength=strength,
        own_texture=texture,
        distances=distance + wave,
        contrast=contrast,
    )


PLAIN = plan_recipe([], "")
TAUGHT = TaughtBackend(
    backend="embedded",
    checkpoint="embedded",
    revision=None,
    nouns={},
    splits=("train",),
    material=None,
)
USUAL = [trial(1.0), trial(1.2, adapter=False)]


@pytest.mark.parametrize(
    ("trials", "chosen", "said"),
    [
        (USUAL, (True, 0.5, 0.5), "no other way is nearer"),
        ([*USUAL, trial(0.5, texture=0.0)], (True, 0.5, 0.0), "it is nearest"),
        ([*USUAL, trial(0.5, strength=0.35, texture=0.0)], (True, 0.5, 0.5), "no other way"),
        (
            [
                trial(1.0, contrast=0.3),
                trial(1.2, adapter=False, contrast=3.0),
                trial(1.1, strength=0.35, texture=1.0),
            ],
            (True, 0.35, 1.0),
            "it is nearest",
        ),
        ([*USUAL, trial(0.5, strength=0.75, contrast=0.2)], (True, 0.5, 0.5), "no other way"),
        ([*USUAL, trial(0.2, strength=0.0, adapter=False)], (True, 0.5, 0.5), "no other way"),
        (
            [trial(0.1, contrast=0.3), trial(1.2, adapter=False)],
            (False, 0.5, 0.5),
            "the adapter is left out, as its defects were never as strong",
        ),
        (
            [*USUAL, trial(0.4, adapter=False, texture=1.0)],
            (False, 0.5, 1.0),
            "the adapter is left out, as without it they are nearer",
        ),
        (
            [trial(0.1, contrast=0.3), trial(0.2, adapter=False, contrast=9.0)],
            (False, 0.5, 0.5),
            "never as strong",
        ),
    ],
)
def test_a_way_is_chosen_where_it_is_nearer_beyond_chance(trials, chosen, said) -> None:
    recipe = _decide(PLAIN, trials, 0.3)
    assert (recipe.use_adapter, recipe.strength, recipe.own_texture) == chosen
    assert said in recipe.reason


def test_a_lead_that_is_chance_is_none() -> None:
    noisy = trial(0.97, texture=0.0)
    noisy.distances[:] += np.random.default_rng(0).normal(0, 0.1, 50)
    assert _decide(PLAIN, [*USUAL, noisy], 0.3).own_texture == 0.5


def test_a_recipe_without_the_adapter_calls_classes_by_known_nouns(tmp_path) -> None:
    recipe = Recipe(use_adapter=False, strength=0.35, own_texture=1.0, count=300, reason="so")
    write_recipe(tmp_path, recipe, replace(TAUGHT, nouns={"blow_hole": "pit"}))
    node = yaml.safe_load((tmp_path / RECIPE).read_text())
    assert node["bank"]["words"] == {"blow_hole": "pit"}
    assert node["backend"] == {"painting": {"strength": 0.35}}


def test_a_way_must_be_nearer_to_every_part_that_was_held_back() -> None:
    usual, other = trial(1.0), trial(0.5)
    both = np.stack([usual.distances, usual.distances])
    apart = np.stack([usual.distances - 0.9, usual.distances + 0.1])
    assert replace(other, distances=both - 0.2).is_nearer_than(replace(usual, distances=both))
    assert not replace(other, distances=apart).is_nearer_than(replace(usual, distances=both))


def test_a_recipe_names_the_backend_that_was_taught(tmp_path) -> None:
    painter = replace(
        TAUGHT, backend="sd15", checkpoint="my/model", splits=("train", "val"), material="metal"
    )
    write_recipe(tmp_path, replace(PLAIN, own_lines=True), painter)
    config = compose("generate", [f"experiment={tmp_path}"])
    assert (config.backend.name, config.backend.model.checkpoint) == ("sd15", "my/model")
    assert config.backend.model.adapter == str(tmp_path)
    assert list(config.bank.splits) == ["train", "val"]
    assert config.bank.own_lines is True
    assert config.prompt.material == "metal"


def keep(crops, strength):
    """Paint what the sketch shows."""
    return [crop.defective for crop in crops]


def fade(crops, strength):
    """Paint a defect that is hardly there."""
    return [(0.9 * c.source + 0.1 * c.defective).round().astype(np.uint8) for c in crops]


@pytest.fixture(scope="module")
def parts(folders):
    """Examples to learn and those held back."""
    images = read_real({"path": str(folders / "bad"), "masks": str(folders / "masks")})
    examples, _ = make_examples(images, name_classes(images, {}), "surface")
    return hold_back(examples, 0.3, 0)


def test_an_adapter_that_paints_too_faint_is_left_out(parts, tmp_path) -> None:
    found = choose_recipe(*parts, {True: fade, False: keep}, 0)
    assert not found.use_adapter
    assert found.own_contrast < 0.2
    assert "a held-back defect that it paints is 0.1" in found.reason
    assert not any(one.is_adapted for one in found.trials)
    write_recipe(tmp_path, found, TAUGHT)
    assert "adapter" not in yaml.safe_load((tmp_path / RECIPE).read_text()).get("backend", {})
    told = json.loads((tmp_path / TRIED).read_text())
    assert told["chosen"]["adapter"] is False
    assert len(told["trials"]) == 4 * 3


@pytest.mark.parametrize(
    ("missing", "features"),
    [(["timm"], "random features"), (["torchmetrics"], ""), (["timm", "torchvision"], "")],
)
def test_without_the_extras_what_is_there_is_measured(
    missing, features, parts, monkeypatch
) -> None:
    def find(name, package=None):
        return None if name in missing else find_spec(name, package)

    monkeypatch.setattr("synthgen.evaluation.recipe.find_spec", find)
    monkeypatch.setattr("synthgen.training.features.find_spec", find)
    found = choose_recipe(*parts, {True: keep, False: fade}, 0)
    assert (found.use_adapter, found.features) == (True, features)
    assert found.own_contrast == pytest.approx(1)
    if not features:
        assert "the defaults, since trying needs pip install" in found.reason
        weak = choose_recipe(*parts, {True: fade, False: keep}, 0)
        assert not weak.use_adapter
        assert "left out" in weak.reason


def test_where_nothing_is_held_back_nothing_is_tried(parts) -> None:
    everything = [*parts[0], *parts[1]]
    found = choose_recipe(everything, everything, {True: keep, False: fade}, 0)
    assert found.use_adapter
    assert found.reason == "the defaults, since no part could be held back"


def test_painting_the_real_look_is_preferred(parts) -> None:
    """A painter that leaves defects as they are is nearer than one that turns them bright."""
    taught, held = parts

    def brighten(crops, strength):
        return [np.where(c.defect_mask[..., None], 200, c.source).astype(np.uint8) for c in crops]

    for good in (True, False):
        found = choose_recipe(taught, held, {good: keep, not good: brighten}, 0)
        assert found.use_adapter is good
    asked = choose_recipe(taught, held, {True: keep}, 0, "defaults")
    assert asked.trials == ()
    assert asked.reason == "the defaults, since adapt.choose asks for these"
