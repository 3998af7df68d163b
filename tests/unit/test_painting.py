"""What painting costs: rows of the denoiser, texts that are read once, memory that runs out."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.backends.diffusion.crops import cut_jobs, paste_crop
from synthgen.errors import ConfigError
from synthgen.training.embedded import build_pipeline
from tests import starter
from tests.backends import make_diffusion
from tests.checkpoints import save_tiny_patch_model, save_tiny_stable_diffusion
from tests.samples import draw_conditions

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {
        "patch": str(save_tiny_patch_model(root / "patch")),
        "stable": str(save_tiny_stable_diffusion(root / "stable")),
    }


def make_backend(folders, name: str, **options) -> DiffusionBackend:
    return make_diffusion(folders[name], steps=4, resolution_px=128, **options)


def count_rows(module: torch.nn.Module) -> list[int]:
    """Return a list that grows by the rows of each batch that goes through a module."""
    rows: list[int] = []
    module.register_forward_hook(lambda _, arguments, __: rows.append(len(arguments[0])))
    return rows


def differ(images, others) -> int:
    pairs = zip(images, others, strict=True)
    return max(int(np.abs(one.astype(int) - other.astype(int)).max()) for one, other in pairs)


@pytest.mark.parametrize("name", ["patch", "stable"])
@pytest.mark.parametrize(("guidance", "sides"), [(1.0, 1), (0.5, 1), (2.0, 2)])
def test_only_guidance_over_one_costs_a_second_row(folders, name, guidance, sides) -> None:
    backend = make_backend(folders, name, guidance=guidance)
    pipeline = backend.load().pipeline
    rows, control_rows = count_rows(pipeline.unet), count_rows(pipeline.controlnet)
    backend.paint(draw_conditions("pit", count=3))
    assert set(rows) == {3 * sides}
    reads_text = name == "stable"  # the patch model's ControlNet does not, so one side will do
    assert set(control_rows) == {3 * sides if reads_text else 3}


def test_a_control_net_without_text_paints_the_same_for_one_side_as_for_both(folders) -> None:
    backend = make_backend(folders, "patch", guidance=2.0)
    conditions = draw_conditions("pit", count=3)
    once = backend.paint(conditions)
    backend.load().pipeline._control_reads_text = True
    assert differ(once, backend.paint(conditions)) <= 1


@pytest.mark.parametrize("name", ["patch", "stable"])
def test_a_text_is_read_once_for_all_calls(folders, name) -> None:
    backend = make_backend(folders, name, guidance=2.0)
    rows = count_rows_of_texts(backend)
    conditions = draw_conditions("scratch", count=3)
    pairs = {(c.spec.prompt, c.spec.negative_prompt) for c in conditions}
    first = backend.paint(conditions)
    assert len(rows) == 2 * len(pairs)
    assert differ(first, backend.vary(steps=4).paint(conditions)) == 0
    assert len(rows) == 2 * len(pairs)
    spec = replace(conditions[0].spec, negative_prompt="metal metal metal")
    away = backend.paint([replace(conditions[0], spec=spec)])
    assert len(rows) == 2 * len(pairs) + 2
    assert not np.array_equal(away[0], first[0])


def count_rows_of_texts(backend: DiffusionBackend) -> list[int]:
    rows: list[int] = []
    backend.load().pipeline.text_encoder.register_forward_hook(lambda *_: rows.append(1))
    return rows


@pytest.mark.parametrize("name", ["patch", "stable"])
def test_states_of_prompts_paint_what_the_prompts_do(folders, name) -> None:
    pipeline = make_backend(folders, name).load().pipeline
    texts, negatives = ["a scratch", "metal"], ["metal", ""]
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def call(**prompts):
        return pipeline(
            image=pictures.clone(),
            mask_image=(pictures[:, :1] > 0.3).float(),
            control_image=pictures.clone(),
            num_inference_steps=2,
            guidance_scale=3.0,
            generator=[torch.Generator().manual_seed(n) for n in range(2)],
            output_type="pt",
            **prompts,
        ).images

    states, away = pipeline.encode_prompt(texts, "cpu", 1, True, negatives)
    by_state = call(prompt_embeds=states, negative_prompt_embeds=away)
    assert torch.equal(by_state, call(prompt=texts, negative_prompt=negatives))


def test_the_patch_pipeline_wants_a_text(folders) -> None:
    pipeline = make_backend(folders, "patch").load().pipeline
    picture = torch.zeros(1, 3, 64, 64)
    arguments = {"image": picture, "mask_image": picture[:, :1], "control_image": picture}
    with pytest.raises(ValueError, match="prompt_embeds"):
        pipeline(**arguments)
    states, _ = pipeline.encode_prompt("metal")
    with pytest.raises(ValueError, match="negative_prompt_embeds"):
        pipeline(**arguments, prompt_embeds=states, guidance_scale=2.0)


@pytest.mark.parametrize("name", ["patch", "stable"])
def test_paint_batch_bounds_a_call_and_changes_nothing(folders, name) -> None:
    conditions = draw_conditions("pit", count=5)
    whole = make_backend(folders, name).paint(conditions)
    backend = make_backend(folders, name, guidance=1.0, paint_batch=2)
    rows = count_rows(backend.load().pipeline.unet)
    backend.paint(conditions)
    assert max(rows) == 2
    assert differ(whole, make_backend(folders, name, paint_batch=2).paint(conditions)) <= 1


@pytest.mark.parametrize(
    ("max_px", "resolution_px", "box", "size_hw"),
    [
        (512, None, (80, 98, 320, 64), (64, 320)),  # pixels of the surface around a line
        (128, None, (80, 98, 320, 64), (32, 128)),
        (512, 256, (80, -30, 320, 320), (256, 256)),  # what the checkpoint was trained at
    ],
)
def test_a_line_is_painted_in_a_long_crop(max_px, resolution_px, box, size_hw) -> None:
    (condition,) = draw_conditions("scratch", count=1)
    mask = np.zeros((260, 480), bool)
    mask[128:132, 100:380] = True
    image = np.zeros((260, 480, 3), np.uint8)
    own = {"image": image, "sketch": image, "repaint_mask": mask, "defect_mask": mask}
    long = replace(condition, **own, instance_map=mask.astype(np.uint8), controls={})
    (job,) = cut_jobs([long], 16, 64, max_px, 32, resolution_px)
    assert (job.box, job.size_hw) == (box, size_hw)
    painted = np.full((*size_hw, 3), 200, np.uint8)
    assert (paste_crop(image, painted, job, 0)[..., 0] == 200 * mask).all()


def test_what_the_picture_cuts_off_is_whole_at_its_border() -> None:
    """A feather softens the border of the mask, and the end of the picture is none."""
    (condition,) = draw_conditions("scratch", count=1)
    mask = np.zeros((128, 128), bool)
    mask[90:, 40:80] = True
    image = np.zeros((128, 128, 3), np.uint8)
    own = {"image": image, "sketch": image, "repaint_mask": mask, "defect_mask": mask}
    cut = replace(condition, **own, instance_map=mask.astype(np.uint8), controls={})
    (job,) = cut_jobs([cut], 16, 64, 512, 32, None)
    painted = np.full((*job.size_hw, 3), 200, np.uint8)
    pasted = paste_crop(image, painted, job, 4)[..., 0]
    assert pasted[127, 60] == 200
    assert 0 < pasted[90, 60] < 200
    assert (pasted[~mask] == 0).all()


def test_slices_and_tiles_of_the_vae(folders) -> None:
    conditions = draw_conditions("pit", count=2)
    plain = make_backend(folders, "stable").paint(conditions)
    backend = make_backend(folders, "stable", vae_slicing=True, vae_tiling=True)
    rows = count_rows(backend.load().pipeline.vae.decoder)
    assert differ(plain, backend.paint(conditions)) <= 1  # 128 px is one tile
    assert set(rows) == {1}


@pytest.mark.parametrize("key", ["vae_slicing", "vae_tiling"])
def test_a_family_without_a_vae_says_so(folders, key) -> None:
    with pytest.raises(ConfigError, match=rf"backend\.hardware\.{key}"):
        make_backend(folders, "patch", **{key: True}).load()


def test_auto_is_float32_on_a_cpu(folders) -> None:
    backend = make_backend(folders, "patch", dtype="auto", device="cpu")
    assert backend.load().pipeline.unet.dtype == torch.float32
    assert backend.dtype == "float32"


def test_bfloat16_paints_nearly_the_same(folders) -> None:
    conditions = draw_conditions("pit", count=2)
    pairs = zip(
        make_backend(folders, "patch").paint(conditions),
        make_backend(folders, "patch", dtype="bfloat16").paint(conditions),
        strict=True,
    )
    for one, other in pairs:
        assert 0 < np.abs(one.astype(int) - other).mean() < 2


def test_impossible_batches(folders) -> None:
    with pytest.raises(ConfigError, match=r"backend\.hardware\.paint_batch=0"):
        make_backend(folders, "patch", paint_batch=0)


def test_without_a_compiler_nothing_is_compiled(folders, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        ConfigError, match=r"backend\.hardware\.compile=true needs a C\+\+ compiler"
    ):
        make_backend(folders, "patch", compile=True).load()


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_what_is_compiled_paints_the_same(tmp_path) -> None:
    build_pipeline(["metal"], widths=(16,), text_width=16).save_pretrained(tmp_path)
    options = {"steps": 1, "strength": 1, "guidance": 1, "control_scale": 0, "resolution_px": 64}
    conditions = draw_conditions("pit", count=2)  # one step of the UNet alone: compiling is slow
    plain = make_diffusion(str(tmp_path), **options).paint(conditions)
    backend = make_diffusion(str(tmp_path), compile=True, **options)
    # g++ reads less where no vectors are asked for, and no other process has to import torch
    with torch._inductor.config.patch({"cpp.simdlen": 1, "compile_threads": 1}):
        assert differ(plain, backend.paint(conditions)) <= 1
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


MEMORY = """
import os, resource, sys
from pathlib import Path
import diffusers
import numpy as np
from synthgen.errors import ModelError
from tests.backends import make_diffusion
from tests.samples import draw_conditions

def limit_memory(spare_mb):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (spare_mb << 20), resource.RLIM_INFINITY))

def lift_limit():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def backend(side_px):
    options = {"steps": 1, "strength": 1, "guidance": 2, "device": "cpu"}
    made = make_diffusion(sys.argv[1], resolution_px=side_px, **options)
    made.rows = []
    made.load().pipeline.unet.register_forward_hook(
        lambda _, arguments, __: made.rows.append(len(arguments[0]) // 2))
    return made

diffusers.UNet2DConditionModel, diffusers.ControlNetModel  # read once, before the fork
is_little = os.fork() == 0
conditions = draw_conditions("pit", count=8)
small, large = backend(320), backend(1024)
small.paint(conditions[:1])  # loads all code
small.rows.clear()
if is_little:
    limit_memory(32)
    try:
        large.paint(conditions[:1])
    except ModelError as error:
        lift_limit()
        print(error)
    limit_memory(220)  # its 9 crops need 280, 5 need 160
name = "little" if is_little else "free"
np.save(f"{sys.argv[2]}/{name}.npy", small.paint(conditions))
print(name, max(small.rows), flush=True)
if not is_little:
    assert os.wait()[1] == 0
"""


def test_where_memory_runs_out_half_the_crops_go_through_and_paint_the_same(
    folders, tmp_path
) -> None:
    # two processes, forked before any painting: oneDNN remembers having had too little
    done = starter.run("-c", MEMORY, folders["patch"], str(tmp_path), kind="all", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    [sentence] = [line for line in done.stdout.splitlines() if "one crop of" in line]
    rows = dict(re.findall(r"^(free|little) (\d+)$", done.stdout, re.MULTILINE))
    assert int(rows["little"]) < int(rows["free"]) == 9
    limited, free = (np.load(tmp_path / f"{name}.npy").astype(int) for name in ("little", "free"))
    assert np.abs(limited - free).max() <= 1
    assert "one crop of 1024 x 1024 px, of sample 'pit-000000'" in sentence
    for key in ("backend.crops.max_px", "run.batch_size", "backend.hardware.dtype"):
        assert key in sentence
