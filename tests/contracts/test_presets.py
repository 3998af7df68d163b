"""Presets: each of conf/backend/ is whole, and its model's real class graph and widths paint."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from synthgen.backends.checkpoints.families import FAMILIES, find_call
from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.backends.diffusion.painting import Painter, Settings
from synthgen.backends.diffusion.texts import PromptEncoder
from synthgen.config.compose import compose
from synthgen.config.objects import build
from tests.backends import make_diffusion
from tests.families import TINY
from tests.presets import PRESETS
from tests.samples import draw_conditions

ROOT = Path(__file__).resolve().parents[2]
TRIED_WITH = {  # preset -> tiny checkpoint
    "sd15": "sd15_inpaint",
    "sdxl": "sdxl",
    "sdxl_union": "sdxl_union",
    "sd35": "sd3",
    "flux": "flux",
    "flux_fill": "flux_fill",
    "qwen_image": "qwen_image",
    "z_image": "z_image",
}
FAMILY = {"sd15": "sd", "sd35_medium": "sd3", "sd35_large": "sd3"}
WITH_CONTROLNET = {"sd15": "ControlNetModel", "sdxl": "ControlNetModel"}


def test_every_preset_is_tried() -> None:
    presets = {path.stem for path in (ROOT / "conf" / "backend").glob("*.yaml")}
    assert presets - {"embedded", "sketch", "diffusion"} == set(TRIED_WITH)


@pytest.mark.parametrize("name", sorted(TRIED_WITH))
def test_a_preset_paints_with_a_checkpoint_of_its_family(name, tmp_path) -> None:
    tiny = TINY[TRIED_WITH[name]](tmp_path)
    changes = [
        f"backend={name}",
        f"backend.model.checkpoint={tiny.base}",
        "backend.painting.steps=4",
    ]
    changes += [f"backend.crops.resolution_px={tiny.side_px}", "backend.hardware.offload=null"]
    config = compose("generate", changes)
    for net in config.backend.model.controlnets.values():
        net.checkpoint = str(next(iter(tiny.controlnets.values())))
    backend = build(config.backend, "backend")
    assert isinstance(backend, DiffusionBackend)
    conditions = draw_conditions("stain", count=1, cell_px=backend.describe().cell_px)
    changed = np.any(backend.paint(conditions)[0] != conditions[0].image, axis=2)
    assert changed[conditions[0].defect_mask].mean() > 0.5
    assert not (changed & ~conditions[0].repaint_mask).any()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_real_class_graph_and_widths_paint(name) -> None:
    """Random weights, less depth; one crop of 64 px, two steps."""
    family = next(one for one in FAMILIES if one.name == FAMILY.get(name, name))
    call = find_call(family, WITH_CONTROLNET.get(name), is_varied=False)
    pipeline = PRESETS[name]()
    assert type(pipeline).__name__ == call.pipeline
    pipeline.set_progress_bar_config(disable=True)
    painter = Painter(pipeline, call, PromptEncoder(pipeline, family), 1)
    condition = draw_conditions("stain", count=1, size=64, cell_px=family.cell_px)[0]
    backend = make_diffusion("embedded", resolution_px=64)
    job = backend._alike([condition], False)[0][0]
    scales = (family.control_scale,) if call.scale else ()
    settings = Settings(
        steps=2, guidance=family.guidance, strength=family.strength, init="sketch", scales=scales
    )
    [crop] = painter.paint([job], settings)
    assert crop.shape == (64, 64, 3)
    assert crop.std() > 0
    del painter, pipeline
    gc.collect()
