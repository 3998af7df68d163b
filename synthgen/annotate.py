"""Candidate -> Annotations: one per defect, from the pixels that really changed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.geometry import mask_to_box
from synthgen.quality.measures import View, measure_mask
from synthgen.sample import Annotation, Candidate

__all__ = ["annotate", "nearest_instance"]


def annotate(candidate: Candidate, view: View) -> tuple[Annotation, ...]:
    """Return the defects that are visible; each changed pixel belongs to the nearest asked one."""
    condition, spec = candidate.condition, candidate.condition.spec
    if spec.defect_class is None or not candidate.realised_mask.any():
        return ()
    owner = candidate.owners
    if owner is None:
        owner = nearest_instance(condition.instance_map)
    annotations = []
    for instance_id in range(1, int(condition.instance_map.max()) + 1):
        mask = candidate.realised_mask & (owner == instance_id)
        if not mask.any():
            continue
        asked = condition.instance_map == instance_id
        annotations.append(
            Annotation(
                instance_id,
                spec.defect_class,
                spec.class_id,
                mask,
                int(mask.sum()),
                mask_to_box(mask),
                measure_mask(view.of(mask, asked)),
            )
        )
    return tuple(annotations)


def nearest_instance(instance_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return, for every pixel, the id of the nearest asked defect."""
    if int(instance_map.max()) <= 1:
        return np.ones_like(instance_map)
    away = (instance_map == 0).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner_of_label = np.zeros(int(labels.max()) + 1, np.uint8)
    inside = instance_map > 0
    owner_of_label[labels[inside]] = instance_map[inside]
    return np.asarray(owner_of_label[labels], np.uint8)
