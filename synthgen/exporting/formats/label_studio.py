"""Label Studio: tasks with boxes and brush masks as predictions, and a labelling config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from synthgen.exporting.formats.run_lengths import run_lengths
from synthgen.exporting.formats.voc import hex_colour
from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media

__all__ = ["LabelStudio", "encode_brush"]

SIZES_BIT = np.array([3, 4, 8, 16])  # of run lengths; each run takes the smallest that fits
WORD_BIT = 8
CHANNELS = 4  # a brush mask is an RGBA image; its runs are those of the mask, times four


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LabelStudio:
    """``tasks.json``, ``config.xml`` and ``images/``.

    ``prefix`` stands before ``images/<file>`` in every task. The default fits a local files storage
    where LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is the export's folder and this one lies in it.
    """

    prefix: str = "/data/local-files/?d=label_studio/"

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one; ``loss`` has nothing to be told."""
        entries = "".join(
            f'    <Label value={quoteattr(name)} background="{hex_colour(class_id)}"/>\n'
            for name, class_id in labels.classes.items()
        )
        config = (
            '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
            f'  <BrushLabels name="mask" toName="image">\n{entries}  </BrushLabels>\n'
            f'  <RectangleLabels name="box" toName="image">\n{entries}  </RectangleLabels>\n'
            "</View>\n"
        )
        (folder / "config.xml").write_text(config, encoding="utf-8")
        (folder / "images").mkdir()
        with (folder / "tasks.json").open("w", encoding="utf-8", newline="\n") as file:
            for number, image in enumerate(labels):
                media.place(image, folder / "images" / image.file_name)
                task = json.dumps(self._task(labels, image), ensure_ascii=False)
                file.write((",\n" if number else "[\n") + task)
            file.write("\n]\n")

    def _task(self, labels: LabelledSet, image: LabelledImage) -> dict[str, Any]:
        """Return the task of an image: each defect as a box, in percent, and as a brush mask."""
        result = []
        image_height, image_width = image.size_hw
        for number, defect in enumerate(image.defects, start=1):
            name = labels.names[defect.class_id]
            x, y, width, height = defect.box
            box = {
                "x": 100 * x / image_width,
                "y": 100 * y / image_height,
                "width": 100 * width / image_width,
                "height": 100 * height / image_height,
                "rotation": 0,
                "rectanglelabels": [name],
            }
            rle = encode_brush(defect.mask(image.size_hw))
            brush = {"format": "rle", "rle": rle, "brushlabels": [name]}
            result.append(_region(f"{number}-box", "box", "rectanglelabels", box, image))
            result.append(_region(f"{number}-mask", "mask", "brushlabels", brush, image))
        data = {
            "image": f"{self.prefix}images/{quote(image.file_name)}",
            "sample_id": image.sample_id,
            "split": image.split,
            "digital_source": image.digital_source,
        }
        return {"data": data, "predictions": [{"model_version": "synthgen", "result": result}]}


def _region(
    name: str, control: str, kind: str, value: dict[str, Any], image: LabelledImage
) -> dict[str, Any]:
    """Return one result; ``control`` is the element of config.xml that it was made with."""
    return {
        "id": name,
        "type": kind,
        "from_name": control,
        "to_name": "image",
        "original_width": image.size_hw[1],
        "original_height": image.size_hw[0],
        "image_rotation": 0,
        "value": value,
    }


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """Return a mask as the bytes of Label Studio's brush: RGBA in thi.ng's rle-pack.

    A head of 53 bits: 32 the number of values, 5 the bits of a value - 1, four times 4 the bits of
    a run's length - 1. Then for each run 1 (it repeats one value), 2 bits for which of the four
    lengths, the length - 1, the value (https://github.com/thi-ng/umbrella, packages/rle-pack).

    >>> encode_brush(np.ones((1, 2), dtype=bool))
    [0, 0, 0, 8, 57, 27, 252, 255, 224]
    """
    lengths = run_lengths(mask) * CHANNELS
    # a run over the longest length that can be written becomes several, the last of them shorter
    longest = 1 << int(SIZES_BIT[-1])
    pieces = -(-lengths // longest)
    counts = np.full(pieces.sum(), longest)
    last = np.cumsum(pieces)[pieces > 0] - 1
    counts[last] = (lengths - (pieces - 1) * longest)[pieces > 0]
    values = np.repeat(np.arange(len(lengths)) % 2 * 255, pieces)
    choice = np.searchsorted(1 << SIZES_BIT, counts)
    size = SIZES_BIT[choice]
    codes = (((1 << 2 | choice) << size | counts - 1) << WORD_BIT) | values
    head = [(mask.size * CHANNELS, 32), (WORD_BIT - 1, 5), *((s - 1, 4) for s in SIZES_BIT)]
    numbers, widths = np.array(head).T
    numbers, widths = np.append(numbers, codes), np.append(widths, 3 + size + WORD_BIT)
    # each number in as many bits as its width says, the highest first
    behind = np.repeat(np.cumsum(widths), widths)
    shift = behind - 1 - np.arange(len(behind))
    bits = (np.repeat(numbers, widths) >> shift & 1).astype(np.uint8)
    packed: list[int] = np.packbits(bits).tolist()
    return packed
