"""Arrays where rooms meet: elements and axes are those that the fields say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from synthgen.backends.backend import SketchBackend
from synthgen.generation.generate import Stages, generate
from synthgen.quality.limits import Limits
from synthgen.quality.measures import view_change
from synthgen.samples.arrays import Image, Mask
from tests.factories import make_sample
from tests.samples import draw_conditions


def check_arrays(value: Any, sizes: dict[str, int] | None = None) -> int:
    """Return how many arrays of a dataclass were checked; AssertionError where one does not fit.

    ``sizes``: the length of each axis that was met before.
    """
    known = {} if sizes is None else sizes
    count = 0
    for name, hint in get_type_hints(type(value), include_extras=True).items():
        given = getattr(value, name)
        count += check_arrays(given) if is_dataclass(given) else 0
        alias = next((one for one in [hint, *get_args(hint)] if get_origin(one) is Annotated), None)
        if alias is None or given is None:
            continue
        arrays, (elements, axes) = given, get_args(alias)
        for array in arrays.values() if isinstance(arrays, Mapping) else [arrays]:
            assert array.dtype == get_args(get_args(elements)[1])[0], f"{name} is {array.dtype}"
            assert array.ndim == len(axes.split()), f"{name} is {array.shape}, not ({axes})"
            for axis, length in zip(axes.split(), array.shape, strict=True):
                expected = int(axis) if axis.isdigit() else known.setdefault(axis, length)
                assert length == expected, f"{name} is {array.shape}, not ({axes}) of {known}"
            count += 1
    return count


def test_what_goes_from_room_to_room_has_the_arrays_that_it_says() -> None:
    conditions = {one.spec.sample_id: one for one in draw_conditions("pit", count=3, size=96)}

    def condition(spec: Any, _: Any) -> Any:
        return conditions[spec.sample_id]

    stages = Stages(condition=condition, backend=SketchBackend(), limits=Limits(), retries=())
    for sample in generate([one.spec for one in conditions.values()], stages):
        candidate = sample.candidate
        assert check_arrays(candidate.condition) >= 3
        assert check_arrays(candidate) >= 2
        assert check_arrays(view_change(candidate)) >= 4


def test_a_swapped_or_cut_array_is_found() -> None:
    condition = make_sample("hole", 1).candidate.condition
    assert check_arrays(condition)
    assert {field.name for field in fields(condition)} >= {"image", "defect_mask", "repaint_mask"}
    for wrong in (condition.image, condition.defect_mask[1:], condition.defect_mask.astype(int)):
        broken = make_sample("hole", 1).candidate.condition
        object.__setattr__(broken, "defect_mask", wrong)
        with pytest.raises(AssertionError, match="defect_mask is"):
            check_arrays(broken)


def test_an_alias_says_elements_and_axes() -> None:
    assert get_args(Image)[1] == "height width 3"
    assert get_args(Mask)[1] == "height width"
    assert get_args(get_args(get_args(Mask)[0])[1])[0] is np.bool_
