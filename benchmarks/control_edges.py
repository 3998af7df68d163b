"""How well embedded models follow the control image on crops like those they learn from.

python benchmarks/control_edges.py runs/joint/model runs/frozen/model

Prints, for each model folder, the mean F1 of asked and painted edges (as in
docs/measured/fidelity.md) over 96 crops, 8 steps from noise, with controlnet_conditioning_scale
1 and 0.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from synthgen.backends.diffusion.patch_inpaint import PatchControlNetInpaintPipeline
from synthgen.quality.changes import edge_agreement
from synthgen.training.crops import draw_crops
from synthgen.training.pretrain import paint_crops

SEED, COUNT, SIZE_PX, BATCH = 501, 96, 96, 16


def main(folders: list[str]) -> None:
    crops = draw_crops(SEED, 0, COUNT, SIZE_PX)
    for folder in folders:
        loaded = PatchControlNetInpaintPipeline.from_pretrained(folder, local_files_only=True)
        pipeline = loaded.to(torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        found = []
        for scale in (1.0, 0.0):
            images = []
            for at in range(0, COUNT, BATCH):
                images += paint_crops(pipeline, crops[at : at + BATCH], 1.0, 8, scale)
            scores = [
                edge_agreement(c.control_image, c.source, image, c.repaint_mask)
                for c, image in zip(crops, images, strict=True)
            ]
            found.append(f"scale {scale:g} {np.nanmean(scores):.3f}")
        print(folder, *found)


if __name__ == "__main__":
    main(sys.argv[1:])
