"""The adapter's folder: weights, record, card, loss curve, and a sheet of what it paints."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save

from synthgen.backends.checkpoints.adapters import LORA, RECORD, WEIGHTS
from synthgen.backends.checkpoints.digests import file_digest
from synthgen.backends.checkpoints.find import Checkpoint
from synthgen.errors import RunError
from synthgen.imaging.images import tile, write_png
from synthgen.samples.seeds import stream
from synthgen.storage.files import remove_leftovers, write_bytes, write_text
from synthgen.training.adaptation.crops import Augmentation, RealExample, draw_real_crop
from synthgen.training.adaptation.loop import STATE, AdaptSettings
from synthgen.training.adaptation.recipe import RECIPE, TRIED, Recipe, TaughtBackend, write_recipe
from synthgen.training.crops import Crop
from synthgen.training.learner import PARTS

if TYPE_CHECKING:
    from synthgen.backends.diffusion.patch_inpaint import PatchControlNetInpaintPipeline

__all__ = ["Outcome", "check_folder", "draw_crop_sheet", "find_changes", "write_folder"]

LICENCE_NOTE = (
    "These weights derive from the images listed here: their licence and terms, and those of the "
    "base checkpoint, bind whoever passes them on."
)
SHEET_CROPS, SHEET_PX = 24, 96


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcome:
    """What an adaptation came to. ``curve``: step, loss, loss on what is held back.

    ``nouns``: the word of each class in prompts; ``words``: words that are new to the model, each
    with the noun that it started from. ``taught`` and ``held`` are the same examples where too few
    groups are there to hold any back. ``seconds``: of this call alone.
    """

    base: Checkpoint
    settings: AdaptSettings
    nouns: Mapping[str, str]
    words: Mapping[str, str]
    taught: Sequence[RealExample]
    held: Sequence[RealExample]
    curve: Sequence[tuple[int, float, float]]
    seconds: float
    recipe: Recipe
    backend: str = "embedded"  # by its name

    @property
    def best(self) -> tuple[int, float, float]:
        """The row of the curve with the least loss on what is held back: what was kept."""
        return min(self.curve, key=lambda row: row[2])

    @property
    def held_apart(self) -> list[RealExample]:
        """What is held back and not learned too, as it is where there are too few groups."""
        taught = {example.group for example in self.taught}
        return [example for example in self.held if example.group not in taught]

    @property
    def warnings(self) -> list[str]:
        """Sentences on what a person should know before they trust it; without a full stop."""
        found = []
        judged = {example.defect_class for example in self.held_apart}
        if unjudged := sorted(self.nouns.keys() - judged):
            found.append(
                f"nothing of {', '.join(unjudged)} is held back, so the loss "
                + ("says nothing of that" if judged else "is that on what was learned")
                + "; give images of two groups or more of each class, and adapt.hold_back above 0"
            )
        if self.best[0] == 0:
            found.append(
                "no step was better than the base model, so this adapter is the base model as it "
                "was; give more images or more adapt.steps"
            )
        return found


def check_folder(folder: Path) -> None:
    """Raise RunError where the folder cannot be made, or holds a finished adapter."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        reason = "may not be written" if place.is_dir() else "is a file"
        raise RunError(f"out={folder} cannot be made a folder: {place} {reason}; give another")
    if (folder / RECORD).exists() and not (folder / STATE).exists():
        raise RunError(f"out={folder} holds a finished adapter; give another folder, or delete it")


def write_folder(
    folder: Path,
    outcome: Outcome,
    tensors: Mapping[str, torch.Tensor],
    sheet: NDArray[np.uint8],
) -> None:
    """Write all files; the record last, so that a folder with one is whole.

    ``tensors`` are what was learned, by part and name; they are stored in half precision. ``sheet``
    (H, W, 3) is that of ``draw_crop_sheet``. The state to go on from is deleted. Raises RunError
    where the disk refuses.
    """
    small = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in tensors.items()}
    write_bytes(folder / WEIGHTS, save(small, {"format": "pt"}))  # save_file: for the owner alone
    write_png(folder / "held_back.png", sheet)
    write_recipe(folder, outcome.recipe, _describe_backend(outcome))
    write_record(folder, outcome)
    remove_leftovers(folder)  # of one that was killed right here
    (folder / STATE).unlink(missing_ok=True)


def _describe_backend(outcome: Outcome) -> TaughtBackend:
    """Return what a recipe says of the backend; a noun that the base lacks is what it began as."""
    return TaughtBackend(
        backend=outcome.backend,
        checkpoint=outcome.base.name,
        revision=outcome.base.revision,
        nouns={
            name: next((outcome.words[w] for w in noun.split() if w in outcome.words), noun)
            for name, noun in outcome.nouns.items()
        },
        splits=outcome.settings.splits,
        material=None if outcome.settings.surface == "surface" else outcome.settings.surface,
    )


def find_changes(
    pipeline: PatchControlNetInpaintPipeline, plain: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return what was learned: changes of weights, and low ranks as they are.

    ``plain``: the weights before, by part and name.
    """
    tensors = {}
    for part in PARTS:
        for name, value in getattr(pipeline, part).named_parameters():
            key = f"{part}.{name}".replace(".base_layer", "")
            if LORA in key:
                tensors[key.replace(".default.", ".").replace(".default_0.", ".")] = value
            elif value.requires_grad:
                tensors[key] = value - plain[key]
    return tensors


def write_record(folder: Path, outcome: Outcome) -> None:
    """Write loss.csv, README.md and adapter.yaml; the weights must be there already."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss", "held_back"])
    writer.writerows([(step, f"{a:.5f}", f"{b:.5f}") for step, a, b in outcome.curve])
    write_text(folder / "loss.csv", text.getvalue())
    write_text(folder / "README.md", _describe(outcome))
    record = {
        "base": {
            "name": outcome.base.name,
            "digest": outcome.base.digest,
            "licence": outcome.base.licence,
        },
        "sha256": file_digest(folder / WEIGHTS),
        "classes": dict(outcome.nouns),
        "new_words": dict(outcome.words),
        "settings": _plain(asdict(outcome.settings)),
        "best_step": outcome.best[0],
        "images": {
            "taught": _list_images(outcome.taught),
            "held_back": _list_images(outcome.held_apart),
        },
        "licence": LICENCE_NOTE,
    }
    write_text(folder / RECORD, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))


def _plain(value: Any) -> Any:
    """Return tuples as lists, which YAML knows."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _list_images(examples: Sequence[RealExample]) -> list[dict[str, str]]:
    rows = sorted({(one.image_id, one.group, one.defect_class) for one in examples})
    return [{"image": image, "group": group, "class": name} for image, group, name in rows]


def _count_images(examples: Sequence[RealExample]) -> int:
    return len({example.image_id for example in examples})


def _describe(outcome: Outcome) -> str:
    settings, (step, _, loss) = outcome.settings, outcome.best
    licence = outcome.base.licence or "Terms that its card does not state"
    held = outcome.held_apart
    counts = {
        name: sum(one.defect_class == name for one in (*outcome.taught, *held))
        for name in outcome.nouns
    }
    classes = ", ".join(
        f'{name} ("{noun}", {counts[name]} images)' for name, noun in outcome.nouns.items()
    )
    words = ", ".join(f"{word} (from {start})" for word, start in outcome.words.items()) or "none"
    recipe = f"{outcome.recipe.reason}: `{RECIPE}`, `{TRIED}`"
    warnings = "".join(f"\nWarning: {warning}.\n" for warning in outcome.warnings)
    return f"""# An adapter of {outcome.base.name}

Made by `synthgen adapt`; used by `backend.model.adapter=<this folder>` on that checkpoint alone.

| | |
|---|---|
| Base | {outcome.base.name}, digest {outcome.base.digest} |
| Licence | {licence}, of the base, and the terms of the images listed in `{RECORD}` |
| Classes | {classes} |
| New words | {words} |
| Training | {settings.method}, {outcome.curve[-1][0]} steps (kept: {step}), learning rate \
{settings.learning_rate:g}, seed {settings.seed}, {outcome.seconds:.0f} s |
| Loss on what is held back | {outcome.curve[0][2]:.4f} before, {loss:.4f} after |
| Images | {_count_images(outcome.taught)} taught, {_count_images(held)} held back, \
listed in `{RECORD}` |
| Recipe | {recipe} |

{LICENCE_NOTE}
{warnings}
`held_back.png`: defects that were held back, each in three pictures: real, removed,
and painted from noise with this adapter. A defect may come more than once. `loss.csv`: the curve.
"""


def draw_crop_sheet(
    held: Sequence[RealExample],
    paint: Callable[[Sequence[Crop]], list[NDArray[np.uint8]]],
) -> NDArray[np.uint8]:
    """Return real | removed | repainted for held-back defects, side by side: (H, W, 3).

    At most 24 crops of 96 px, four in a row; ``paint`` gives one image for each crop.
    """
    vary = Augmentation(transplant=0, turn=0, scale=(1, 1), gain=(1, 1), contrast=(1, 1))
    crops = [
        draw_real_crop(stream(0, "sheet", n), held[n % len(held)], (), SHEET_PX, vary)
        for n in range(min(SHEET_CROPS, max(8, len(held))))
    ]
    gap = np.full((SHEET_PX, 6, 3), 255, np.uint8)
    cells = [
        np.hstack([crop.defective, crop.source, image, gap])
        for crop, image in zip(crops, paint(crops), strict=True)
    ]
    return tile(cells, 4)
