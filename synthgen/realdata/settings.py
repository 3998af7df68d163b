"""What a user says of real images: where they lie and how they are labelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked

from synthgen.errors import ConfigError
from synthgen.realdata.masks import ClassValue

__all__ = ["Format", "RealSettings", "check_settings"]

Format = Literal["coco", "mvtec", "yolo", "folder", "table"]


def _as_text(value: Any) -> Any:
    """Return a whole number as text; raises ValueError for what YAML makes of ``no``, ``on``."""
    if isinstance(value, bool):
        raise ValueError("YAML reads no, off, yes and on as truth values; quote the class's name")
    return str(value) if isinstance(value, int) else value


ClassName = Annotated[str, Field(min_length=1), BeforeValidator(_as_text)]


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class RealSettings:
    """Where real images and their masks lie; docs/reference/real-images.md describes each format.

    ``format="auto"`` tells the format from the files. ``classes`` names the values or colours of
    masks (folder, table). ``only`` lists the classes that are wanted: images with other ones are
    left out. ``min_mask_level`` makes one class of all values from it up (folder, table, mvtec).
    """

    format: Literal["auto", "coco", "mvtec", "yolo", "folder", "table"] = "auto"
    path: Annotated[str, Field(min_length=1)] | None = None
    images: str | None = None  # coco: of a single JSON; table: what its paths start from
    masks: str | None = None  # folder: masks under the images' own relative names
    classes: dict[ClassName, ClassValue] | None = None
    min_mask_level: Annotated[int, Field(ge=1, le=65535)] | None = None
    defect_class: ClassName = "defect"  # folder: without classes
    only: list[ClassName] | None = None
    group_by: str | None = None  # file | folder | a regex; None = as the files say
    split: str | None = None  # None = all; of files that name no split: what they all are


def check_settings(settings: Mapping[str, Any]) -> RealSettings:
    """Return a mapping of the config's ``real`` as settings; raises ConfigError with the key."""
    try:
        return RealSettings(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        text = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"real.{key} is not possible: {text}") from error
