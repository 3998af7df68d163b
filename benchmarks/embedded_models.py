"""Embedded models side by side on the same crops: how near they come to the finished defect.

python benchmarks/embedded_models.py embedded runs/mine runs/other/model

Each argument is a model's folder, or that of a training under way, whose averaged weights are
taken. ``--real <table.csv>`` adds real defects (columns as in docs/reference/real-images.md;
``--classes`` name=value,... of their masks; ``--split`` of them). For each way of painting: the
mean difference to the finished defect in grey levels, its fine structure over that of the
finished one (1 = as crisp), and the distance of the features of a network that knows photographs
(0 = alike).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from synthgen.backends.checkpoints.find import find_checkpoint
from synthgen.backends.diffusion.patch_inpaint import PatchControlNetInpaintPipeline
from synthgen.imaging.images import LUMA
from synthgen.imaging.outline import IMMERKAER
from synthgen.training.crops import Crop, draw_crops
from synthgen.training.embedded import build_pipeline
from synthgen.training.features import FeatureLoss
from synthgen.training.learner import PARTS, Learner, stack_crops
from synthgen.training.pretrain import paint_crops
from synthgen.training.real_examples import RealExamples, RealFolder

SEED, SIZE_PX, BATCH = 501, 96, 16
WAYS = {  # strength, steps, guidance
    "sketch 12 steps, guided": (0.5, 12, 2.5),
    "sketch 4 steps": (0.5, 4, 1.0),
    "noise 4 steps": (1.0, 4, 1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--real")
    parser.add_argument("--classes", default="")
    parser.add_argument("--split")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sets = {"drawn": draw_crops(SEED, 0, asked.count, SIZE_PX)}
    if asked.real:
        sets["real"] = draw_real(asked.real, asked.classes, asked.split, asked.count)
    loss = FeatureLoss()
    for name, crops in sets.items():
        show(name, "the sketch itself", crops, [c.sketch for c in crops], loss)
    for model in asked.models:
        pipeline = load(model)
        for name, crops in sets.items():
            for way, (strength, steps, guidance) in WAYS.items():
                images = []
                for at in range(0, len(crops), BATCH):
                    part = crops[at : at + BATCH]
                    images += paint_crops(pipeline, part, strength, steps, 1.0, guidance)
                show(name, f"{model}, {way}", crops, images, loss)


def load(model: str) -> PatchControlNetInpaintPipeline:
    state_file = Path(model) / "state.pt"
    if not state_file.is_file():
        folder = find_checkpoint(model).folder
        pipeline = PatchControlNetInpaintPipeline.from_pretrained(folder, local_files_only=True)
        pipeline = pipeline.to(torch.float32)
    else:
        state = torch.load(state_file, map_location="cpu", weights_only=True)
        pipeline = build_pipeline(state["words"])
        learner = Learner(pipeline, PARTS)
        learner.load_state_dict(state["learner"])
        for own, mean in zip(learner.trained(), state["ema"]["shadow_params"], strict=True):
            own.data.copy_(mean)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw_real(table: str, classes: str, split: str | None, count: int) -> list[Crop]:
    values = {one.split("=")[0]: int(one.split("=")[1]) for one in classes.split(",") if one}
    settings = {"format": "table", "path": table, "classes": values or None, "split": split}
    folder = RealFolder(real=settings, surface="surface", origin="-", licence="-")
    examples = RealExamples({"real": folder})
    return [examples.draw(np.random.default_rng(SEED + n), SIZE_PX) for n in range(count)]


def show(name: str, what: str, crops: list[Crop], images: list, loss: FeatureLoss) -> None:
    error, fine, seen = [], [], []
    for crop, image in zip(crops, images, strict=True):
        where = crop.defect_mask
        change = (image.astype(np.float32) - crop.defective) @ LUMA
        error.append(np.abs(change[where]).mean())
        own, wanted = (
            np.abs(cv2.filter2D(one.astype(np.float32) @ LUMA, cv2.CV_32F, IMMERKAER)[where]).mean()
            for one in (image, crop.defective)
        )
        fine.append((own + 1) / (wanted + 1))
    for at in range(0, len(crops), BATCH):
        batch = stack_crops(crops[at : at + BATCH])
        stack = np.stack(images[at : at + BATCH])
        painted = torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            seen += loss(painted, batch["defective"], batch["repaint_mask"]).tolist()
    print(
        f"{name:6} {what:50} error {np.mean(error):5.2f}  fine {np.median(fine):.3f}  "
        f"features {np.mean(seen):.4f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
