"""The labels of the hard set as tensors: as known, after transforms, from workers, mixed."""

from __future__ import annotations

import pickle
import warnings
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from synthgen.errors import ConfigError, ShapeError
from synthgen.exporting.labels import LabelledSet, read_labels
from synthgen.imaging.images import grey_window, read_image, to_rgb8
from synthgen.storage.places import StoredFile
from synthgen.training.dataset import BoxesFromMasks, DefectDataset
from synthgen.training.inspection import DefectCrops
from synthgen.training.mixing import IGNORED, Mixing, MixingSampler, mark_border
from synthgen.training.pictures import read_picture
from tests.hard_set import CASES, CLASSES, TEST, make_hard_run, size_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lightning
    from torchmetrics.detection import MeanAveragePrecision
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    from synthgen.training.datamodule import DefectDataModule, list_batch, stack_batch

SMALL = [case for case in CASES if case != "large"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return make_hard_run(tmp_path_factory.mktemp("training") / "run")


@pytest.fixture(scope="module")
def labels(run_folder) -> LabelledSet:
    return read_labels(run_folder)


@pytest.fixture
def small(labels) -> LabelledSet:
    """The set without its one large image, so that batches stack."""
    return replace(labels, images=[i for i in labels if i.sample_id != "large"])


def item(dataset: DefectDataset, case: str):
    return dataset[[image.sample_id for image in dataset.images].index(case)]


@pytest.mark.parametrize("case", CASES)
def test_instances_are_the_known_masks(labels, case) -> None:
    image, target = item(DefectDataset(labels), case)
    height, width = size_of(case)
    assert type(image) is tv_tensors.Image
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, height, width))
    defects = CASES[case]
    masks = np.stack([mask for _, mask in defects]) if defects else np.zeros((0, height, width))
    assert type(target["masks"]) is tv_tensors.Mask
    assert np.array_equal(target["masks"].numpy(), masks)
    assert target["labels"].tolist() == [CLASSES[name] for name, _ in defects]
    assert target["area"].tolist() == [mask.sum() for mask in masks]
    boxes = target["boxes"]
    assert type(boxes) is tv_tensors.BoundingBoxes
    assert (boxes.format, boxes.canvas_size) == (
        tv_tensors.BoundingBoxFormat.XYXY,
        (height, width),
    )
    assert (boxes.dtype, tuple(boxes.shape)) == (torch.float32, (len(masks), 4))
    for box, mask in zip(boxes.int().tolist(), masks, strict=True):
        cut = mask[box[1] : box[3], box[0] : box[2]]
        assert cut.sum() == mask.sum()
        assert all(edge.any() for edge in (cut[0], cut[-1], cut[:, 0], cut[:, -1]))
    assert target["labels"].dtype == target["iscrowd"].dtype == torch.int64
    assert target["iscrowd"].tolist() == [0] * len(masks)


def test_images_are_the_files_and_16_bit_is_seen_as_elsewhere(labels) -> None:
    for entry, (image, _) in zip(labels, DefectDataset(labels), strict=False):
        pixels = read_image(entry.path)
        assert (pixels.dtype == np.uint16) == (entry.sample_id == "grey_16_bit")
        assert np.array_equal(image.permute(1, 2, 0).numpy(), to_rgb8(pixels, grey_window(pixels)))


def test_semantic_masks_hold_class_ids_and_ignored_pixels(labels, tmp_path) -> None:
    dataset = DefectDataset(labels, target="semantic")
    for case, defects in CASES.items():
        known = np.zeros(size_of(case), np.int64)
        for name, mask in defects:
            known[mask] = CLASSES[name]
        _, classes = item(dataset, case)
        assert type(classes) is tv_tensors.Mask
        assert classes.dtype == torch.int64
        assert np.array_equal(classes.numpy(), known)
    assert dataset.num_classes == max(CLASSES.values()) + 1 == 13
    hole = next(image for image in labels if image.sample_id == "hole")
    written = hole.class_map()
    written[:4] = 255
    cv2.imwrite(str(tmp_path / "soft.png"), written)
    softer = replace(
        labels, images=[replace(hole, label_path=StoredFile.at(tmp_path / "soft.png"))]
    )
    _, target = DefectDataset(softer, target="both")[0]
    assert np.array_equal(target["semantic"].numpy(), written)
    assert target["masks"].sum() == hole.defects[0].area_px


def test_splits_and_ids_are_those_of_an_export(labels, run_folder) -> None:
    dataset = DefectDataset(run_folder, "test")
    assert sorted(image.sample_id for image in dataset.images) == sorted(TEST)
    ids = {image.sample_id: number for number, image in enumerate(labels, start=1)}
    found = {
        i.sample_id: target["image_id"]
        for i, (_, target) in zip(dataset.images, dataset, strict=False)
    }
    assert found == {case: ids[case] for case in TEST}
    with pytest.raises(ConfigError, match="'val'; the set has train, test"):
        DefectDataset(labels, "val")
    with pytest.raises(ConfigError, match="instances, semantic, both"):
        DefectDataset(labels, target="boxes")  # type: ignore[arg-type]


def test_an_image_of_another_size_than_its_labels_is_named(labels) -> None:
    odd = replace(labels.images[0], size_hw=(7, 9))
    with pytest.raises(ShapeError, match=r"48 x 64 px .* for 7 x 9"):
        DefectDataset(replace(labels, images=[odd]))[0]
    with pytest.raises(ShapeError, match=r"48 x 64 px .* for 7 x 9"):
        read_picture(odd, labels.names)


def test_images_of_another_source_need_no_run(labels) -> None:
    real = [replace(i, sample_id=f"real-{i.sample_id}", digital_source="") for i in labels]
    real = [replace(image, label_path=None, facts={}) for image in real]
    both = replace(labels, images=[*labels, *real])
    dataset = DefectDataset(both, target="both")
    assert Counter(dataset.is_synthetic) == {True: len(labels), False: len(labels)}
    for case in CASES:
        (one, of_run), (other, of_real) = item(dataset, case), item(dataset, f"real-{case}")
        assert torch.equal(one, other)
        assert torch.equal(of_run["masks"], of_real["masks"])
        assert torch.equal(of_run["semantic"], of_real["semantic"])


def test_it_pickles_small_and_opens_files_late(labels) -> None:
    pickled = pickle.dumps(DefectDataset(labels, target="both", transforms=BoxesFromMasks()))
    assert len(pickled) < 100_000
    assert_same(list(pickle.loads(pickled)), DefectDataset(labels, target="both"))
    gone = replace(labels.images[0], path=replace(labels.images[0].path, path="gone.png"))
    dataset = DefectDataset(replace(labels, images=[gone]))
    assert len(dataset) == 1
    with pytest.raises(Exception, match=r"gone\.png cannot be read"):
        dataset[0]


def test_workers_give_what_the_process_itself_gives(small) -> None:
    dataset = DefectDataset(small, target="both")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking a process that has threads
        loader = DataLoader(dataset, 2, num_workers=2, collate_fn=list_batch)
        found = [pair for batch in loader for pair in zip(*batch, strict=True)]
    assert_same(found, dataset)


def assert_same(found, dataset) -> None:
    assert len(found) == len(dataset)
    for (image, target), (own_image, own_target) in zip(found, dataset, strict=False):
        assert torch.equal(image, own_image)
        assert type(target["boxes"]) is tv_tensors.BoundingBoxes
        assert target["boxes"].canvas_size == own_target["boxes"].canvas_size
        assert target.keys() == own_target.keys()
        for key, value in own_target.items():
            assert torch.equal(torch.as_tensor(target[key]), torch.as_tensor(value)), key


@pytest.mark.parametrize("case", SMALL)
def test_a_flip_moves_image_masks_and_boxes_alike(small, case) -> None:
    plain, target = item(DefectDataset(small, target="both"), case)
    flip = v2.Compose([v2.RandomHorizontalFlip(1), v2.RandomVerticalFlip(1), BoxesFromMasks()])
    image, turned = item(DefectDataset(small, transforms=flip, target="both"), case)
    assert torch.equal(image, plain.flip(1, 2))
    assert torch.equal(turned["masks"], target["masks"].flip(1, 2))
    assert torch.equal(turned["semantic"], target["semantic"].flip(0, 1))
    left, top, right, bottom = target["boxes"].unbind(1)
    mirrored = torch.stack([64 - right, 48 - bottom, 64 - left, 48 - top], dim=1)
    assert torch.equal(turned["boxes"].as_subclass(torch.Tensor), mirrored)
    assert torch.equal(turned["area"], target["area"])


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomRotation((30, 30), expand=True),
        v2.RandomAffine(degrees=(20, 20), translate=(0.1, 0.1), scale=(0.8, 1.3), shear=5),
        v2.RandomCrop((40, 40)),
        v2.Resize((96, 128)),
        v2.RandomResizedCrop((32, 32)),
        v2.RandomPerspective(p=1.0),
        v2.RandomPhotometricDistort(p=1.0),
    ],
    ids=lambda t: type(t).__name__,
)
def test_boxes_are_tight_after_any_transform_good_parts_too(small, case, transform) -> None:
    chain = v2.Compose([transform, BoxesFromMasks(), v2.ToDtype(torch.float32, scale=True)])
    with torch.random.fork_rng():
        torch.manual_seed(1)
        image, target = item(DefectDataset(small, transforms=chain, target="both"), case)
    count = len(target["labels"])
    assert 0 <= image.min() <= image.max() <= 1
    assert target["masks"].shape == (count, *image.shape[1:])
    assert target["boxes"].shape == (count, 4)
    assert target["boxes"].canvas_size == tuple(image.shape[1:])
    assert len(target["iscrowd"]) == len(target["area"]) == count
    for mask, box, area in zip(target["masks"], target["boxes"], target["area"], strict=True):
        rows, columns = np.nonzero(mask.numpy())
        assert box.tolist() == [
            columns.min(),
            rows.min(),
            columns.max() + 1,
            rows.max() + 1,
        ]
        assert area == len(rows) > 0


def test_rotated_boxes_are_loose_without_it(small) -> None:
    turn = v2.RandomRotation((30, 30))
    _, loose = item(DefectDataset(small, transforms=turn), "one_pixel_scratch")
    _, tight = BoxesFromMasks()(None, loose)
    sizes = [box[2:] - box[:2] for box in (loose["boxes"][0], tight["boxes"][0])]
    assert sizes[1].prod() < sizes[0].prod()


def test_defects_that_left_the_image_are_dropped(small) -> None:
    upper_left = v2.Lambda(lambda x: v2.functional.crop(x, 0, 0, 20, 20), *[tv_tensors.TVTensor])
    chain = v2.Compose([upper_left, BoxesFromMasks()])
    _, target = item(DefectDataset(small, transforms=chain), "two_classes")
    assert target["labels"].tolist() == [CLASSES["pit"]]
    assert target["boxes"].tolist() == [[4, 4, 9, 9]]
    _, none = item(DefectDataset(small, transforms=chain), "one_pixel_scratch")
    assert (none["masks"].shape, none["boxes"].shape) == ((0, 20, 20), (0, 4))


def test_mask_rcnn_learns_from_good_parts_too(small) -> None:
    data = DefectDataModule(small, batch_size=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=data.num_classes, min_size=64
        )
        wanted = ("defect_free", "one_pixel_scratch", "touching")
        pairs = [item(DefectDataset(small, transforms=data.transforms), case) for case in wanted]
        losses = model(*list_batch(pairs))
    assert "loss_mask" in losses
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_perfect_predictions_score_one(small) -> None:
    """Boxes, masks and labels agree with each other as the metric of detectors reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = MeanAveragePrecision(iou_type=("bbox", "segm"), backend="faster_coco_eval")
        for _, target in DefectDataset(small):
            known = target | {"masks": target["masks"].bool()}
            metric.update([known | {"scores": torch.ones(len(target["labels"]))}], [known])
        scores = metric.compute()
    assert scores["bbox_map"] == scores["segm_map"] == 1


def test_the_data_module_loads_each_split(small, labels) -> None:
    small = small.with_splits({i.group: "val" if i.split == "test" else "train" for i in small})
    data = DefectDataModule(small, batch_size=4, target="semantic", workers=0, seed=3)
    images, masks = next(iter(data.train_dataloader()))
    assert (images.shape, masks.shape) == ((4, 3, 48, 64), (4, 48, 64))
    assert (images.dtype, masks.dtype) == (torch.float32, torch.int64)
    assert 0 <= images.min() <= images.max() <= 1
    again = DefectDataModule(small, batch_size=4, target="semantic", seed=3)
    assert torch.equal(next(iter(again.train_dataloader()))[0], images)
    others = [len(masks) for _, masks in data.val_dataloader()]
    assert sum(others) == len(small.of_split("val"))
    with pytest.raises(ConfigError, match="'test'"):
        data.test_dataloader()
    boxes = next(iter(DefectDataModule(small, batch_size=3).val_dataloader()))[1]
    assert [sorted(target) for target in boxes] == [
        ["area", "boxes", "image_id", "iscrowd", "labels", "masks"]
    ] * 3
    with pytest.raises(ShapeError, match="do not stack"):
        stack_batch([DefectDataset(labels, target="semantic")[n] for n in range(len(labels))])


def kinds(flags, indices) -> str:
    return "".join("rs"[flags[index]] for index in indices)


def test_the_mix_is_exact_and_each_kind_is_gone_through() -> None:
    flags = [False] * 4 + [True] * 20
    sampler = MixingSampler(flags, 2, seed=1)
    assert len(sampler) == 12
    epochs = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        assert kinds(flags, epochs[-1]) == "rss" * 4
        assert {index for index in epochs[-1] if index < 4} == {0, 1, 2, 3}
    seen = Counter(index for epoch in epochs for index in epoch if index >= 4)
    assert seen == dict.fromkeys(range(4, 24), 2)  # 40 synthetic places, 20 images
    first_round = [index for epoch in epochs for index in epoch if index >= 4][:20]
    assert len(set(first_round)) == 20
    assert epochs[0] != epochs[1]
    resumed = MixingSampler(flags, 2, seed=1)
    resumed.set_epoch(3)
    assert list(resumed) == epochs[3] == list(resumed)
    assert list(MixingSampler(flags, 2, seed=2)) != epochs[0]


@pytest.mark.parametrize("ratio", [0, 0.1, 0.5, 1, 1.5, 3, 7.25])
def test_any_ratio_holds_at_any_length(ratio) -> None:
    flags = [True, False] * 30
    drawn = kinds(flags, MixingSampler(flags, ratio, length=1_000))
    for end in range(1, 1_001):
        real = drawn[:end].count("r")
        assert abs(real - end / (1 + ratio)) < 1
    each_once = MixingSampler(flags, ratio)
    real = [index for index in each_once if not flags[index]]
    assert sorted(real) == list(range(1, 60, 2))


def test_the_last_epochs_show_real_images_alone() -> None:
    flags = [False] * 4 + [True] * 20
    plain = MixingSampler(flags, 2, seed=1)
    sampler = MixingSampler(flags, 2, seed=1, real_last=0.4, epochs=5)
    for epoch in range(5):
        plain.set_epoch(epoch)
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert len(drawn) == len(sampler) == 12
        if epoch < 3:
            assert drawn == list(plain)
        else:
            assert Counter(drawn) == dict.fromkeys(range(4), 3)
    shares = [MixingSampler(flags, 2, 1, None, rank, 2, 0.4, 5) for rank in range(2)]
    for share in shares:
        share.set_epoch(4)
    assert Counter(index for share in shares for index in share) == dict.fromkeys(range(4), 3)
    with pytest.raises(ConfigError, match="needs epochs"):
        MixingSampler(flags, 2, real_last=0.4)
    with pytest.raises(ConfigError, match=r"real_last=1\.4 must be"):
        MixingSampler(flags, 2, real_last=1.4, epochs=5)


def test_the_order_of_a_mixing_keeps_its_fraction() -> None:
    quarter = {"synthetic_fraction": 0.25}
    steps = [number / 100 for number in range(100)]
    for order in ("mixed", "synthetic_first"):
        mixing = Mixing(order=order, **quarter)
        assert np.mean([mixing.fraction_at(at) for at in steps]) == pytest.approx(0.25)
    first = Mixing(order="synthetic_first")
    assert [first.fraction_at(at, usual=0.5) for at in (0, 0.49, 0.5, 1)] == [1, 1, 0, 0]


def test_the_border_of_a_synthetic_label_is_soft_or_ignored() -> None:
    truth = np.zeros((20, 20), np.float32)
    truth[5:15, 6:16] = 1
    assert mark_border(truth, Mixing()) is truth
    ignored = mark_border(truth, Mixing(border="ignored", border_px=2))
    inside = np.zeros((20, 20), bool)
    inside[7:13, 8:14] = True
    around = np.zeros((20, 20), bool)
    around[3:17, 4:18] = True
    np.testing.assert_array_equal(ignored, np.where(inside, 1, np.where(around, IGNORED, 0)))
    soft = mark_border(truth, Mixing(border="soft", border_px=2))
    assert (soft[inside] == 1).all()
    assert (soft[~around] == 0).all()
    np.testing.assert_allclose(soft[10, 3:9], [0, 0.2, 0.4, 0.6, 0.8, 1], atol=1e-5)


def test_fractions_of_processes_are_disjoint_and_mixed_alike() -> None:
    flags = [False] * 30 + [True] * 90
    fractions = []
    for rank in range(4):
        sampler = MixingSampler(flags, 3, seed=5, rank=rank, world_size=4)
        sampler.set_epoch(2)
        fractions.append(list(sampler))
        assert len(fractions[-1]) == len(sampler) == 30
        assert abs(kinds(flags, fractions[-1]).count("r") - 7.5) < 1
    whole = MixingSampler(flags, 3, seed=5)
    whole.set_epoch(2)
    assert [index for fraction in fractions for index in fraction] == list(whole)
    assert sorted(index for fraction in fractions for index in fraction) == list(range(120))


def test_a_mix_that_cannot_be_is_refused() -> None:
    assert sorted(MixingSampler([False] * 3, 0)) == [0, 1, 2]
    for flags, ratio, sentence in [
        ([False] * 3, 1, "all 3 images are real"),
        ([True] * 3, 1, "none of the 3 images is real"),
        ([True, False], -1, "must be 0 or more"),
        ([True, False], float("nan"), "must be 0 or more"),
    ]:
        with pytest.raises(ConfigError, match=sentence):
            MixingSampler(flags, ratio)
    with pytest.raises(ConfigError, match="length=0"):
        MixingSampler([True, False], 1, length=0)


class _Watcher(lightning.LightningModule):
    """Learns nothing; keeps the image ids of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, int]] = []

    def training_step(self, batch, number):
        images, targets = batch
        self.seen += [(self.current_epoch, target["image_id"]) for target in targets]
        return self.weight * images[0].mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_lightning_mixes_anew_each_epoch(small, tmp_path) -> None:
    ids = {image.sample_id: number for number, image in enumerate(small, start=1)}
    real = ("hole", "touching")
    mixed = [
        replace(i, split="train", digital_source="" if i.sample_id in real else i.digital_source)
        for i in small
    ]
    both = replace(small, images=mixed)
    data = DefectDataModule(both, batch_size=2, synthetic_per_real=1)
    with pytest.raises(ConfigError, match="needs synthetic_per_real"):
        DefectDataModule(both, real_last=0.5).train_dataloader()
    last = DefectDataModule(both, synthetic_per_real=1, real_last=1, epochs=3)
    shown = list(last.train_dataloader().sampler)
    assert {last.labels.of_split("train")[index].sample_id for index in shown} == set(real)
    watcher = _Watcher()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its advice on workers and logging
        trainer = lightning.Trainer(
            max_epochs=3,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(watcher, datamodule=data)
    reals = {ids[case] for case in real}
    for epoch in range(3):
        own = [number for at, number in watcher.seen if at == epoch]
        assert len(own) == 4
        assert set(own) > reals
    others = [number for _, number in watcher.seen if number not in reals]
    assert len(others) == len(set(others)) == 6


def test_crops_hold_defects_as_often_as_asked_and_come_again(run_folder) -> None:
    crops = DefectCrops(run_folder, None, count=60, side_px=32, defect_fraction=0.5, seed=3)
    items = [crops[n] for n in range(len(crops))]
    assert {(tuple(p.shape), p.dtype, tuple(t.shape), t.dtype) for p, t in items} == {
        ((3, 32, 32), torch.float32, (32, 32), torch.int64)
    }
    assert {int(value) for _, truth in items for value in truth.unique()} == {0, 1}
    shown = sum(bool(truth.any()) for _, truth in items)
    assert 15 <= shown <= 40  # a crop beside a defect may hold a part of it, or none after a turn
    loader = DataLoader(crops, batch_size=20, num_workers=2)
    pixels = torch.cat([batch for batch, _ in loader])
    assert torch.equal(pixels, torch.stack([pixels for pixels, _ in items]))
    crops.set_epoch(1)
    assert not torch.equal(crops[0][0], items[0][0])
    assert pickle.loads(pickle.dumps(crops))[5][1].equal(crops[5][1])


def test_crops_mix_real_and_synthetic_defects(run_folder) -> None:
    labels = read_labels(run_folder)
    bad = [image for image in labels if image.defects]
    real = {image.sample_id for image in bad[::2]}
    mixed = [
        replace(image, digital_source="") if image.sample_id in real else image for image in labels
    ]
    assert {image.sample_id for image in mixed if not image.is_synthetic} >= real
    for fraction in (0.0, 0.25, 1.0):
        crops = DefectCrops(
            replace(labels, images=mixed),
            None,
            count=200,
            side_px=32,
            defect_fraction=1,
            synthetic_fraction=fraction,
        )
        for number in range(len(crops)):
            crops[number]
        read = set(crops._pictures)
        assert (read <= real) == (fraction == 0)
        assert (not read & real) == (fraction == 1)


def test_crops_come_in_the_order_and_with_the_borders_of_a_mixing(run_folder) -> None:
    labels = read_labels(run_folder)
    bad = [image for image in labels if image.defects]
    real = {image.sample_id for image in bad[::2]}
    mixed = [
        replace(image, digital_source="") if image.sample_id in real else image for image in labels
    ]
    first = Mixing(order="synthetic_first", border="ignored", border_px=1)
    both = replace(labels, images=mixed)
    crops = DefectCrops(both, None, count=40, side_px=32, defect_fraction=1, mixing=first, epochs=2)
    seen = {int(value) for number in range(40) for value in crops[number][1].unique()}
    assert not set(crops._pictures) & real  # half of two epochs: the first one
    assert seen == {0, 1, 255}
    crops.set_epoch(1)
    crops._pictures.clear()
    assert {int(value) for number in range(40) for value in crops[number][1].unique()} == {0, 1}
    assert set(crops._pictures) <= real
    soft = DefectCrops(
        both,
        None,
        count=9,
        side_px=32,
        defect_fraction=1,
        synthetic_fraction=1,
        mixing=Mixing(border="soft"),
    )
    values = torch.cat([soft[number][1].flatten() for number in range(9)])
    assert values.dtype == torch.float32
    assert ((values > 0.1) & (values < 0.9)).any()
    with pytest.raises(ConfigError, match="drop_least_real needs features"):
        DefectCrops(both, None, mixing=Mixing(drop_least_real=0.5))


def test_crops_need_defects_and_good_surface(run_folder) -> None:
    labels = read_labels(run_folder)
    good = replace(labels, images=[image for image in labels if not image.defects])
    bad = replace(labels, images=[image for image in labels if image.defects])
    with pytest.raises(ConfigError, match="no defects are in the split None"):
        DefectCrops(good, None)
    with pytest.raises(ConfigError, match="no good images are in the split None"):
        DefectCrops(bad, None)
