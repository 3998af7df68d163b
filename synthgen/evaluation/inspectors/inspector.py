"""One small inspection model, trained on labelled images and scored on those held back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from synthgen.backends.diffusion.loading import best_precision, pick_device
from synthgen.errors import ConfigError, RunError, ShapeError
from synthgen.evaluation.inspectors.fitting import ComputePlace
from synthgen.evaluation.inspectors.models import MODELS, InspectionModel, find_default_model
from synthgen.evaluation.inspectors.prediction import Predictor
from synthgen.evaluation.utility.arms import Arm, Draw
from synthgen.evaluation.utility.learning import Examples, Training, TrainingSettings
from synthgen.evaluation.utility.scores import LevelCounts, pool, to_score_levels
from synthgen.exporting.labels import LabelledImage, LabelledSet, read_labels
from synthgen.exporting.mix import read_real_images
from synthgen.imaging.images import grey_window, read_image, to_rgb8
from synthgen.progress import stage, track
from synthgen.realdata.settings import check_settings
from synthgen.runs.reader import RunTables
from synthgen.runs.record import RECORD
from synthgen.storage.places import open_storage
from synthgen.training.inspection import Crop, DefectCrops, standardise_crop
from synthgen.training.pictures import Picture, read_picture

__all__ = ["HasLabels", "InspectionData", "Inspector", "fit_inspector", "read_inspection_data"]

AUTO = "auto"
CHANNELS = 3  # grey images are seen as three equal ones
HELD_BACK = ("test", "val")  # the splits that score() looks for, in this order
READ_BACK = ("coco", "yolo", "mvtec")  # of an export's folder, the first that is there


@runtime_checkable
class HasLabels(Protocol):
    """What holds a labelled set: an ``ExportResult``, a ``DefectDataModule``."""

    @property
    def labels(self) -> LabelledSet:
        """The images and their defects."""
        ...


InspectionData: TypeAlias = Path | str | LabelledSet | RunTables | HasLabels | Mapping[str, object]


@dataclass(frozen=True, eq=False)
class Inspector:
    """A trained inspection model. ``model``: its name in ``evaluate.model``; ``steps``: trained."""

    model: str
    steps: int
    labels: LabelledSet = field(repr=False)  # what it was trained on, and what was held back
    look: Predictor = field(repr=False)

    def predict(
        self, images: Iterable[NDArray[np.uint8] | NDArray[np.uint16] | Path | str]
    ) -> list[NDArray[np.float32]]:
        """Return a map (H, W) of 0..1 for each image, higher = more of a defect.

        Images are files, or arrays (H, W) or (H, W, 3) RGB, uint8 or uint16. Levels of two models
        do not compare: each finds its own threshold. Raises SourceError, ShapeError.
        """
        return [_to_fractions(self.look(_standardise(image)).logits) for image in images]

    def score(self, data: InspectionData | None = None, split: str | None = None) -> float:
        """Return the average precision over all pixels, 0..1: defect of any class, or good.

        ``data``: as of ``train_inspector``, best of real defects that it has not seen; all of its
        images count, or those of ``split``. None = the split test of what it was trained on, or
        else val. Raises ConfigError where none of these images shows a defect.
        """
        labels = self.labels if data is None else read_inspection_data(data)
        if data is None and split is None:
            split = next((name for name in HELD_BACK if name in labels.splits), "test")
        images = [image for image in labels if split in (None, image.split)]
        if not any(image.defects for image in images):
            where = "the data" if split is None else f"the split {split!r}"
            raise ConfigError(
                f"{where} shows no defect, so there is nothing to score; "
                f"give score() other data, or one of the splits {', '.join(labels.splits)}"
            )
        counted = LevelCounts(np.zeros(1), np.zeros(1))
        for image in track(images, "scoring the inspection model", unit="images"):
            picture = read_picture(image, labels.names)
            levels = to_score_levels(self.look(standardise_crop(picture)).logits)
            own = pool([levels], [picture.mask])
            counted = LevelCounts(counted.bad + own.bad, counted.good + own.good)
        return counted.average_precision()


def fit_inspector(
    data: InspectionData,
    *,
    model: str = AUTO,
    steps: int | None = None,
    seed: int = 0,
    device: str = AUTO,
    synthetic: bool = True,
) -> Inspector:
    """Train an inspection model; ``synthgen.train_inspector`` says what the arguments are."""
    row = _find_row(model)
    if steps is not None and steps < 1:
        raise ConfigError(f"steps={steps} is not possible: it must be 1 or more")
    place = ComputePlace(pick_device(device, "device"))
    place = ComputePlace(place.device, best_precision(place.device))
    row.check_packages()
    labels = read_inspection_data(data)
    if not synthetic:
        kept = [image for image in labels if not (image.is_synthetic and image.defects)]
        labels = LabelledSet(labels.classes, kept, labels.record, labels.run_ids)
    steps = 0 if row.is_good_only else steps or row.usual_steps
    examples = _make_examples(row, labels, row.training(TrainingSettings(), steps), seed)
    total = len(examples.draw.good) if row.is_good_only else steps
    unit = "images" if row.is_good_only else "steps"
    with stage(f"training {row.name}", total, unit=unit) as at:
        look = row.train(examples, CHANNELS, place, lambda done, _: at.add(done - at.at))
    return Inspector(row.name, steps, labels, look)


def read_inspection_data(data: InspectionData) -> LabelledSet:
    """Return labelled images of a run, an export, a data module, or real images with masks."""
    if isinstance(data, LabelledSet):
        return data
    if isinstance(data, RunTables):
        return read_labels(data.root)
    if isinstance(data, Mapping):
        plain = {str(key).removeprefix("real."): value for key, value in data.items()}
        texts = {k: str(v) if isinstance(v, Path) else v for k, v in plain.items()}
        return read_real_images(check_settings(texts))
    if not isinstance(data, Path | str):
        if not isinstance(data, HasLabels):
            raise ConfigError(
                f"{type(data).__name__} holds no labelled images; give a run, what synthgen.export "
                "returned, their folder, a LabelledSet, or settings such as {'real.path': ...}"
            )
        return data.labels
    if open_storage(data).exists(RECORD):
        return read_labels(data)
    folder = Path(data)
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder; give a run, or what synthgen export wrote")
    return read_real_images(next((p for n in READ_BACK if (p := folder / n).is_dir()), folder))


def _find_row(model: str) -> InspectionModel:
    name = find_default_model() if model == AUTO else model
    if name not in MODELS:
        raise ConfigError(f"model={model!r} is unknown; choose from {', '.join([AUTO, *MODELS])}")
    return MODELS[name]


@dataclass(frozen=True, eq=False)
class _StoredExamples(Examples):
    """The crops of each step out of stored images, which are read when they are needed."""

    stored: DefectCrops | None = None  # None = it learns from ``draw.good`` alone

    def crops(self, step: int) -> list[Crop]:
        """Return one batch; one step and seed give the same one."""
        assert self.stored is not None
        size = self.training.batch_size
        items = [self.stored[step * size + number] for number in range(size)]
        return [(p.permute(1, 2, 0).numpy(), t.numpy().astype(np.float32)) for p, t in items]


def _make_examples(
    row: InspectionModel, labels: LabelledSet, training: Training, seed: int
) -> _StoredExamples:
    """Return what a model learns from: the training split."""
    if not row.is_good_only:
        count, side_px = training.steps * training.batch_size, training.crop_px
        crops = DefectCrops(labels, count=count, side_px=side_px, seed=seed)
        return _StoredExamples(training, Arm(), Draw((), (), ()), None, seed, crops)
    good: list[LabelledImage] = [one for one in labels.of_split("train") if not one.defects]
    if not good:
        raise ConfigError(
            f"no good images are in the split 'train', and model={row.name} learns from them alone"
        )
    read = track(good, "reading the good images", unit="images")
    pictures = [read_picture(image, labels.names) for image in read]
    return _StoredExamples(training, Arm(), Draw((), pictures, ()), None, seed)


def _standardise(image: NDArray[Any] | Path | str) -> NDArray[np.float32]:
    """Return an image as the network sees it, (H, W, 3)."""
    pixels = read_image(Path(image)) if isinstance(image, Path | str) else np.asarray(image)
    is_image = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not is_image or pixels.dtype not in (np.uint8, np.uint16) or not pixels.size:
        raise ShapeError(
            f"an image to look at is {pixels.shape} of {pixels.dtype}; "
            "give (H, W) or (H, W, 3) RGB of uint8 or uint16"
        )
    shown = to_rgb8(pixels, grey_window(pixels))
    return standardise_crop(Picture(name="", group="", pixels=shown, masks={}))


def _to_fractions(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)
