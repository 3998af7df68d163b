"""Control images: several by name, edges and dense maps, the mask, anyone's own function."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.dense import DenseControl, MaskControl
from synthgen.conditioning.control.edges import EdgeControl, canny_control, canny_edges, outline
from synthgen.conditioning.control.functions import function_control
from synthgen.config.build import build_controls, build_parts, check_controlnets
from synthgen.config.compose import compose
from synthgen.config.objects import build
from synthgen.errors import ConfigError, ShapeError
from synthgen.imaging.images import decode_image
from synthgen.planning.plan import draw_plan
from synthgen.runs.reader import read_run
from synthgen.sources import ProceduralSources
from tests.factories import make_run, make_sample
from tests.samples import draw_classes, draw_conditions

CANNY = "synthgen.conditioning.control.edges.canny_control"
BY_NAME = "synthgen.conditioning.control.functions.function_control"
MASK = "synthgen.conditioning.control.dense.MaskControl"

FUNCTIONS = """
import numpy as np

def levels(image):
    return image[..., 0]

def colours(image):
    image[:] = image[..., ::-1]  # on what it was given
    return image

def half(image):
    return np.ascontiguousarray(image[::2, ::2])

def floats(image):
    return image / 255

def flat(image):
    return image.ravel()

def nothing(image):
    return None

number = 3
"""


@pytest.fixture
def own_maps(tmp_path, monkeypatch) -> str:
    (tmp_path / "own_maps.py").write_text(FUNCTIONS)
    (tmp_path / "broken_maps.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "own_maps"


def draw(control, condition):
    return control.draw(
        condition.image, condition.sketch, condition.defect_mask, condition.repaint_mask
    )


@pytest.fixture(scope="module")
def condition():
    return draw_conditions("stain", count=1)[0]


@pytest.mark.parametrize("names", [["canny"], ["canny", "mask"], ["mask", "canny"]])
def test_controls_are_named_in_the_order_that_they_are_given(names) -> None:
    given = names[0] if len(names) == 1 else f"[{','.join(names)}]"
    config = compose("generate", ["backend=sketch", f"control={given}", "run.count=1"])
    parts = build_parts(config)
    [spec] = draw_plan(parts.sources, parts.classes, 1, 0, {"train": 1}, 0)
    condition = parts.stages.condition(spec)
    assert list(condition.controls) == names
    assert condition.control_image is condition.controls[names[0]]


def test_further_control_images_lie_beside_the_first(tmp_path) -> None:
    sample = make_sample("hole", 200)
    candidate = sample.candidate
    mask = np.repeat(candidate.condition.defect_mask[..., None] * np.uint8(255), 3, axis=2)
    controls = {"canny": candidate.condition.control_image, "mask": mask}
    spec = replace(sample.spec, sample_id="pit-000200")
    condition = replace(candidate.condition, spec=spec, controls=controls)
    sample = replace(sample, candidate=replace(candidate, condition=condition))
    for layout in ("files", "tar"):
        run = make_run(tmp_path / layout, layout)
        run.write([sample], "test", "none@0")
        run.merge()
        done = read_run(tmp_path / layout)
        row = done.manifest.set_index("sample_id").loc["pit-000200"]
        assert row["control"] == "controls/pit-000200.png"
        written = decode_image(done.read("controls/pit-000200.mask.png"), "mask")
        assert np.array_equal(written, mask)
    import tarfile

    with tarfile.open(tmp_path / "tar" / "tars" / "batch-00000200.tar") as tar:
        assert {"pit-000200.control.png", "pit-000200.control.mask.png"} <= set(tar.getnames())


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ({}, "control names no control image"),
        ({"_target_": CANNY, "low": 1}, r"control\._target_ is"),
        (
            {"a/b": {"_target_": MASK}},
            r"control\.a/b is not a control",
        ),
        ({"canny": {"_target_": CANNY, "low": "much"}}, "'much'"),
        ({"canny": {"_target_": CANNY, "high": 1}}, "canny.low"),
    ],
)
def test_what_is_no_control(nodes, text) -> None:
    with pytest.raises(ConfigError, match=text):
        build_controls(nodes)


def test_a_controlnet_without_its_control_image() -> None:
    controls = {"canny": canny_control(), "mask": MaskControl()}
    check_controlnets(["mask"], controls)
    with pytest.raises(
        ConfigError, match=r"controlnets\.depth .* makes canny, mask; .*mask,depth\]"
    ):
        check_controlnets(["canny", "depth"], controls)


@pytest.mark.parametrize(
    "wrong", [np.zeros((128, 128), np.uint8), np.zeros((128, 128, 3), np.float32)]
)
def test_a_control_image_of_another_form(condition, wrong) -> None:
    with pytest.raises(ShapeError, match=r"control image 'depth' .* must be uint8 of \(128, 128,"):
        replace(condition, controls={"canny": condition.control_image, "depth": wrong})


def test_edges_hold_the_part_outside_and_the_defect_inside(condition) -> None:
    edges = draw(canny_control(), condition)[..., 0]
    outside, inside = ~condition.repaint_mask, condition.defect_mask
    assert np.array_equal(edges[outside], canny_edges(condition.image)[outside])
    asked = np.where(outline(inside), 255, canny_edges(condition.sketch))
    assert np.array_equal(edges[inside], asked[inside])
    assert not edges[condition.repaint_mask & ~inside].any()


def test_a_dense_map_is_that_of_the_sketch(condition) -> None:
    drawn = draw(DenseControl(lambda image: image[..., 1]), condition)
    assert np.array_equal(drawn, np.repeat(condition.sketch[..., 1:2], 3, axis=2))


def test_the_mask_is_white_on_black(condition) -> None:
    drawn = draw(MaskControl(), condition)
    assert np.array_equal(drawn > 0, np.repeat(condition.defect_mask[..., None], 3, axis=2))
    assert set(np.unique(drawn)) == {0, 255}


def test_functions_of_ones_own(own_maps, condition) -> None:
    before = condition.sketch.copy()
    grey = draw(function_control(f"{own_maps}:levels", "dense"), condition)
    colour = draw(function_control(f"{own_maps}:colours", "dense"), condition)
    edges = draw(function_control(f"{own_maps}:levels", "edges"), condition)
    assert np.array_equal(grey, np.repeat(before[..., :1], 3, axis=2))
    assert np.array_equal(colour, before[..., ::-1])
    assert np.array_equal(condition.sketch, before)
    outside = ~condition.repaint_mask
    assert np.array_equal(edges[outside][:, 0], condition.image[outside][:, 0])


def test_maps_of_another_size_are_laid_over_the_image(own_maps) -> None:
    image = np.random.default_rng(0).integers(0, 256, (101, 147, 3), np.uint8)
    nothing = np.zeros(image.shape[:2], bool)
    dense, edges = (
        function_control(f"{own_maps}:half", kind).draw(image, image, nothing, nothing)
        for kind in ("dense", "edges")
    )
    half, size = image[::2, ::2], (147, 101)
    assert np.array_equal(dense, cv2.resize(half, size, interpolation=cv2.INTER_LINEAR))
    nearest = cv2.resize(half.max(axis=2), size, interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(edges[..., 0], nearest)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("own_maps", "must be written module:name"),
        ("no_such_maps:levels", "'no_such_maps' cannot be imported .* PYTHONPATH"),
        ("broken_maps:levels", "'broken_maps' cannot be imported .ZeroDivisionError"),
        ("own_maps:leevls", "'own_maps' has no function 'leevls'"),
        ("own_maps:number", "'own_maps' has no function 'number'"),
    ],
)
def test_functions_that_are_not_there(own_maps, function, text) -> None:
    node = {"_target_": BY_NAME, "kind": "dense"}
    with pytest.raises(ConfigError, match=text):
        build(node | {"function": function}, "control.callable")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("floats", r"float64 of \(128, 128, 3\)"),
        ("flat", r"uint8 of \(49152,\)"),
        ("nothing", "None"),
    ],
)
def test_functions_that_return_no_map(own_maps, condition, name, text) -> None:
    control = function_control(f"{own_maps}:{name}", "dense")
    with pytest.raises(ConfigError, match=rf"returned {text}.*it must return"):
        draw(control, condition)


def test_what_kind_and_function_must_be_told() -> None:
    with pytest.raises(ConfigError, match=r"control\.callable\.function must be given"):
        compose("generate", ["control=callable"])
    config = compose("generate", ["control=callable", "control.callable.function=a:b"])
    config.control.callable.kind = "lines"
    with pytest.raises(ConfigError, match=r"control\.callable\.kind='lines'"):
        build_controls(config.control)


def test_a_good_image_has_edges_of_the_part_and_a_black_mask() -> None:
    sources = ProceduralSources(1, (64, 64), (), 1)
    build_one = Conditioner(
        sources, draw_classes("pit"), {"canny": canny_control(), "mask": MaskControl()}
    )
    good = draw_plan(sources, draw_classes("pit"), 1, 1, {"train": 1}, 1)[-1]
    condition = build_one(good)
    assert condition.spec.is_defect_free
    assert np.array_equal(condition.control_image[..., 0], canny_edges(condition.image))
    assert not condition.controls["mask"].any()
    assert isinstance(canny_control(), EdgeControl)
