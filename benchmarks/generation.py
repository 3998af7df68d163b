"""How fast images are made, and what they could be made with at best.

python benchmarks/generation.py        all parts
python benchmarks/generation.py a b    some of them

a  a plain diffusers script, one image a call, against synthgen, on the same model and images
b  share of a run's time that the denoiser (UNet and ControlNet) takes, with the embedded model
c  images/s of one and of two processes, and of Ray with one and with two actors
d  every stage that is no model, in images/s on one core
e  Stable Diffusion 1.5's size on a GPU: images/s, share of the matrix peak, the plain script
f  the embedded model by steps, guidance and number format, on one thread and on two

All but f on one CPU thread (a worker), medians over rounds; what is compared takes turns in one
run.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetInpaintPipeline,
    UNet2DConditionModel,
)
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from synthgen.backends.backend import SketchBackend
from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.backends.settings import CropSettings, Hardware, ModelSettings, PaintingSettings
from synthgen.commands.worker import RunWorker, make_worker
from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.edges import canny_control
from synthgen.config.build import collect_facts, set_up
from synthgen.config.compose import compose
from synthgen.config.objects import to_plain
from synthgen.defects import DEFECTS
from synthgen.generation.executors.executor import Executor
from synthgen.generation.executors.processes import ProcessExecutor
from synthgen.generation.executors.ray_cluster import RayExecutor
from synthgen.generation.generate import Stages, batched, generate
from synthgen.planning.plan import DefectClass, draw_plan
from synthgen.quality.limits import Limits
from synthgen.runs.folder import open_run
from synthgen.samples.sample import Condition, SampleSpec
from synthgen.sources import ProceduralSources, SourceIndex
from synthgen.training.embedded import build_tokenizer

ROUNDS = 3
CONTEXT_PX, STRENGTH, GUIDANCE = 32, 0.85, 7.5  # as in conf/backend/diffusion.yaml


@dataclass(frozen=True)
class Size:
    """How large a Stable Diffusion is."""

    widths: tuple[int, ...]
    layers: int
    vae_widths: tuple[int, ...]
    text_width: int
    text_layers: int
    heads: int


SMALL = Size((64, 128, 128), 1, (16, 16, 32, 32), 64, 2, 8)  # the UNet takes most of the time
SD15 = Size((320, 640, 1280, 1280), 2, (128, 256, 512, 512), 768, 12, 8)


def save_stable_diffusion(folder: Path, size: Size, side_px: int, dtype: torch.dtype) -> Path:
    """Write a ControlNet inpainting checkpoint with random weights."""
    torch.default_generator.manual_seed(0)
    plain = len(size.widths) - 1
    unet = UNet2DConditionModel(
        sample_size=side_px // 8,
        block_out_channels=size.widths,
        layers_per_block=size.layers,
        down_block_types=(*["CrossAttnDownBlock2D"] * plain, "DownBlock2D"),
        up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * plain),
        cross_attention_dim=size.text_width,
        attention_head_dim=size.heads,
    )
    vae = AutoencoderKL(
        block_out_channels=size.vae_widths,
        layers_per_block=size.layers,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=16,
        sample_size=side_px,
    )
    tokenizer, text_encoder = build_texts(size)
    pipeline = StableDiffusionControlNetInpaintPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        controlnet=ControlNetModel.from_unet(unet),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=dtype).save_pretrained(folder)
    return folder


def build_texts(size: Size) -> tuple[Any, CLIPTextModel]:
    tokenizer = build_tokenizer(["scratch", "metal"], 77)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.text_width,
            intermediate_size=4 * size.text_width,
            num_hidden_layers=size.text_layers,
            num_attention_heads=size.heads,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return tokenizer, text_encoder


def plan(count: int, size_px: int, cell_px: int) -> tuple[Conditioner, list[SampleSpec]]:
    """Return what draws conditions, and specs that go through all classes of defects."""
    sources = ProceduralSources(count, (size_px, size_px), seed=1)
    classes = {
        name: DefectClass(number, name, kind())
        for number, (name, kind) in enumerate(sorted(DEFECTS.items()), start=1)
    }
    build = Conditioner(sources, classes, {"canny": canny_control()}, cell_px=cell_px)
    return build, draw_plan(sources, classes, count, 0, {"all": 1.0}, 1)


def draw(count: int, size_px: int, cell_px: int) -> list[Condition]:
    build, specs = plan(count, size_px, cell_px)
    return [build(spec) for spec in specs]


def take_turns(acts: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median seconds of each act; they run in turn, after one round that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for number in range(rounds + 1):
        for name, act in acts.items():
            begun = time.perf_counter()
            act()
            if number:
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in seconds.items()}


def load_plain(folder: Path, device: str, dtype: torch.dtype) -> Any:
    pipeline = StableDiffusionControlNetInpaintPipeline.from_pretrained(
        folder, dtype=dtype, safety_checker=None, requires_safety_checker=False
    ).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint_plainly(
    pipeline: Any, conditions: Sequence[Condition], steps: int, side_px: int
) -> list[NDArray[np.uint8]]:
    """Paint as diffusers' page on inpainting does: image by image, ``padding_mask_crop``."""
    images = []
    for condition in conditions:
        picture = pipeline(
            prompt=condition.spec.prompt,
            negative_prompt=condition.spec.negative_prompt,
            image=Image.fromarray(condition.sketch),
            mask_image=Image.fromarray(condition.repaint_mask.astype(np.uint8) * 255),
            control_image=Image.fromarray(condition.control_image),
            padding_mask_crop=CONTEXT_PX,
            height=side_px,
            width=side_px,
            strength=STRENGTH,
            guidance_scale=GUIDANCE,
            num_inference_steps=steps,
            controlnet_conditioning_scale=1.0,
            generator=torch.Generator("cpu").manual_seed(condition.spec.index),
        ).images[0]
        images.append(np.asarray(picture))
    return images


@contextlib.contextmanager
def watch_denoiser(pipeline: Any) -> Iterator[list[float]]:
    """Collect the seconds of every forward of UNet and ControlNet."""
    spent: list[float] = []
    begun: list[float] = []
    hooks = []
    for part in (pipeline.unet, pipeline.controlnet):
        hooks.append(part.register_forward_pre_hook(lambda *_: begun.append(time.perf_counter())))
        hooks.append(
            part.register_forward_hook(
                lambda *_: spent.append(time.perf_counter() - begun.pop())  # none within another
            )
        )
    yield spent
    for hook in hooks:
        hook.remove()


def make_backend(
    folder: Path,
    steps: int,
    device: str = "auto",
    resolution_px: int | None = None,
    dtype: str = "float32",
) -> DiffusionBackend:
    return DiffusionBackend(
        ModelSettings(checkpoint=str(folder)),
        PaintingSettings(steps=steps, guidance=GUIDANCE, strength=STRENGTH),
        CropSettings(context_px=CONTEXT_PX, resolution_px=resolution_px, feather_px=2),
        Hardware(device=device, dtype=dtype),
    )


def part_a(side_px: int = 512, count: int = 6, steps: int = 5) -> None:
    """Compare synthgen with a plain script; on a CPU, with a small Stable Diffusion."""
    with tempfile.TemporaryDirectory() as folder:
        saved = save_stable_diffusion(Path(folder), SMALL, side_px, torch.float32)
        plain = load_plain(saved, "cpu", torch.float32)
        native = make_backend(saved, steps, device="cpu")
        equal = make_backend(saved, steps, device="cpu", resolution_px=side_px)
        for backend in (native, equal):
            backend.load()
    conditions = draw(count, side_px, native.family.cell_px)
    acts = {
        f"plain diffusers: a call per image, {side_px} x {side_px} px painted": lambda: (
            paint_plainly(plain, conditions, steps, side_px)
        ),
        f"synthgen, resolution_px={side_px}: batches of crops painted at that size": lambda: (
            equal.paint(conditions)
        ),
        "synthgen, resolution_px=null: batches of crops painted at their own size": lambda: (
            native.paint(conditions)
        ),
    }
    masks = [condition.repaint_mask.astype(np.uint8) for condition in conditions]
    crops = sum(cv2.connectedComponents(mask)[0] - 1 for mask in masks)
    print(
        f"a  {count} images of {side_px} px with {crops} separate areas to paint (a crop each in "
        f"synthgen), {int(steps * STRENGTH)} steps, guidance {GUIDANCE:g}, on one CPU thread"
    )
    print_ratios(take_turns(acts), count)


def print_ratios(seconds: dict[str, float], count: int) -> None:
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"   {name}: {count / value:.3g} images/s, {first / value:.2f} x")


def part_b(count: int = 48, size_px: int = 256) -> None:
    """Say what of a run, from condition to files, is the denoiser's."""
    fractions, rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            overrides = [f"run.folder={folder}/{number}", f"run.count={count}"]
            config = compose("generate", [*overrides, f"source.size_hw=[{size_px},{size_px}]"])
            job = set_up(config)
            plain, where = to_plain(config), str(config.run.folder)
            open_run(where, plain, job.specs, collect_facts(job))
            worker = RunWorker(config, where, job.parts)
            pipeline = worker.stages.backend.load().pipeline  # type: ignore[attr-defined]
            begun = time.perf_counter()
            with watch_denoiser(pipeline) as spent:
                for batch in batched(job.specs, job.batch_size):
                    worker(batch)
            seconds = time.perf_counter() - begun
            fractions.append(sum(spent) / seconds)
            rates.append(len(job.specs) / seconds)
    print(
        f"b  the embedded model, {len(job.specs)} samples of {size_px} px with retries: denoiser "
        f"{statistics.median(fractions):.1%} of the time, {statistics.median(rates):.2f} images/s"
    )


def part_c(count: int = 80, size_px: int = 256, batch_size: int = 4) -> None:
    """Compare workers of one machine with those of Ray, once they have loaded their models."""
    executors: dict[str, Executor] = {
        "1 process": ProcessExecutor(workers=1, threads=1),
        "2 processes": ProcessExecutor(workers=2, threads=1),
        "Ray, 1 actor": RayExecutor(workers=1),
        "Ray, 2 actors": RayExecutor(workers=2),
    }
    rates: dict[str, list[float]] = {name: [] for name in executors}
    for _ in range(ROUNDS):
        for name, executor in executors.items():
            with tempfile.TemporaryDirectory() as folder:
                rates[name].append(
                    measure_rate(executor, f"{folder}/run", count, size_px, batch_size)
                )
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"c  the embedded model, {count} images of {size_px} px, one thread a worker")
    for name, rate in medians.items():
        spread = ", ".join(f"{value:.2f}" for value in rates[name])
        print(f"   {name}: {rate:.2f} images/s ({spread})")
    ratio = medians["Ray, 2 actors"] / medians["2 processes"]
    print(f"   Ray with two actors over two processes: {ratio:.2f}")


def measure_rate(
    executor: Executor, folder: str, count: int, size_px: int, batch_size: int
) -> float:
    """Return images/s from the moment when every worker has a batch behind it."""
    overrides = [f"run.folder={folder}", f"run.count={count}", f"run.batch_size={batch_size}"]
    config = compose("generate", [*overrides, f"source.size_hw=[{size_px},{size_px}]"])
    job, plain = set_up(config), to_plain(config)
    open_run(folder, plain, job.specs, collect_facts(job))
    ended: list[tuple[float, int]] = []
    here = RunWorker(config, folder, job.parts)
    elsewhere = partial(make_worker, plain, folder, SourceIndex(job.parts.sources))
    for statuses in executor.run(batched(job.specs, job.batch_size), here, elsewhere):
        ended.append((time.perf_counter(), len(statuses)))
    first = 4  # two workers with two lanes each
    return sum(made for _, made in ended[first:]) / (ended[-1][0] - ended[first - 1][0])


def part_d(count: int = 24) -> None:
    """Time what is no model."""
    for size_px in (256, 512, 1024):
        build, specs = plan(count, size_px, 1)
        conditions = [build(spec) for spec in specs]
        ready = {condition.spec.sample_id: condition for condition in conditions}
        stages = Stages(
            condition=lambda spec, _, r=ready: r[spec.sample_id],
            backend=SketchBackend(),
            limits=Limits({}, {}),
            batch_size=8,
            retries=(),
        )
        samples = list(generate(specs, stages))
        with tempfile.TemporaryDirectory() as folder:
            run = open_run(Path(folder), {"run": {}, "quality": {}}, specs, {})
            seconds = take_turns(
                {
                    "condition": lambda b=build, s=specs: [b(spec) for spec in s],
                    "composite, inspect and annotate": lambda s=specs, t=stages: list(
                        generate(s, t)
                    ),
                    "write": lambda r=run, s=samples: r.write(s, "sketch", ""),
                }
            )
        rates = ", ".join(f"{name} {count / value:.0f}" for name, value in seconds.items())
        print(f"d  {size_px} px, images/s/core: {rates}; all {count / sum(seconds.values()):.0f}")


def part_e(
    size: Size = SD15, device: str = "cuda", side_px: int = 512, count: int = 32, steps: int = 20
) -> None:
    """Measure Stable Diffusion 1.5's size on a GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        print("e  left out: torch sees no CUDA GPU")
        return
    for name in ("bfloat16", "float16"):
        dtype = getattr(torch, name)
        with tempfile.TemporaryDirectory() as folder:
            saved = save_stable_diffusion(Path(folder), size, side_px, dtype)
            plain = load_plain(saved, device, dtype)
            options = {"dtype": name, "device": device, "resolution_px": side_px}
            backend = make_backend(saved, steps, **options)
            backend.load()
        conditions = draw(count, side_px, backend.family.cell_px)
        flops = count_flops(backend, conditions)
        peak = measure_peak(device, dtype)
        acts = {
            "plain diffusers, a call per image": lambda p=plain, c=conditions: paint_plainly(
                p, c, steps, side_px
            ),
            "synthgen": lambda b=backend, c=conditions: b.paint(c),  # ends with a copy to the CPU
        }
        seconds = take_turns(acts)
        print(f"e  {backend.device_name()}, {name}, {count} images of {side_px} px, {steps} steps")
        print_ratios(seconds, count)
        print(f"   synthgen: {flops / seconds['synthgen'] / peak:.1%} of {peak / 1e12:.3g} TFLOP/s")


def part_f(count: int = 48, size_px: int = 256, before: str = "embedded") -> None:
    """Compare ways to run the embedded model, on the same conditions of the drawn sources.

    ``before``: another version's weights, for 12 guided steps.
    """
    guided, model = PaintingSettings(steps=12, guidance=2.5), ModelSettings(checkpoint="embedded")
    ways: dict[str, tuple[Any, ...]] = {
        "12 steps, guidance 2.5": (ModelSettings(checkpoint=before), guided),
        "4 steps": (model,),
        "4 steps, bfloat16": (
            model,
            PaintingSettings(),
            CropSettings(),
            Hardware(dtype="bfloat16"),
        ),
    }
    conditions = draw(count, size_px, 1)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        acts = {}
        for name, options in ways.items():
            backend = DiffusionBackend(*options)
            backend.paint(conditions[:4])
            acts[name] = partial(paint_in_batches, backend, conditions)
        seconds = take_turns(acts)
        first = seconds["12 steps, guidance 2.5"]
        for name, took in seconds.items():
            print(
                f"f  {threads} thread(s), {name}: {count / took:.2f} images/s, {first / took:.2f}"
            )
    torch.set_num_threads(1)


def paint_in_batches(backend: DiffusionBackend, conditions: Sequence[Condition]) -> None:
    for at in range(0, len(conditions), 8):
        backend.paint(conditions[at : at + 8])


def count_flops(backend: DiffusionBackend, conditions: Sequence[Condition]) -> float:
    """Return what painting takes, as torch counts it: matrix products and convolutions."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        backend.paint(conditions)
    return float(counter.get_total_flops())


def measure_peak(device: str, dtype: torch.dtype) -> float:
    """Return the FLOP/s of one large matrix product, the most that this device gives in fact."""
    side = 8192 if device == "cuda" else 1024
    left = torch.randn(side, side, device=device).to(dtype)

    def multiply() -> float:
        for _ in range(8):
            product = left @ left
        return float(product[0, 0])  # waits for the device

    return 8 * 2 * side**3 / take_turns({"matmul": multiply}, 5)["matmul"]


PARTS: dict[str, Callable[[], None]] = {
    "a": part_a,
    "b": part_b,
    "c": part_c,
    "d": part_d,
    "e": part_e,
    "f": part_f,
}


def main(parts: Sequence[str]) -> None:
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise SystemExit(f"there is no part {unknown[0]!r}; choose from {' '.join(PARTS)}")
    for part in parts or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main(sys.argv[1:])
