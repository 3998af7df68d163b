"""A run, or several sources, as a torch ``Dataset``: the labels of every export, as tensors.

torchvision is needed: ``pip install 'synthgen-inspection[training]'``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.utils.data import Dataset

from synthgen.errors import ConfigError
from synthgen.exporting.labels import LabelledImage, LabelledSet, read_labels
from synthgen.imaging.images import IGNORED, grey_window, read_image, to_rgb8
from synthgen.training.pictures import check_picture_size

try:
    from torchvision import tv_tensors
    from torchvision.ops import masks_to_boxes
except ImportError as error:
    raise ConfigError(
        "training data needs torchvision; pip install 'synthgen-inspection[training]'"
    ) from error

__all__ = ["BoxesFromMasks", "DefectDataset", "TargetKind"]

TargetKind = Literal["instances", "semantic", "both"]
PER_DEFECT = ("labels", "masks", "iscrowd")


class DefectDataset(Dataset[tuple[Any, Any]]):
    """Images (3, H, W) uint8 with their labels; files are opened when an item is asked for.

    ``labels``: the folder of a finished run (its accepted samples), or any LabelledSet. ``split``:
    None = all. ``transforms(image, target)`` as in torchvision v2.

    ``target="instances"``: what torchvision's detectors learn from, N may be 0: ``boxes`` (N, 4)
    float32 XYXY half-open, ``labels`` (N,) int64, ``masks`` (N, H, W) uint8, ``area`` (N,) float32
    pixels of the mask, ``iscrowd`` (N,) int64, ``image_id`` that of a COCO export of the same set.
    ``"semantic"``: a mask (H, W) int64 of class ids, 0 = good, 255 = to be ignored. ``"both"``: the
    instances and the mask as ``semantic``.

    Labels are the class ids as they are, 0 is the background: ``num_classes`` is the highest id and
    1, also where ids have gaps. Raises ConfigError where the split has no image.
    """

    def __init__(
        self,
        labels: LabelledSet | Path | str,
        split: str | None = None,
        transforms: Callable[[Any, Any], tuple[Any, Any]] | None = None,
        target: TargetKind = "instances",
    ) -> None:
        if target not in get_args(TargetKind):
            raise ConfigError(f"target={target!r} must be one of {', '.join(get_args(TargetKind))}")
        labels = labels if isinstance(labels, LabelledSet) else read_labels(labels)
        numbered = enumerate(labels, start=1)
        self._entries = [(n, image) for n, image in numbered if split in (None, image.split)]
        if not self._entries:
            known = ", ".join(labels.splits) or "none"
            raise ConfigError(f"no image is in the split {split!r}; the set has {known}")
        self.names: Mapping[int, str] = labels.names
        self.num_classes = max(labels.names, default=0) + 1
        self.transforms = transforms
        self.target = target

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return an image and its target.

        Raises SourceError for a file that cannot be read, and ShapeError where it is of another
        size than its labels.
        """
        number, image = self._entries[index]
        pixels = read_image(image.path)
        check_picture_size(image, pixels)
        rgb = torch.from_numpy(to_rgb8(pixels, grey_window(pixels)))
        item = tv_tensors.Image(rgb.permute(2, 0, 1).contiguous())
        target: Any
        if self.target == "semantic":
            target = _semantic(image)
        else:
            masks = np.zeros((len(image.defects), *image.size_hw), np.uint8)
            for place, defect in enumerate(image.defects):
                masks[place] = defect.mask(image.size_hw)
            ids = torch.tensor([defect.class_id for defect in image.defects], dtype=torch.int64)
            held = tv_tensors.Mask(torch.from_numpy(masks))
            target = {"labels": ids, "masks": held, "iscrowd": torch.zeros_like(ids)}
            target |= _measure(held) | {"image_id": number}
            if self.target == "both":
                target["semantic"] = _semantic(image)
        return (item, target) if self.transforms is None else self.transforms(item, target)

    @property
    def images(self) -> list[LabelledImage]:
        """The labelled images behind the items, in the order of the items."""
        return [image for _, image in self._entries]

    @property
    def is_synthetic(self) -> list[bool]:
        """Whether each item is synthetic, in the order of the items, as ``MixingSampler`` wants."""
        return [image.is_synthetic for image in self.images]


class BoxesFromMasks:
    """Draw boxes and areas again from the masks; defects that left the image are dropped.

    A transform for after all geometric ones: those turn and cut the corners of a box, which leaves
    it loose around what it holds. It takes and gives an image with a target as ``DefectDataset``
    has it for ``"instances"`` or ``"both"``; N may become 0.
    """

    def __call__(self, image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        keep = target["masks"].flatten(1).any(dim=1).bool()  # uint8 stays uint8 in any()
        kept = dict(target)
        for key in PER_DEFECT:
            kept[key] = target[key][keep]
            if isinstance(target[key], tv_tensors.Mask):  # an index makes a plain tensor of it
                kept[key] = tv_tensors.wrap(kept[key], like=target[key])
        return image, kept | _measure(kept["masks"])


def _measure(masks: Any) -> dict[str, Any]:
    """Return boxes and areas of masks (N, H, W), none of them empty."""
    plain = masks.as_subclass(torch.Tensor)
    corners = masks_to_boxes(plain).float().reshape(-1, 4)
    corners[:, 2:] += 1  # torchvision's are of the last pixels; ours are half-open
    boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=tuple(plain.shape[1:]))
    return {"boxes": boxes, "area": plain.sum(dim=(1, 2)).float()}


def _semantic(image: LabelledImage) -> Any:
    classes = image.class_map()
    if image.label_path is not None:
        classes[read_image(image.label_path) == IGNORED] = IGNORED
    return tv_tensors.Mask(torch.from_numpy(classes.astype(np.int64)))
