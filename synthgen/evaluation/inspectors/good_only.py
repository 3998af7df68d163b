"""PatchCore and PaDiM, by anomalib: they know good photos alone, and no defect.

On the features of EfficientNet-Lite0. PatchCore keeps patches of good surface and asks how far the
nearest is (Roth et al. 2022, https://arxiv.org/abs/2106.08265); PaDiM has a Gaussian for each place
of the part (Defard et al. 2021, https://arxiv.org/abs/2011.08785), so photos that show parts in one
pose.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from synthgen.evaluation.inspectors.fitting import ComputePlace, seeded_weights, to_batch
from synthgen.evaluation.inspectors.prediction import Prediction
from synthgen.evaluation.inspectors.unet_pretrained import CELL_PX, to_feature_input
from synthgen.evaluation.utility.learning import Examples
from synthgen.imaging.silence import silent_warnings
from synthgen.training.features import load_feature_weights
from synthgen.training.inspection import standardise_crop

__all__ = ["train_padim", "train_patchcore"]

BODY = "tf_efficientnet_lite0"
PATCHCORE_STAGES = [2, 3]  # strides 8 and 16, as the paper's layers 2 and 3
PADIM_STAGES = [1, 2, 3]  # strides 4, 8 and 16, as the paper's layers 1 to 3
PADIM_FEATURES = 100  # of 176, drawn once; the paper's number for a small body
KEPT_FRACTION, MAX_KEPT = 0.1, 2000  # patches of PatchCore: the paper's tenth, 2,000 at most
MAX_SIDE_PX = 256  # of the images that PaDiM compares place by place


@dataclass(frozen=True, eq=False)
class _DistancePredictor:
    """Turns distances of anomalib's map into logits by their logarithm, 0 at good photos' median.

    A logit of 16, the highest that is told apart, is 9 million times as far.
    """

    model: Any
    place: ComputePlace
    size_hw: tuple[int, int] | None  # images are brought to it; None = as they are
    middle: float = 1.0

    def distances(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how far each pixel (H, W) of an image (H, W, C) is from what is known."""
        with torch.no_grad():
            found = self.model(_prepare(pixels, self.size_hw, self.place)).anomaly_map
        far = found[0, 0].float().cpu().numpy()
        if self.size_hw is None:
            return np.asarray(far[: pixels.shape[0], : pixels.shape[1]])
        height, width = pixels.shape[:2]
        return np.asarray(cv2.resize(far, (width, height), interpolation=cv2.INTER_LINEAR))

    def __call__(self, pixels: NDArray[np.float32]) -> Prediction:
        """Look at one whole image (H, W, C)."""
        far = np.maximum(self.distances(pixels), 1e-9) / self.middle
        return Prediction(np.log(far).astype(np.float32))


def _prepare(
    pixels: NDArray[np.float32], size_hw: tuple[int, int] | None, place: ComputePlace
) -> torch.Tensor:
    """Return (1, 3, H, W): of one size, or mirrored at its edges up to whole cells."""
    if size_hw is not None:
        height, width = size_hw
        small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        pixels = small.reshape(height, width, -1)
    height, width = pixels.shape[:2]
    edges = ((0, -height % CELL_PX), (0, -width % CELL_PX), (0, 0))
    batch = to_batch([np.pad(pixels, edges, mode="symmetric")]).to(place.device)
    return to_feature_input(batch).contiguous()


def train_patchcore(
    examples: Examples, channels: int, place: ComputePlace, report: Callable[[int, int], None]
) -> _DistancePredictor:
    """Return PatchCore of the draw's good photos, at their native size."""
    images = [standardise_crop(picture) for picture in examples.draw.good]
    with seeded_weights(examples.seed), _quiet():
        module = import_module("anomalib.models.image.patchcore.torch_model")
        model = module.PatchcoreModel(PATCHCORE_STAGES, BODY, pre_trained=False)
        _collect(model, images, None, place, report)
        count = sum(len(part) for part in model.embedding_store)
        model.subsample_embedding(max(1, min(MAX_KEPT, int(count * KEPT_FRACTION))) / count)
    return _finish(model, images, None, place)


def train_padim(
    examples: Examples, channels: int, place: ComputePlace, report: Callable[[int, int], None]
) -> _DistancePredictor:
    """Return PaDiM of the draw's good photos, brought to one size of at most 256 px a side."""
    images = [standardise_crop(picture) for picture in examples.draw.good]
    height, width = np.median([image.shape[:2] for image in images], axis=0)
    shrink = min(1.0, MAX_SIDE_PX / max(height, width))
    size_hw = (_whole_cells(height * shrink), _whole_cells(width * shrink))
    with seeded_weights(examples.seed), _quiet():
        module = import_module("anomalib.models.image.padim.torch_model")
        model = module.PadimModel(BODY, PADIM_STAGES, pre_trained=False, n_features=PADIM_FEATURES)
        _collect(model, images, size_hw, place, report)
        model.fit()
    return _finish(model, images, size_hw, place)


def _whole_cells(length: float) -> int:
    return max(1, round(length / CELL_PX)) * CELL_PX


def _collect(
    model: Any,
    images: Sequence[NDArray[np.float32]],
    size_hw: tuple[int, int] | None,
    place: ComputePlace,
    report: Callable[[int, int], None],
) -> None:
    """Give the body its weights, and let the model see every good image."""
    body = model.feature_extractor.feature_extractor
    weights = load_feature_weights()
    body.load_state_dict({name: weights[name] for name in body.state_dict()})
    model.to(place.device).train()
    with torch.no_grad():
        for number, pixels in enumerate(images, start=1):
            model(_prepare(pixels, size_hw, place))
            report(number, len(images))


def _finish(
    model: Any,
    images: Sequence[NDArray[np.float32]],
    size_hw: tuple[int, int] | None,
    place: ComputePlace,
) -> _DistancePredictor:
    known = _DistancePredictor(model.eval(), place, size_hw)
    middles = [float(np.median(known.distances(pixels))) for pixels in images[:8]]
    return _DistancePredictor(model, place, size_hw, max(float(np.median(middles)), 1e-9))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep anomalib's warnings and its own progress bar off the terminal."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stderr(nowhere),
        silent_warnings,
    ):
        yield
