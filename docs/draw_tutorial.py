"""Run the code of start/tutorial.md in a folder, and draw the pictures of its stages.

python docs/draw_tutorial.py work

Where the code has run in ``work`` already, the pictures alone are drawn again.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

import synthgen
from synthgen.config.build import build_parts, set_up
from synthgen.config.compose import compose
from synthgen.generation.generate import generate
from synthgen.imaging.images import encode_jpeg, read_image, write_png
from synthgen.report.sheet import ASKED, LABEL, PART, draw_outline, fit_view, square_window
from synthgen.samples.sample import Sample
from synthgen.sources import FolderSources, examples

Image = NDArray[np.uint8]
PAGE = Path(__file__).resolve().parent / "start" / "tutorial.md"
IMAGES = Path(__file__).resolve().parent / "images" / "tutorial"
SIDE_PX, TRIED_PX, GAP_PX, TITLE_PX = 210, 150, 8, 22
QUALITY = 84


def read_page(language: str) -> list[str]:
    """Return the blocks of code of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def read_commands() -> dict[str, list[str]]:
    """Return the words of each command of the page by its name, in order.

    A module that is run by python counts as a command for each of its calls.
    """
    lines = [shlex.split(line) for line in "".join(read_page("bash")).splitlines()]
    return {" ".join(words[2:]) if words[0] == "python" else words[1]: words for words in lines}


def run_page(small: Sequence[str] = (), steps: int | None = None) -> None:
    """Run the page's code in this folder.

    ``small``: further settings of generate. ``steps``: of the training; None = as on the page.
    """
    for name, (program, *words) in read_commands().items():
        if program == "python":  # -m synthgen.sources.examples
            examples.main(words[2:])
        else:
            more = small if name == "generate" else ()
            getattr(synthgen, name)(*words[1:], *more)
    code = "\n".join(read_page("python"))
    if steps is not None:
        code = code.replace('("runs/plates")', f'("runs/plates", steps={steps})')
    exec(compile(code, str(PAGE), "exec"), {})


def draw_row(pictures: Sequence[Image], titles: Sequence[str], width: int = SIDE_PX) -> Image:
    """Return pictures of one height beside each other, each below its title."""
    cells = []
    for picture, text in zip(pictures, titles, strict=True):
        height = round(width * picture.shape[0] / picture.shape[1])
        how = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_CUBIC
        shown = cv2.resize(picture, (width, height), interpolation=how)
        title = np.full((TITLE_PX if text else 0, width, 3), 255, np.uint8)
        if text:
            font = cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(title, text, (1, 15), font, 0.44, (0, 0, 0), 1, cv2.LINE_AA)
        cells.append(np.vstack([title, shown]))
    gap = np.full((cells[0].shape[0], GAP_PX, 3), 255, np.uint8)
    spaced = [part for cell in cells for part in (cell, gap)][:-1]
    return np.hstack(spaced)


def stack(rows: Sequence[Image]) -> Image:
    """Return rows of one width below each other."""
    width = max(row.shape[1] for row in rows)
    whole = [
        np.pad(row, ((0, GAP_PX), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.vstack(whole)[:-GAP_PX]


def draw_parts(folder: Path) -> tuple[Image, Image]:
    """Return four photos, and the same ones with the part outlined and the rest darkened."""
    sources = FolderSources(str(folder))
    photos, marked = [], []
    for entry in sources.entries[:4]:
        source = sources.read(entry.source_id)
        mask = sources.part(source).mask
        assert mask is not None
        dark = np.where(mask[..., None], source.pixels, source.pixels // 3).astype(np.uint8)
        shown = fit_view(dark, SIDE_PX)
        draw_outline(shown, mask, PART)
        photos.append(np.asarray(source.pixels, np.uint8))
        marked.append(shown)
    return draw_row(photos, [""] * 4), draw_row(marked, [""] * 4)


def paint(settings: Sequence[str], count: int) -> list[Sample]:
    """Return the first try of defects of a run that was made with these settings.

    They are the first ``count`` of each class.
    """
    config = compose("generate", [*settings, "run.retries=[]"])
    planned = [spec for spec in set_up(config).specs if not spec.is_defect_free]
    classes = sorted({str(spec.defect_class) for spec in planned})
    chosen = [
        spec
        for name in classes
        for spec in [one for one in planned if one.defect_class == name][:count]
    ]
    made = generate(chosen, build_parts(config).stages)
    return [sample for sample in made if isinstance(sample, Sample)]


def grey(mask: NDArray[np.bool_]) -> Image:
    """Return a mask as a picture."""
    return np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)


def draw_stages(sample: Sample) -> dict[str, Image]:
    """Return the pictures of one painted sample: what the model is given, paints, and the label."""
    condition = sample.candidate.condition
    painted = sample.candidate.image
    label = sample.class_map() > 0
    window = square_window(condition.defect_mask | label)
    change = np.abs(painted.astype(int) - condition.image) * 10
    given = [condition.image, grey(condition.defect_mask), condition.sketch]
    given.append(condition.control_image)
    came = [condition.image, condition.sketch, painted, np.clip(change, 0, 255).astype(np.uint8)]
    marked = fit_view(painted[window], SIDE_PX)
    for mask, colour in ((condition.defect_mask, ASKED), (label, LABEL)):
        draw_outline(marked, mask[window], colour)
    return {
        "condition.png": draw_row(
            [one[window] for one in given], ["photo", "mask", "sketch", "control image"]
        ),
        "painted.png": draw_row(
            [one[window] for one in came], ["photo", "sketch", "painted", "difference x 10"]
        ),
        "label.png": draw_row(
            [painted[window], marked, grey(label)[window]], ["painted", "outlines", "label"]
        ),
    }


def draw_rejected(samples: Sequence[Sample]) -> Image:
    """Return up to three rejected paintings, each of another reason where there are such."""
    by_reason: dict[str, Sample] = {}
    for sample in samples:
        if sample.reasons:
            by_reason.setdefault(sample.reasons[0].split()[0], sample)
    others = [one for one in samples if one.reasons and one not in by_reason.values()]
    rows = []
    for sample in [*by_reason.values(), *others][:3]:
        condition, painted = sample.candidate.condition, sample.candidate.image
        window = square_window(condition.defect_mask)
        marked = fit_view(painted[window], TRIED_PX)
        draw_outline(marked, condition.defect_mask[window], ASKED)
        views = draw_row([painted[window], marked], ["", ""], TRIED_PX)
        rows.append(np.hstack([views, write_lines(sample, views.shape[0])]))
    return stack(rows or [np.full((150, SIDE_PX, 3), 255, np.uint8)])


def write_lines(sample: Sample, height: int) -> Image:
    """Return the class of a sample and why it was rejected, as text."""
    text = np.full((height, 4 * SIDE_PX - 2 * TRIED_PX + 2 * GAP_PX, 3), 255, np.uint8)
    words = [f"{sample.spec.defect_class}: rejected", *sample.reasons]
    lines = [line for one in words for line in re.findall(r".{1,62}(?:\s|$)", one)]
    for number, line in enumerate(lines[:7]):
        place = (12, 20 + 20 * number)
        cv2.putText(text, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return text


def draw_export(folder: Path) -> Image:
    """Return images of a COCO folder with their annotations drawn on them, one of each class."""
    file = next(path for path in sorted(folder.rglob("*.json")) if "train" in path.name)
    coco = COCO(file)
    shown: list[Image] = []
    titles: list[str] = []
    for category in coco.loadCats(coco.getCatIds()):
        found = coco.loadAnns(coco.getAnnIds(catIds=[category["id"]]))
        if not found:
            continue
        largest = max(found, key=lambda one: one["area"])
        facts: dict[str, Any] = coco.loadImgs(largest["image_id"])[0]
        image = read_image(next(folder.rglob(Path(facts["file_name"]).name)))
        view = fit_view(np.asarray(image, np.uint8), SIDE_PX)
        scale = view.shape[1] / facts["width"]
        for one in coco.loadAnns(coco.getAnnIds(imgIds=[facts["id"]])):
            draw_outline(view, coco.annToMask(one) > 0, LABEL)
            x, y, width, height = (round(scale * value) for value in one["bbox"])
            cv2.rectangle(view, (x - 3, y - 3), (x + width + 3, y + height + 3), ASKED, 1)
        shown.append(view)
        titles.append(category["name"])
    return draw_row(shown[:4], titles[:4])


def draw_model(photos: Path, masks: Path, found: Path) -> Image:
    """Return photos with a defect, their masks, and what a trained model marks on them."""
    rows = []
    for number, path in enumerate(sorted(photos.iterdir())[:3]):
        shown = [np.asarray(read_image(path), np.uint8), grey(read_image(masks / path.name) > 0)]
        shown.append(np.repeat(read_image(found / path.name)[..., None], 3, axis=2))
        titles = ["photo", "where the gouge is", "what the model marks"]
        rows.append(draw_row(shown, titles if number == 0 else [""] * 3, 260))
    return stack(rows)


def draw(folder: Path, images: Path, small: Sequence[str] = ()) -> None:
    """Draw all pictures of the page from this folder, where its code has run."""
    images.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Image] = {}
    pictures["photos.jpg"], pictures["part.jpg"] = draw_parts(folder / "photos")
    settings = [*read_commands()["generate"][2:], *small]
    samples = paint(settings, 6)
    passed = [sample for sample in samples if not sample.reasons] or samples
    kinds = {str(sample.spec.defect_class): sample for sample in reversed(passed)}
    planned = [sample.candidate.condition for sample in list(kinds.values())[:4]]
    wholes, crops = [], []
    for condition in planned:
        whole = fit_view(condition.sketch, SIDE_PX)
        assert condition.allowed is not None
        draw_outline(whole, condition.allowed, PART)
        grown = cv2.dilate(condition.defect_mask.astype(np.uint8), np.ones((7, 7)))
        draw_outline(whole, grown > 0, LABEL)
        wholes.append(whole)
        crops.append(condition.sketch[square_window(condition.defect_mask)])
    names = [str(condition.spec.defect_class) for condition in planned]
    above = draw_row(wholes, names)
    pictures["preview.jpg"] = stack([above, draw_row(crops, [""] * len(crops))])
    pictures |= draw_stages(kinds.get("scratch", passed[0]))
    pictures["rejected.png"] = draw_rejected(paint([*settings, "quality=strict"], 6))
    pictures["export.jpg"] = draw_export(folder / "dataset" / "coco")
    pictures["model.jpg"] = draw_model(*(folder / name for name in ("bad", "bad-masks", "found")))
    for name, picture in pictures.items():
        if name.endswith(".jpg"):
            (images / name).write_bytes(encode_jpeg(np.ascontiguousarray(picture), QUALITY))
        else:
            write_png(images / name, picture)


def main(work: str) -> None:
    folder = Path(work).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if not (folder / "found").exists():
        run_page()
    draw(folder, IMAGES)


if __name__ == "__main__":
    main(*sys.argv[1:])
