"""One suite for every family of models, on tiny random checkpoints in the real folder format."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthgen.backends.checkpoints.families import FAMILIES
from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.errors import ConfigError, ModelError
from synthgen.samples.sample import Attempt, Condition
from tests.backends import make_diffusion
from tests.families import TINY, TinyModel
from tests.families_adapters import save_tiny_ip_adapter, save_tiny_lora
from tests.samples import draw_conditions

PLAIN = [
    "sd15",
    "sd15_inpaint",
    "sdxl",
    "sdxl_inpaint",
    "sd3",
    "flux",
    "flux_fill",
    "qwen_image",
    "z_image",
    "flux2_klein",
    "chroma",
]
EDGES = ["sd15", "sd15_inpaint", "sdxl", "sdxl_inpaint", "sdxl_union", "flux", "z_image"]
INPAINTING = ["sd3", "qwen_image"]  # their ControlNets read the image and the mask, no edges
CASES = [*PLAIN, *(f"{name}+control" for name in (*EDGES, *INPAINTING))]
BLENDED = ["sd15", "sdxl", "sd3", "flux", "qwen_image", "z_image", "flux2_klein", "chroma"]
VARIED = ["sd15", "sdxl", "sdxl_union", "flux"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    saved: dict[str, TinyModel] = {}

    def save(name: str) -> TinyModel:
        if name not in saved:
            saved[name] = TINY[name](tmp_path_factory.mktemp(name))
        return saved[name]

    return save


@pytest.fixture(scope="module")
def make(tiny):
    """Return a backend of a case, e.g. ``sdxl+control``; loaded ones are kept."""

    kept: dict[str, DiffusionBackend] = {}

    def build(case: str, **options: Any) -> DiffusionBackend:
        is_kept = not options
        if is_kept and case in kept:
            return kept[case]
        name, _, control = case.partition("+")
        model = tiny(name)
        nets = {"canny": first_net(model, name)} if control else None
        options = {"steps": 4, "resolution_px": model.side_px, "controlnets": nets} | options
        backend = make_diffusion(str(model.base), **options)
        if is_kept:
            kept[case] = backend
        return backend

    return build


def first_net(model: TinyModel, name: str) -> dict[str, Any]:
    net: dict[str, Any] = {"checkpoint": str(next(iter(model.controlnets.values())))}
    return net | ({"mode": 3} if name == "sdxl_union" else {})


def inputs(backend: DiffusionBackend, count: int = 2) -> list[Condition]:
    return list(draw_inputs(count, backend.describe().cell_px))


@cache
def draw_inputs(count: int, cell_px: int) -> tuple[Condition, ...]:
    return tuple(draw_conditions("scratch", "stain", count=count, cell_px=cell_px))


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


def test_the_suite_knows_every_family() -> None:
    tested = {name.split("_inpaint")[0].split("_union")[0] for name in PLAIN}
    assert {family.name for family in FAMILIES} - {"embedded"} == {
        {"sd15": "sd"}.get(name, name) for name in tested
    }


@pytest.mark.parametrize("case", CASES)
def test_a_family_paints(make, case) -> None:
    backend = make(case)
    conditions = inputs(backend, 3)
    images = backend.paint(conditions)
    for condition, image in zip(conditions, images, strict=True):
        assert image.shape == condition.image.shape
        changed = np.any(image != condition.image, axis=2)
        assert not (changed & ~condition.repaint_mask).any()
        assert changed[condition.defect_mask].mean() > 0.5
    for condition, image in zip(conditions, images, strict=True):  # alone as in a batch
        assert difference(backend.paint([condition])[0], image) <= 1
    again = replace(conditions[0], attempt=Attempt(1))
    assert difference(backend.paint([again])[0], images[0]) > 1


@pytest.mark.parametrize("case", CASES)
def test_the_prompt_counts(make, case) -> None:
    backend = make(case)
    condition = inputs(backend, 1)[0]
    other = replace(condition, spec=replace(condition.spec, prompt="metal metal metal"))
    assert not np.array_equal(backend.paint([condition])[0], backend.paint([other])[0])


@pytest.mark.parametrize("case", [f"{name}+control" for name in EDGES])
def test_the_control_image_counts(make, case) -> None:
    backend = make(case)
    condition = inputs(backend, 1)[0]
    blank = replace(condition, controls={"canny": np.zeros_like(condition.control_image)})
    assert not np.array_equal(backend.paint([condition])[0], backend.paint([blank])[0])


@pytest.mark.parametrize("case", [f"{name}+control" for name in INPAINTING])
def test_what_an_inpainting_controlnet_reads_counts(make, case) -> None:
    """The image and the mask come in as control: another image paints another defect."""
    backend = make(case)
    condition = inputs(backend, 1)[0]
    darker = replace(condition, sketch=condition.sketch // 2)
    assert not np.array_equal(backend.paint([condition])[0], backend.paint([darker])[0])
    without = make(case, control_scale=0.0)
    assert not np.array_equal(backend.paint([condition])[0], without.paint([condition])[0])


@pytest.mark.parametrize("name", BLENDED)
def test_white_in_the_mask_is_what_is_repainted(make, name) -> None:
    """Far from the mask the model's own answer is the source's, whatever the noise."""
    backend = make(name)
    condition = inputs(backend, 1)[0]
    mask = np.zeros_like(condition.repaint_mask)
    mask[:, :48] = True
    condition = replace(condition, repaint_mask=mask)
    job = replace(backend._alike([condition], False)[0][0], size_hw=(128, 128))
    other = replace(job, condition=replace(condition, attempt=Attempt(1)))
    settings = backend._settings(condition.boost)
    one, two = (backend.load().paint([j], settings)[0].astype(int) for j in (job, other))
    inside, outside = np.abs(one - two)[:, :32].mean(), np.abs(one - two)[:, -48:].mean()
    assert outside < 0.25 * inside


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", [*PLAIN, "sdxl+control", "flux+control"])
def test_half_precision(make, case, dtype) -> None:
    backend = make(case, dtype=dtype)
    condition = inputs(backend, 1)[0]
    image = backend.paint([condition])[0]
    changed = np.any(image != condition.image, axis=2)
    assert changed[condition.defect_mask].mean() > 0.5
    assert not (changed & ~condition.repaint_mask).any()


@pytest.mark.parametrize("case", ["sd15+control", "sdxl", "sd3", "flux+control", "z_image"])
def test_offloading_paints_the_same(make, case) -> None:
    conditions = inputs(make(case), 1)
    moved = make(case, offload="model")
    assert difference(moved.paint(conditions)[0], make(case).paint(conditions)[0]) <= 1


def test_offloading_layer_by_layer_needs_a_gpu(make) -> None:
    with pytest.raises(ConfigError, match=r"offload=sequential needs a GPU"):
        make("sd15", offload="sequential", device="cpu").load()


def test_a_device_map_paints_the_same(make) -> None:
    conditions = inputs(make("sd15"), 1)
    mapped = make("sd15", device_map="cpu")
    assert difference(mapped.paint(conditions)[0], make("sd15").paint(conditions)[0]) <= 1
    with pytest.raises(ConfigError, match="exclude each other"):
        make("sd15", device_map="cpu", offload="model")


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3", "flux"])
def test_a_lora_by_its_weight(make, tiny, tmp_path, name) -> None:
    saved = str(save_tiny_lora(tiny(name).base, tmp_path / "lora"))
    conditions = inputs(make(name), 1)
    base = make(name).paint(conditions)[0]
    none = make(name, loras={"own": {"checkpoint": saved, "weight": 0}})
    full = make(name, loras={"own": {"checkpoint": saved, "weight": 1}})
    assert difference(none.paint(conditions)[0], base) <= 1
    assert difference(full.paint(conditions)[0], base) > 1
    assert full.checkpoint.startswith(f"{make(name).checkpoint} + ")


@pytest.mark.parametrize("case", ["sd15", "sd15+control", "sdxl+control"])
def test_a_reference_image(make, tiny, tmp_path, case) -> None:
    folder = save_tiny_ip_adapter(tiny(case.split("+")[0]).base, tmp_path / "adapter")
    Image.fromarray(np.full((40, 60, 3), (200, 40, 40), np.uint8)).save(tmp_path / "red.png")
    weights = next(folder.rglob("ip-adapter*.safetensors"))
    reference = {
        "checkpoint": str(weights),
        "encoder": str(weights.parent / "image_encoder"),
        "image": str(tmp_path / "red.png"),
    }
    conditions = inputs(make(case), 2)
    base = make(case).paint(conditions)
    without = make(case, reference=reference | {"scale": 0.0}).paint(conditions)
    with_it = make(case, reference=reference | {"scale": 1.0})
    images = with_it.paint(conditions)
    assert max(map(difference, without, base)) <= 1
    assert min(map(difference, images, base)) > 1
    assert difference(with_it.paint(conditions[1:])[0], images[1]) <= 1


@pytest.mark.parametrize("name", ["sd15", "sdxl", "flux"])
def test_several_controlnets_each_with_its_scale_and_span(make, tiny, name) -> None:
    canny, depth = (str(path) for path in list(tiny(name).controlnets.values())[:2])
    condition = inputs(make(name), 1)[0]
    ramp = np.repeat(np.linspace(0, 255, 128).astype(np.uint8)[None, :, None], 128, axis=0)
    controls = {"canny": condition.control_image, "depth": np.repeat(ramp, 3, axis=2)}
    condition = replace(condition, controls=controls)

    def paint(**depth_options: float) -> np.ndarray:
        nets = {"canny": {"checkpoint": canny}, "depth": {"checkpoint": depth} | depth_options}
        return make(name, controlnets=nets).paint([condition])[0]

    alone = make(f"{name}+control").paint([condition])[0]
    if name != "flux":  # there, another control image takes another part of the noise
        assert difference(paint(scale=0.0), alone) <= 1
    assert difference(paint(), alone) > 1
    assert not np.array_equal(paint(), paint(scale=0.5))
    assert not np.array_equal(paint(), paint(end=0.5))


def test_one_union_controlnet_reads_several_images(make, tiny) -> None:
    union = str(tiny("sdxl_union").controlnets["union"])
    nets = {
        "canny": {"checkpoint": union, "mode": 3},
        "depth": {"checkpoint": union, "mode": 1},
    }
    both = make("sdxl_union", controlnets=nets)
    condition = inputs(both, 1)[0]
    condition = replace(
        condition, controls={"canny": condition.control_image, "depth": condition.image}
    )
    one = make("sdxl_union+control").paint([condition])[0]
    assert difference(both.paint([condition])[0], one) > 1


@pytest.mark.parametrize("offload", [None, "model"])
@pytest.mark.parametrize("name", VARIED)
def test_a_whole_image_is_varied(make, name, offload) -> None:
    backend = make(f"{name}+control", **({"offload": offload} if offload else {}))
    conditions = [make_whole(condition) for condition in inputs(backend, 2)]
    images = backend.paint(conditions)
    for condition, image in zip(conditions, images, strict=True):
        assert image.shape == condition.image.shape
        assert np.any(image != condition.image, axis=2).mean() > 0.5
        assert difference(backend.paint([condition])[0], image) <= 1


def make_whole(condition: Condition) -> Condition:
    """A good image of 120 x 136 px, all of which is to be painted."""
    nothing = np.zeros((120, 136), bool)
    image = np.ascontiguousarray(np.tile(condition.image, (1, 2, 1))[:120, :136])
    return replace(
        condition,
        spec=replace(condition.spec, defect_class=None, class_id=0, instances=0),
        image=image,
        sketch=image,
        defect_mask=nothing,
        repaint_mask=~nothing,
        instance_map=nothing.astype(np.uint8),
        controls={"canny": np.zeros_like(image)},
    )


@pytest.mark.parametrize("name", sorted(TINY))
def test_from_a_hub_id_without_a_network(make, tiny, tmp_path, monkeypatch, name) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / f"models--somebody--{name}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit, encoding="utf-8")
    (place / "snapshots").mkdir()
    (place / "snapshots" / commit).symlink_to(tiny(name).base)
    model = make_diffusion(f"somebody/{name}")
    assert model.model.base.revision == commit
    assert model.checkpoint.startswith(f"somebody/{name}@")


@pytest.mark.parametrize(
    ("name", "other", "sentence"),
    [
        ("sd15", "flux", "is a FluxControlNetModel; Stable Diffusion 1.5 and 2 takes ControlNet"),
        ("sdxl", "sd15", "is of another base .* cross_attention_dim"),
        ("flux_fill", "flux", "FLUX.1 Fill takes no ControlNet"),
    ],
)
def test_a_controlnet_of_another_base_is_refused(tiny, name, other, sentence) -> None:
    net = {"checkpoint": str(next(iter(tiny(other).controlnets.values())))}
    with pytest.raises((ConfigError, ModelError), match=sentence):
        make_diffusion(str(tiny(name).base), controlnets={"canny": net})


def test_a_controlnet_made_from_an_inpainting_unet_is_refused(tiny, tmp_path) -> None:
    from diffusers import ControlNetModel, UNet2DConditionModel

    base = tiny("sd15_inpaint").base
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    ControlNetModel.from_unet(unet).save_pretrained(tmp_path / "net")
    with pytest.raises(ModelError, match="9 channels, as if it were made from an inpainting UNet"):
        make_diffusion(str(base), controlnets={"canny": {"checkpoint": str(tmp_path / "net")}})


def test_sizes_that_a_family_cannot_paint(tiny) -> None:
    for name, step in (("sd15", 8), ("flux", 16), ("qwen_image", 16)):
        with pytest.raises(ConfigError, match=f"resolution_px=100 .* multiple of {step}"):
            make_diffusion(str(tiny(name).base), resolution_px=100)


def test_the_size_that_a_checkpoint_was_trained_at(make) -> None:
    assert make("sd15", resolution_px="auto").crops.resolution_px == 64
    assert make("sd3", resolution_px="auto").crops.resolution_px == 128
    assert make("flux", resolution_px="auto").crops.resolution_px == 1024  # its config does not say


def test_a_class_that_no_family_has(tiny, tmp_path) -> None:
    index = json.loads((tiny("sd15").base / "model_index.json").read_text(encoding="utf-8"))
    folder = tmp_path / "other"
    folder.mkdir()
    for part in tiny("sd15").base.iterdir():
        (folder / part.name).symlink_to(part)
    (folder / "model_index.json").unlink()
    index["_class_name"] = "KandinskyPipeline"
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match="a KandinskyPipeline, which synthgen does not run"):
        make_diffusion(str(folder))


def test_strength_where_a_pipeline_has_none(tiny) -> None:
    net = {"checkpoint": str(next(iter(tiny("sd3").controlnets.values())))}
    with pytest.raises(
        ConfigError, match=r"backend\.painting\.strength=0\.5.* always starts from noise"
    ):
        make_diffusion(str(tiny("sd3").base), controlnets={"canny": net}, strength=0.5)


def test_negative_prompts_count_where_guidance_is_on(make) -> None:
    backend = make("sdxl")
    condition = inputs(backend, 1)[0]
    other = replace(condition, spec=replace(condition.spec, negative_prompt="metal"))
    assert not np.array_equal(backend.paint([condition])[0], backend.paint([other])[0])
    off = make("sdxl", guidance=1.0)
    assert np.array_equal(off.paint([condition])[0], off.paint([other])[0])


def test_weighted_prompts(make) -> None:
    backend = make("sd15", prompt_weights=True)
    condition = inputs(backend, 1)[0]
    texts = ["a scratch on metal", "a (scratch)1.5 on metal", "metal " * 100 + "scratch"]
    conditions = [replace(condition, spec=replace(condition.spec, prompt=text)) for text in texts]
    images = backend.paint(conditions)
    assert not np.array_equal(images[0], images[1])
    plain = make("sd15").paint(conditions[:1])[0]
    assert difference(images[0], plain) <= 1
    assert difference(backend.paint(conditions[2:])[0], images[2]) <= 1
    with pytest.raises(ConfigError, match="prompt_weights"):
        make("qwen_image", prompt_weights=True)


def test_the_safety_checker_is_off_unless_asked_for(make) -> None:
    """The tiny one blacks out everything, so that its work is seen."""
    assert make("sd15").describe().safety_checker is False
    assert make("sdxl").describe().safety_checker is None
    checked = make("sd15", safety_checker=True)
    condition = inputs(checked, 1)[0]
    assert checked.describe().safety_checker is True
    assert not checked.paint([condition])[0][condition.defect_mask].any()
    assert make("sd15").paint([condition])[0][condition.defect_mask].any()
    with pytest.raises(ConfigError, match=r"safety_checker=true, but .* holds none"):
        make("sdxl", safety_checker=True)


def test_a_backend_names_all_that_it_paints_with(make, tiny) -> None:
    backend = make("sdxl+control")
    info = backend.describe()
    assert set(info.models) == {"checkpoint", "controlnets.canny"}
    assert Path(info.models["controlnets.canny"]["name"]).name.startswith("controlnet-")
    assert info.checkpoint.count("@") == 2
    assert info.reads == ("canny",)
