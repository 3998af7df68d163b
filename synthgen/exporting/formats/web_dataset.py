"""WebDataset: tar files of images, masks and labels that are read from first to last."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from synthgen.exporting.facts import class_png, defect_facts, fact_types, image_facts
from synthgen.exporting.formats.hugging_face import write_dataset_card
from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.runs.tars import add_member, tar_key

__all__ = ["WebDataset"]

OBJECT_TYPES = [
    {"name": "id", "dtype": "int64"},
    {"name": "category_id", "dtype": "int64"},
    {"name": "category", "dtype": "string"},
    {"name": "bbox", "list": "int64"},
    {"name": "area", "dtype": "int64"},
    {"name": "rle", "dtype": "string"},
]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WebDataset:
    """``<split>/<split>-000000.tar`` of ``key.png``, ``key.mask.png`` (class ids) and ``key.json``.

    A key is the sample id, with ``%2E`` for a dot, where WebDataset would cut it. Shards are in the
    order of the ids: shuffle when training. ``README.md`` tells ``datasets`` the types of the JSON,
    which it cannot guess from good images.
    """

    samples_per_shard: Annotated[int, Field(ge=1)] = 1000

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one.

        Masks are held as they are; ``loss`` is told only where images are of several file types.
        """
        types = fact_types(labels)
        for split in labels.splits:
            (folder / split).mkdir()
            images = labels.of_split(split)
            for number, start in enumerate(range(0, len(images), self.samples_per_shard)):
                shard = images[start : start + self.samples_per_shard]
                path = folder / split / f"{split}-{number:06}.tar"
                _write_shard(path, labels, shard, media, list(types))
        suffixes = sorted({image.suffix[1:] for image in labels})
        if len(suffixes) > 1:
            loss.note(
                f'the shards hold {" and ".join(suffixes)} files; ask for "{";".join(suffixes)}"'
            )
        files = {split: f"{split}/*.tar" for split in labels.splits}
        known = [{"name": name, "dtype": kind} for name, kind in types.items()]
        features: list[dict[str, Any]] = [
            *({"name": suffix, "dtype": "image"} for suffix in suffixes),
            {"name": "mask.png", "dtype": "image"},
            {"name": "json", "struct": [*known, {"name": "objects", "list": OBJECT_TYPES}]},
            {"name": "__key__", "dtype": "string"},
            {"name": "__url__", "dtype": "string"},
        ]
        write_dataset_card(folder, files, features)


def _write_shard(
    path: Path,
    labels: LabelledSet,
    images: Iterable[LabelledImage],
    media: Media,
    names: Sequence[str],
) -> None:
    """Write a shard: for each image the label, the mask and the image itself, under one key.

    ``names`` are the facts that every label has, null where one is not known of its image.
    """
    with tarfile.open(path, "w") as tar:
        for image in images:
            key = tar_key(image.sample_id)
            facts = image_facts(image)
            label = {name: facts.get(name) for name in names}
            label["objects"] = defect_facts(labels, image)
            text = json.dumps(label, ensure_ascii=False)
            add_member(tar, f"{key}.json", text.encode("utf-8"))
            add_member(tar, f"{key}.mask.png", class_png(image))
            add_member(tar, f"{key}{image.suffix}", media.read(image))
