"""Candidate -> Annotations: one per defect, from the pixels that really changed."""

from __future__ import annotations

from collections.abc import Sequence

from synthgen.imaging.geometry import mask_to_box, nearest_instance
from synthgen.quality.measures import ChangeView, measure_label
from synthgen.samples.sample import Annotation, Candidate, Condition, Measurement

__all__ = ["annotate", "measure_own"]


def annotate(candidate: Candidate, view: ChangeView) -> tuple[Annotation, ...]:
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
                *condition.class_of(instance_id),
                mask,
                int(mask.sum()),
                mask_to_box(mask),
                measure_label(view.of(mask, asked)),
            )
        )
    return tuple(annotations)


def measure_own(condition: Condition, annotations: Sequence[Annotation]) -> tuple[Measurement, ...]:
    """Return ``own_px``, the pixels of the class asked for, where others came along with it."""
    name = condition.spec.defect_class
    if {one for one, _ in condition.classes} <= {name}:
        return ()
    own = sum(one.area_px for one in annotations if one.defect_class == name)
    return (Measurement("own_px", float(own)),)
