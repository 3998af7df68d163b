"""Train a small inspection model on a run or an export, to see what the images are good for."""

from __future__ import annotations

from synthgen.commands.call import translate_errors
from synthgen.evaluation.inspectors.inspector import InspectionData, Inspector, fit_inspector
from synthgen.progress import show_progress

__all__ = ["train_inspector"]


def train_inspector(
    data: InspectionData,
    *,
    model: str = "auto",
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    synthetic: bool = True,
    quiet: bool = False,
) -> Inspector:
    """Train an inspection model on the split train of ``data`` and return it.

    ``data``: a run or its folder; what ``synthgen.export`` returned, or its folder; a LabelledSet
    or a DefectDataModule; or real images as settings, ``{"real.path": ..., "real.masks": ...}``.
    ``model``: as in ``evaluate.model``; auto = unet_pretrained where its packages are installed,
    else unet_small. ``steps``: None = what the model usually needs; those that learn from good
    photos alone take none. ``device``: auto, cpu, cuda or cuda:<number>. ``synthetic=False`` leaves
    painted defects out, to see what they add. One seed gives one model on one machine.

    Raises SynthgenError where the split has no defects, or none of its images is good.
    """
    with translate_errors(), show_progress(quiet):
        return fit_inspector(
            data, model=model, steps=steps, seed=seed, device=device, synthetic=synthetic
        )
