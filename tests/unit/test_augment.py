"""Images and masks vary together: one transform, exact labels, no global randomness."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from synthgen.backends.backend import SketchBackend
from synthgen.commands.worker import RunWorker
from synthgen.conditioning.augment import AlbumentationsAugment, Augment, TorchvisionAugment
from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.edges import canny_control
from synthgen.conditioning.variation import SPREAD_PX, check_finish
from synthgen.config.build import build_augment, build_parts, set_up
from synthgen.config.compose import compose
from synthgen.config.objects import to_plain
from synthgen.config.reproduce import reproduce
from synthgen.errors import ConfigError, SourceError
from synthgen.exporting.datasheet import write_datasheet
from synthgen.exporting.formats.coco import Coco
from synthgen.exporting.gather import ExportSettings, MixSettings, gather
from synthgen.exporting.labels import LabelledImage, LabelledSet, label_defect, read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.write import export
from synthgen.generation.generate import Stages, batched, generate
from synthgen.imaging.images import read_image, write_png
from synthgen.planning.plan import draw_plan
from synthgen.quality.changes import changed_outside
from synthgen.quality.limits import Limits, read_limits
from synthgen.runs.folder import open_run
from synthgen.runs.manifest import is_augmented, photo_of
from synthgen.runs.reader import read_run
from synthgen.samples.sample import Candidate, Sample
from synthgen.sources import FolderSources, ProceduralSources, Sources
from synthgen.storage.files import find_shipped
from synthgen.storage.places import StoredFile
from synthgen.storage.provenance import ENHANCED, is_marked
from tests.cli import run_well
from tests.samples import draw_classes

Make = Callable[..., Augment]
CHAINS = {
    "albumentations": (
        AlbumentationsAugment,
        {
            "point": [
                {"name": "RandomBrightnessContrast", "p": 0.7},
                {"name": "GaussNoise", "std_range": [0.01, 0.05], "p": 0.9},
            ],
            "move": [{"name": "HorizontalFlip", "p": 1.0}, {"name": "RandomRotate90", "p": 0.5}],
            "both": [
                {"name": "GaussNoise", "std_range": [0.01, 0.05], "p": 0.5},
                {"name": "D4", "p": 1.0},
            ],
            "eight": [{"name": "ImageCompression", "quality_range": [50, 60], "p": 0.01}],
            "sway": [{"name": "Affine", "rotate": [-20, 20], "p": 1.0}],
        },
    ),
    "torchvision": (
        TorchvisionAugment,
        {
            "point": [
                {"name": "ColorJitter", "brightness": [0.7, 1.2], "p": 0.7},
                {"name": "GaussianNoise", "sigma": 0.03, "p": 0.9},
            ],
            "move": [
                {"name": "RandomHorizontalFlip", "p": 1.0},
                {"name": "RandomVerticalFlip", "p": 0.5},
            ],
            "both": [
                {"name": "GaussianNoise", "sigma": 0.03, "p": 0.5},
                {"name": "RandomHorizontalFlip", "p": 0.5},
                {"name": "RandomVerticalFlip", "p": 0.5},
            ],
            "eight": [{"name": "RandomEqualize", "p": 0.01}],
            "sway": [{"name": "RandomRotation", "degrees": 20}],
        },
    ),
}


@pytest.fixture(params=CHAINS)
def make(request) -> Make:
    kind, chains = CHAINS[request.param]
    return lambda chain: kind(chains[chain])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(colour: bool = True, dtype: type = np.uint8, size: tuple[int, int] = (48, 64)):
    shape = (*size, 3) if colour else size
    return rng(4).integers(40, 200 if dtype == np.uint8 else 4000, shape, dtype)


def blob(size: tuple[int, int] = (48, 64)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[8:20, 10:17] = True
    mask[30, 50] = True
    return mask


# one suite for both libraries


@pytest.mark.parametrize("chain", ["point", "both", "sway"])
def test_the_same_generator_gives_the_same_pictures(make, chain) -> None:
    image, mask = picture(), blob()
    kept = image.copy(), mask.copy()
    one, other = (make(chain)(rng(5), [image], [mask]) for _ in range(2))
    assert np.array_equal(one[0][0], other[0][0])
    assert np.array_equal(one[1][0], other[1][0])
    assert np.array_equal(image, kept[0])
    assert np.array_equal(mask, kept[1])
    augment = make(chain)
    drawn = {augment(rng(seed), [image], [])[0][0].tobytes() for seed in range(8)}
    assert len(drawn) >= (4 if chain != "sway" else 8)


def test_no_global_random_state_is_touched_or_read(make) -> None:
    states = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state().clone()  # noqa: NPY002
    first = make("both")(rng(5), [picture()], [])[0][0]
    assert np.array_equal(np.random.get_state()[1], states[0])  # noqa: NPY002
    assert random.getstate() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    torch.rand(3)
    random.random()
    assert np.array_equal(make("both")(rng(5), [picture()], [])[0][0], first)


def test_threads_do_not_mix_their_draws(make) -> None:
    augment, image = make("both"), picture()
    alone = [augment(rng(seed), [image], [])[0][0] for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: augment(rng(seed), [image], [])[0][0], range(24)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("chain", ["point", "both"])
def test_a_pair_differs_where_it_differed_and_nowhere_else(make, chain) -> None:
    clean, mask = picture(), blob()
    marked = clean.copy()
    marked[mask] = 255
    augment = make(chain)
    for seed in range(12):
        (one, other), (moved,) = augment(rng(seed), [marked, clean], [mask])
        assert np.array_equal((one != other).any(axis=2) & ~moved, np.zeros_like(moved))
        assert (one != other).any(axis=2).mean() > 0.5 * mask.mean()


def test_light_and_noise_leave_masks_alone(make) -> None:
    numbers = rng(1).integers(0, 9, (48, 64), np.uint8)
    maps = [blob(), numbers, picture()]
    for seed in range(6):
        (image,), moved = make("point")(rng(seed), [picture()], maps)
        assert all(np.array_equal(m, before) for m, before in zip(moved, maps, strict=True))
        assert [m.dtype for m in moved] == [m.dtype for m in maps]
        assert image.shape == picture().shape


@pytest.mark.parametrize("chain", ["move", "sway"])
def test_masks_move_as_their_picture_does(make, chain) -> None:
    mask = blob()
    shown = mask.astype(np.uint8) * 255
    for seed in range(8):
        (image,), (moved, tripled) = make(chain)(rng(seed), [shown], [mask, np.dstack([shown] * 3)])
        assert moved.dtype == bool
        assert set(np.unique(tripled)) <= {0, 255}  # never blended
        if chain == "move":
            assert np.array_equal(moved, image == 255)
        else:
            assert (moved ^ (image > 127)).sum() <= 12  # half a pixel at the edges
        assert np.array_equal(tripled[..., 1] == 255, moved)


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("chain", ["point", "move"])
def test_every_kind_of_picture_keeps_its_kind(make, chain, dtype, colour) -> None:
    image = picture(colour, dtype)
    augment = make(chain)
    drawn = [augment(rng(seed), [image], [])[0][0] for seed in range(8)]
    varied = next(each for each in drawn if not np.array_equal(each, image))
    assert varied.dtype == dtype
    assert varied.ndim == image.ndim
    if chain == "move":
        assert np.array_equal(np.sort(varied, axis=None), np.sort(image, axis=None))
    if dtype == np.uint16:
        assert len(np.unique(varied)) > 1000
        assert varied.max() <= 4095  # the top of a 12 bit camera


def test_a_transform_that_would_cut_16_bit_is_refused_whatever_is_drawn(make) -> None:
    augment = make("eight")
    augment(rng(0), [picture()], [])
    with pytest.raises(SourceError, match=r"cannot take 16 bit colour pictures: (Image|Random)"):
        augment(rng(0), [picture(dtype=np.uint16)], [])
    with pytest.raises(SourceError, match="16 bit grey"):
        augment.check(picture(False, np.uint16))


def test_grey_pictures_are_refused_by_transforms_of_colour() -> None:
    augment = AlbumentationsAugment([{"name": "ISONoise", "p": 0.01}])
    augment(rng(0), [picture()], [])
    with pytest.raises(SourceError, match="8 bit grey pictures: ISONoise fails"):
        augment(rng(0), [picture(False)], [])


def test_a_crop_larger_than_the_picture_is_said() -> None:
    augment = AlbumentationsAugment([{"name": "RandomCrop", "height": 64, "width": 64, "p": 1.0}])
    with pytest.raises(SourceError, match="RandomCrop fails"):
        augment(rng(0), [picture()], [])


@pytest.mark.parametrize(
    ("transforms", "sentence"),
    [
        ([], "transforms is empty"),
        ([{"p": 1}], r"transforms\[0\]=\{'p': 1\} must have a name"),
        ([{"name": "GausNoise"}], r"transforms\[0\]\.name=GausNoise .* did you mean Gauss"),
        ([{"name": "Compose"}], r"transforms\[0\]\.name=Compose is not a transform"),
    ],
)
@pytest.mark.parametrize("kind", [AlbumentationsAugment, TorchvisionAugment])
def test_wrong_chains_are_named(kind, transforms, sentence) -> None:
    if kind is TorchvisionAugment and transforms == [{"name": "Compose"}]:
        transforms, sentence = [{"name": "Nothing"}], r"transforms\[0\]\.name=Nothing is no"
    with pytest.raises(ConfigError, match=sentence):
        kind(transforms)


@pytest.mark.parametrize(
    ("kind", "node", "sentence"),
    [
        (
            AlbumentationsAugment,
            {"name": "D4", "angle": 3},
            r"\[1\]\.angle is not an argument of D4",
        ),
        (
            AlbumentationsAugment,
            {"name": "GaussNoise", "std_range": [0, 2]},
            r"\[1\]\.std_range=\[0, 2\] of GaussNoise is not possible",
        ),
        (AlbumentationsAugment, {"name": "D4", "p": 2}, r"\[1\]\.p=2 of D4"),
        (TorchvisionAugment, {"name": "ColorJitter", "glow": 1}, r"\[1\]\.glow is not an argument"),
        (TorchvisionAugment, {"name": "ColorJitter", "hue": 9}, r"\[1\] \(ColorJitter\) is not"),
        (TorchvisionAugment, {"name": "GaussianNoise", "p": 2}, r"\[1\]\.p=2 must lie between"),
    ],
)
def test_wrong_arguments_are_named(kind, node, sentence) -> None:
    fine = {"name": "HorizontalFlip" if kind is AlbumentationsAugment else "RandomHorizontalFlip"}
    with pytest.raises(ConfigError, match=sentence):
        kind([fine, node])


@pytest.mark.parametrize(
    ("kind", "node"),
    [
        (AlbumentationsAugment, {"name": "ShotNoise", "p": 0.5}),
        (AlbumentationsAugment, {"name": "ISONoise", "p": 0.5}),
        (AlbumentationsAugment, {"name": "Equalize", "p": 0.5}),
        (TorchvisionAugment, {"name": "ColorJitter", "contrast": 0.4}),
        (TorchvisionAugment, {"name": "RandomEqualize"}),
    ],
)
def test_a_finish_that_tells_a_pair_apart_is_refused(kind, node) -> None:
    with pytest.raises(ConfigError, match="change an image and its clean partner differently"):
        check_finish(kind([node]))


def test_blur_and_jpeg_are_a_finish() -> None:
    check_finish(
        AlbumentationsAugment(
            [{"name": "GaussianBlur", "p": 1.0}, {"name": "ImageCompression", "p": 1.0}]
        )
    )


# in the flow


def stages_of(
    sources: Sources, finish: Augment | None = None, source: Augment | None = None, **options
) -> Stages:
    classes = draw_classes("pit", "scratch", instances=(1, 3))
    condition = Conditioner(sources, classes, {"canny": canny_control()}, 4, augment=source)
    limits = options.pop("limits", Limits())
    return Stages(
        condition=condition, backend=SketchBackend(), limits=limits, finish=finish, **options
    )


def paint(stages: Stages, sources: Sources, count: int = 6) -> list[Sample]:
    classes = draw_classes("pit", "scratch", instances=(1, 3))
    specs = draw_plan(sources, classes, count, 1, {"train": 1}, 3)
    made = [outcome for outcome in generate(specs, stages) if isinstance(outcome, Sample)]
    assert len(made) == count + 1
    return made


@pytest.fixture(scope="module")
def surfaces() -> ProceduralSources:
    return ProceduralSources(7, (96, 128), (), 3)


@pytest.fixture(scope="module")
def plain(surfaces) -> list[Sample]:
    return paint(stages_of(surfaces, retries=()), surfaces)


def turns(array: np.ndarray) -> list[np.ndarray]:
    """Return an array in the eight ways in which a square can lie."""
    return [np.rot90(side, k) for side in (array, array[:, ::-1]) for k in range(4)]


def test_a_turned_finish_turns_the_label_with_the_image(surfaces, plain) -> None:
    finish = AlbumentationsAugment([{"name": "D4", "p": 1.0}])
    used = set()
    for before, after in zip(plain, paint(stages_of(surfaces, finish), surfaces), strict=True):
        places = [
            n
            for n, turned in enumerate(turns(before.candidate.pixels))
            if np.array_equal(turned, after.candidate.pixels)
        ]
        assert len(places) == 1
        used.add(places[0])
        assert np.array_equal(turns(before.class_map())[places[0]], after.class_map())
        masks = [turns(a.mask)[places[0]] for a in before.annotations]
        assert [a.instance_id for a in after.annotations] == [
            a.instance_id for a in before.annotations
        ]
        assert all(
            np.array_equal(mask, a.mask) for mask, a in zip(masks, after.annotations, strict=True)
        )
        condition, then = before.candidate.condition, after.candidate.condition
        for name in ("image", "defect_mask", "repaint_mask", "sketch", "control_image"):
            turned = turns(getattr(condition, name))[places[0]]
            assert np.array_equal(turned, getattr(then, name)), name
    assert len(used) > 2


@pytest.mark.parametrize("kind", CHAINS)
def test_noise_and_light_leave_the_label_to_the_bit(kind, surfaces, plain) -> None:
    build, chains = CHAINS[kind]
    after = paint(stages_of(surfaces, build(chains["point"]), retries=()), surfaces)
    changed = 0
    for before, now in zip(plain, after, strict=True):
        assert np.array_equal(before.class_map(), now.class_map())
        asked, then = before.candidate.condition, now.candidate.condition
        assert np.array_equal(asked.defect_mask, then.defect_mask)
        outside = ~then.repaint_mask
        assert np.array_equal(now.candidate.pixels[outside], then.source.pixels[outside])
        changed += not np.array_equal(before.candidate.pixels, now.candidate.pixels)
    assert changed >= 5  # the good one among them: noise must not tell good from bad


def test_a_defect_that_drowns_in_noise_is_rejected(surfaces) -> None:
    noise = AlbumentationsAugment([{"name": "GaussNoise", "std_range": [0.4, 0.5], "p": 1.0}])
    limits = read_limits({"contrast_delta_e": [1.5, None]})
    clear = paint(stages_of(surfaces, limits=limits, retries=()), surfaces)
    noisy = paint(stages_of(surfaces, noise, limits=limits, retries=()), surfaces)
    lost, before = (
        sum("contrast_delta_e" in reason for one in samples for reason in one.reasons)
        for samples in (noisy, clear)
    )
    assert lost > before


def test_what_a_blur_carries_over_the_border_is_no_change_outside(surfaces) -> None:
    blur = [{"name": "GaussianBlur", "blur_limit": 0, "sigma_limit": [3, 3], "p": 1.0}]
    samples = paint(stages_of(surfaces, AlbumentationsAugment(blur), retries=()), surfaces)
    spread = 0
    for sample in samples:
        candidate, condition = sample.candidate, sample.candidate.condition
        differs = (candidate.image != condition.image).any(axis=2)
        spread += int((differs & ~condition.repaint_mask).sum())
        assert not changed_outside(candidate).any()
    assert spread > 0
    candidate = samples[0].candidate
    image = candidate.image.copy()
    rows, columns = np.nonzero(candidate.condition.repaint_mask)
    far = 0 if rows.min() > SPREAD_PX or columns.min() > SPREAD_PX else -1
    image[far, far] = 255 - image[far, far]
    changed = Candidate(candidate.condition, image, image, candidate.realised_mask)
    assert changed_outside(changed).sum() == 1
    strict = replace(changed, condition=replace(candidate.condition, spread_px=0))
    assert changed_outside(strict).sum() > 1


def test_every_painting_and_try_of_a_sample_is_finished_alike(surfaces) -> None:
    noise = AlbumentationsAugment([{"name": "GaussNoise", "std_range": [0.1, 0.2], "p": 1.0}])
    never = read_limits({"area_px": [90000, None]})
    once = paint(stages_of(surfaces, noise, noise, retries=()), surfaces)
    often = paint(
        stages_of(surfaces, noise, noise, limits=never, retries=("noise", "place"), candidates=2),
        surfaces,
    )
    for one, other in zip(once, often, strict=True):
        assert np.array_equal(
            one.candidate.condition.source.pixels, other.candidate.condition.source.pixels
        )
    assert max(len(sample.tries) for sample in often) == 3


def test_a_source_turns_with_the_region_of_its_defects(tmp_path) -> None:
    grain = rng(2).normal(120, 6, (96, 128)).clip(0, 255).astype(np.uint8)
    write_png(tmp_path / "photos" / "a.png", grain)
    legal = np.zeros_like(grain)
    legal[:, :64] = 255
    write_png(tmp_path / "legal" / "a.png", legal)
    sources = FolderSources(str(tmp_path / "photos"), legal=str(tmp_path / "legal"))
    flip = AlbumentationsAugment([{"name": "HorizontalFlip", "p": 1.0}])
    for sample in paint(stages_of(sources, source=flip), sources, 5):
        condition = sample.candidate.condition
        assert np.array_equal(condition.source.pixels, grain[:, ::-1])
        if not sample.spec.is_defect_free:
            assert np.array_equal(condition.allowed, legal[:, ::-1] > 0)
            assert not condition.defect_mask[:, :64].any()


def test_16_bit_sources_are_finished_in_16_bit_or_not_at_all(tmp_path) -> None:
    deep = rng(2).normal(2000, 90, (96, 96)).clip(0, 4095).astype(np.uint16)
    write_png(tmp_path / "deep.png", deep)
    sources = FolderSources(str(tmp_path))
    fine = AlbumentationsAugment([{"name": "GaussNoise", "std_range": [0.01, 0.01], "p": 1.0}])
    for sample in paint(stages_of(sources, fine, retries=()), sources, 3):
        pixels, clean = sample.candidate.pixels, sample.candidate.condition.source.pixels
        assert pixels.dtype == clean.dtype == np.uint16
        assert 20 < (clean.astype(float) - deep).std() < 60  # 1 % of 4095
        outside = ~sample.candidate.condition.repaint_mask
        assert np.array_equal(pixels[outside], clean[outside])
    jpeg = AlbumentationsAugment([{"name": "ImageCompression", "p": 0.5}])
    classes = draw_classes("pit", "scratch")
    specs = draw_plan(sources, classes, 2, 0, {"train": 1}, 0)
    for outcome in generate(specs, stages_of(sources, jpeg)):
        assert not isinstance(outcome, Sample)
        assert "16 bit grey pictures: ImageCompression" in outcome.reason


# in runs


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        grain = rng(number).normal(120, 7, (80, 96, 3)).clip(0, 255).astype(np.uint8)
        write_png(folder / f"{number}.png", grain)
    return folder


def config_of(folder: Path, photos: Path, *options: str) -> DictConfig:
    small = ["backend=sketch", "run.count=6", "run.good_fraction=0.4", "defect=[pit,scratch]"]
    chosen = options if any(o.startswith("augment=") for o in options) else ("augment=camera",)
    where = ["source=folder", f"source.path={photos}", f"run.folder={folder}"]
    return compose("generate", [*small, *where, *dict.fromkeys((*chosen, *options))])


def make_run(folder: Path, photos: Path, *options: str, backwards: bool = False) -> Path:
    """Make a run as pipelines/generate.py does, in this process."""
    config = config_of(folder, photos, *options)
    job = set_up(config)
    run = open_run(str(folder), to_plain(config), job.specs, {"versions": {}})
    worker = RunWorker(config, str(folder), job.parts)
    batches = list(batched(job.specs, job.batch_size))
    for batch in reversed(batches) if backwards else batches:
        worker(batch)
    run.merge()
    return folder


@pytest.fixture(scope="module")
def camera_run(tmp_path_factory, photos) -> Path:
    return make_run(tmp_path_factory.mktemp("camera") / "run", photos)


def test_the_clean_partner_lies_beside_the_image_and_the_photo_is_known(camera_run, photos) -> None:
    run = read_run(camera_run)
    assert set(run.manifest["photo"]) == {str(photos / f"{n}.png") for n in range(3)}
    for row in run.manifest.to_dict("records"):
        assert row["source_path"] == f"sources/{row['sample_id']}.png"
        image, clean = (read_image(run.stored(row[name])) for name in ("image", "source_path"))
        assert image.shape == clean.shape
        assert is_marked(run.read(row["source_path"]))
        assert (row["status"] == "good") == np.array_equal(image, clean)
        assert (photo_of(row), is_augmented(row)) == (row["photo"], True)
        assert row["changed_outside_px"] in (0, None) or np.isnan(row["changed_outside_px"])
    labels = read_labels(camera_run)
    good = [image for image in labels if not image.defects]
    assert good
    assert all((i.digital_source, i.is_synthetic) == (ENHANCED, False) for i in good)


def test_any_image_can_be_made_again(camera_run) -> None:
    for sample_id in read_run(camera_run).manifest["sample_id"]:
        again = reproduce(str(camera_run), sample_id)
        assert (again.worst_levels, again.other_label_px) == (0, 0)


def test_batches_and_their_order_do_not_matter(camera_run, photos, tmp_path) -> None:
    other = make_run(tmp_path / "run", photos, "run.batch_size=2", backwards=True)
    pd.testing.assert_frame_equal(read_run(other).manifest, read_run(camera_run).manifest)
    assert_same_files(other, camera_run)


def assert_same_files(one: Path, other: Path) -> None:
    for folder in ("images", "masks", "sources", "requested", "controls"):
        names = sorted(p.name for p in (one / folder).iterdir())
        assert names == sorted(p.name for p in (other / folder).iterdir())
        for name in names:
            assert (one / folder / name).read_bytes() == (other / folder / name).read_bytes()


def test_clean_partners_lie_in_tars_too(camera_run, photos, tmp_path) -> None:
    run = read_run(make_run(tmp_path / "run", photos, "run.storage=tar"))
    for row in run.manifest.to_dict("records"):
        assert run.read(row["source_path"]) == (camera_run / row["source_path"]).read_bytes()


def test_a_varied_copy_of_a_real_test_photo_stays_out_of_training(
    camera_run, photos, tmp_path
) -> None:
    mask = np.zeros((80, 96), bool)
    mask[4:9, 4:9] = True
    real = [
        LabelledImage(
            sample_id=f"photo{n}",
            path=StoredFile.at(photos / f"{n}.png"),
            split="test" if n == 1 else "train",
            group=f"p{n}",
            size_hw=(80, 96),
            defects=(label_defect(1, mask),),
        )
        for n in range(3)
    ]
    export(LabelledSet({"pit": 1}, real), {"coco": Coco()}, tmp_path / "real", Media())
    manifest = read_run(camera_run).manifest
    of_test = set(manifest.loc[manifest["photo"] == str(photos / "1.png"), "sample_id"])
    settings = ExportSettings(
        out="x", include="all", real=MixSettings(path=str(tmp_path / "real/coco"))
    )
    ids = {image.sample_id for image in gather(camera_run, settings).labels}
    assert of_test
    assert not of_test & ids
    assert ids >= set(manifest["sample_id"]) - of_test


def test_the_datasheet_counts_photos_and_names_the_transforms(camera_run, tmp_path) -> None:
    labels = read_labels(camera_run)
    text = write_datasheet(labels, tmp_path, [], {}, []).read_text()
    assert "a photograph, varied as a whole" in text
    assert "D4, RandomBrightnessContrast, RandomGamma, Illumination" in text
    assert "GaussianBlur, MultiplicativeNoise, GaussNoise, ImageCompression" in text
    assert "Afterwards each image was varied as a whole" in text
    assert f"Photographs of good parts: {len({i.group for i in labels})}, from" in text


def test_nothing_is_varied_unless_it_is_asked_for(photos, tmp_path) -> None:
    config = config_of(tmp_path / "run", photos, "augment=none")
    stages = build_parts(config).stages
    assert stages.finish is None
    assert isinstance(stages.condition, Conditioner)
    assert stages.condition.augment is None
    code = "import sys, synthgen.config.build; print('albumentations' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    folder = make_run(tmp_path / "run", photos, "augment=none")
    manifest = read_run(folder).manifest
    assert list(manifest["photo"]) == list(manifest["source_path"])
    assert not (folder / "sources").exists()


def test_drawn_surfaces_have_no_photo(tmp_path) -> None:
    options = ("source=procedural", "source.size_hw=[64,64]", "augment=sensor")
    small = ["backend=sketch", "run.count=2", "defect=[pit]", f"run.folder={tmp_path / 'run'}"]
    config = compose("generate", [*small, *options])
    job = set_up(config)
    run = open_run(str(tmp_path / "run"), to_plain(config), job.specs, {})
    RunWorker(config, str(tmp_path / "run"), job.parts)(job.specs)
    for row in run.merge().to_dict("records"):
        assert (row["photo"], photo_of(row), is_augmented(row)) == ("", "", False)
        assert row["source_path"] == f"sources/{row['sample_id']}.png"


def test_rows_of_older_runs_have_their_photo_in_source_path() -> None:
    assert photo_of({"source_path": "/photos/a.png"}) == "/photos/a.png"
    assert photo_of({"source_path": "sources/cast-000001.png"}) == ""
    assert photo_of({"source_path": None, "photo": None}) == ""


@pytest.mark.parametrize("path", sorted((find_shipped("conf") / "augment").glob("*.yaml")))
def test_every_shipped_choice_takes_a_picture(path) -> None:
    config = compose("generate", [f"augment={path.stem}", "run.folder=x"]).augment
    for key, node in to_plain(config).items():
        augment = build_augment(node, f"augment.{key}")
        assert (augment is None) == (node is None)
        if augment is not None:
            (image,), _ = augment(rng(1), [picture()], [])
            assert image.dtype == np.uint8
    if path.stem == "camera":
        assert config.source.transforms[0].name == "D4"
        assert config.finish == compose("generate", ["augment=sensor"]).augment.finish


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        ({"transforms": [{"name": "ShotNoise"}]}, "augment.finish: transforms change an image"),
        ({"transforms": [{"name": "Gone"}]}, r"augment.finish: transforms\[0\].name=Gone"),
        ({"chain": []}, "augment.finish.chain is unknown"),
    ],
)
def test_the_key_of_a_wrong_augmentation_is_said(node, sentence) -> None:
    target = {"_target_": "synthgen.conditioning.augment.AlbumentationsAugment"}
    with pytest.raises(ConfigError, match=sentence):
        build_augment(target | node, "augment.finish")


def test_other_parts_than_source_and_finish_are_refused(photos, tmp_path) -> None:
    config = config_of(tmp_path, photos)
    OmegaConf.set_struct(config, False)
    config.augment.middle = {}
    with pytest.raises(ConfigError, match=r"augment\.middle"):
        build_parts(config)


def test_the_command_line_with_several_processes_makes_the_same(photos, tmp_path) -> None:
    options = ("augment=sensor", "run.batch_size=2")
    expected = make_run(tmp_path / "here", photos, *options)
    arguments = ["backend=sketch", "run.count=6", "run.good_fraction=0.4", "defect=[pit,scratch]"]
    arguments += ["source=folder", f"source.path={photos}", f"run.folder={tmp_path / 'run'}"]
    run_well("generate", "executor=processes", *arguments, *options)
    assert_same_files(tmp_path / "run", expected)
    pd.testing.assert_frame_equal(read_run(tmp_path / "run").manifest, read_run(expected).manifest)
