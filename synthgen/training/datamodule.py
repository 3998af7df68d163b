"""The same data as a Lightning ``LightningDataModule``; its loaders also serve without a Trainer.

Lightning is needed: ``pip install 'synthgen-inspection[training]'``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from synthgen.errors import ConfigError, ShapeError
from synthgen.exporting.labels import LabelledSet, read_labels
from synthgen.training.dataset import DefectDataset, TargetKind
from synthgen.training.mixing import MixingSampler

try:
    from lightning import LightningDataModule
    from torchvision.transforms import v2
except ImportError as error:
    raise ConfigError(
        "DefectDataModule needs lightning; pip install 'synthgen-inspection[training]'"
    ) from error

__all__ = ["DefectDataModule", "list_batch", "stack_batch"]

Transforms = Callable[[Any, Any], tuple[Any, Any]]
Batch = tuple[Any, Any]


class DefectDataModule(LightningDataModule):
    """Loaders of the splits ``train``, ``val`` and ``test``.

    ``data``: the folder of a finished run, or a LabelledSet. ``target="instances"`` or ``"both"``
    gives batches of two lists (images, targets), as torchvision's detectors want them;
    ``"semantic"`` two stacked tensors (B, 3, H, W) and (B, H, W). ``transforms`` are for train,
    ``eval_transforms`` and ``eval_batch_size`` (None = ``batch_size``) for the rest; without
    transforms pixels become float32, 0..1. ``synthetic_per_real`` is for train alone, as in
    ``MixingSampler``; None = every image once. ``real_last``: the fraction of the epochs, the last
    ones, that show real images alone; their number is the Trainer's ``max_epochs``, or ``epochs``
    without one. Loaders raise ConfigError for an empty split.
    """

    def __init__(
        self,
        data: LabelledSet | Path | str,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        target: TargetKind = "instances",
        transforms: Transforms | None = None,
        eval_transforms: Transforms | None = None,
        synthetic_per_real: float | None = None,
        workers: int = 0,
        seed: int = 0,
        real_last: float = 0.0,
        epochs: int | None = None,
    ) -> None:
        super().__init__()
        self.labels = data if isinstance(data, LabelledSet) else read_labels(data)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.target: TargetKind = target
        to_float = v2.ToDtype(torch.float32, scale=True)
        self.transforms = transforms or to_float
        self.eval_transforms = eval_transforms or to_float
        self.synthetic_per_real = synthetic_per_real
        self.workers = workers
        self.seed = seed
        self.real_last = real_last
        self.epochs = epochs
        self.num_classes = max(self.labels.names, default=0) + 1

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the shuffled, or mixed, training images; ``seed`` decides their order.

        Where they are mixed, each process of a Trainer gets its own share. Raises ConfigError.
        """
        dataset = self._dataset("train", self.transforms)
        if self.synthetic_per_real is None:
            if self.real_last:
                raise ConfigError(
                    "real_last needs synthetic_per_real, which says how many come before"
                )
            return self._load(dataset, self.batch_size, shuffle=True)
        trainer: Any = self.trainer
        rank, world_size = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        sampler = MixingSampler(
            dataset.is_synthetic,
            self.synthetic_per_real,
            self.seed,
            rank=rank,
            world_size=world_size,
            real_last=self.real_last,
            epochs=self.epochs if trainer is None else trainer.max_epochs,
        )
        return self._load(dataset, self.batch_size, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation images, in order; raises ConfigError where there is none."""
        return self._load(self._dataset("val", self.eval_transforms), self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test images, in order; raises ConfigError where there is none."""
        return self._load(self._dataset("test", self.eval_transforms), self.eval_batch_size)

    def _dataset(self, split: str, transforms: Transforms) -> DefectDataset:
        return DefectDataset(self.labels, split, transforms, self.target)

    def _load(self, dataset: DefectDataset, batch_size: int, **order: Any) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            collate_fn=stack_batch if self.target == "semantic" else list_batch,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),
            **order,
        )


def list_batch(batch: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """Return a list of images and one of targets, as torchvision's detectors want them.

    Sizes and numbers of defects may differ, so nothing is stacked.
    """
    return [image for image, _ in batch], [target for _, target in batch]


def stack_batch(batch: Sequence[tuple[Any, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (B, 3, H, W) and masks (B, H, W); raises ShapeError where sizes differ."""
    sizes = {tuple(image.shape[-2:]) for image, _ in batch}
    if len(sizes) > 1:
        raise ShapeError(
            f"a batch holds images of {sorted(sizes)} (height, width), which do not stack; resize "
            "or crop them in transforms, or use batch_size=1"
        )
    images, masks = list_batch(batch)
    return torch.stack(images), torch.stack(masks)
