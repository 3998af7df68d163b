"""Names of classes and splits, as people write them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from synthgen.errors import SourceError
from synthgen.realdata.records import GOOD

__all__ = [
    "check_class",
    "check_classes",
    "class_key",
    "clean_class",
    "find_split",
    "is_good",
    "name_split",
    "names_no_split",
    "tell_no_split",
]

SAFE_NAME = re.compile(r"\w[^/\\\x00-\x1f\x7f-\x9f\u2028\u2029]{0,79}")  # in any file system
RESERVED = (GOOD, "background")  # what exports call images and pixels without a defect
SPLITS = {  # other words for the three that synthgen knows
    **{"train2017": "train", "training": "train"},
    **{"valid": "val", "validation": "val", "val2017": "val"},
    **{"test2017": "test", "testing": "test"},
    **{"train": "train", "val": "val", "test": "test"},
}
NO_SPLIT = {"default", "all", "annotations", "coco", "instances", "labels", "result", "export"}


def name_split(text: str, otherwise: str | None = None) -> str:
    """Return a split as synthgen names it: train, val, test, or the text as it is.

    ``otherwise`` is returned for file names that tools give, as default or annotations.

    >>> name_split("valid"), name_split("TRAIN "), name_split("fold1"), name_split("all", "test")
    ('val', 'train', 'fold1', 'test')
    """
    word = text.strip()
    if otherwise is not None and names_no_split(word):
        return otherwise
    return SPLITS.get(word.lower(), word)


def names_no_split(text: str) -> bool:
    """Say whether a file's name is one that tools give to any split, as default or annotations."""
    return text.strip().lower() in NO_SPLIT


def tell_no_split(what: object, split: str) -> str:
    """Return the note on files that name no split and count as ``split``."""
    return f"{what} names no split: all count as {split}; real.split=... says what they are"


def find_split(stem: str) -> str:
    """Return the word of a file's name that says its split: the last word.

    Where the last word is one that tools give, it is the last one that names a split, if any.

    >>> find_split("instances_val2017"), find_split("val_annotations"), find_split("instances")
    ('val2017', 'val', 'instances')
    """
    words = re.split(r"[_.-]+", stem)
    known = [word for word in words if word.lower() in SPLITS]
    return known[-1] if known and words[-1].lower() in NO_SPLIT else words[-1]


def clean_class(name: object, where: str) -> str:
    """Return a class's name in Unicode's form NFC, without spaces around.

    A whole number counts as a name. Raises SourceError for any other value.
    """
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise SourceError(f"{where} has a class whose name is {name!r}; give it a name, as text")
    return unicodedata.normalize("NFC", str(name).strip(" "))


def class_key(name: str) -> str:
    """Return a key that is equal for names that differ by case, spaces, - and _ alone.

    >>> class_key("Cross crack") == class_key("cross_crack ")
    True
    """
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", name).casefold())


def is_good(name: str) -> bool:
    """Say whether a file calls an image good: ``good``, ``Good``, or nothing at all."""
    return name.strip().casefold() in ("", GOOD)


def check_class(name: str, what: str) -> None:
    """Raise SourceError, beginning with ``what``, for a name that cannot be part of a file's."""
    if name.casefold() in RESERVED or not SAFE_NAME.fullmatch(name):
        raise SourceError(
            f"{what} cannot be a defect's name: it must begin with a letter, a digit or _, be of "
            "80 signs or fewer without / and \\, and not be "
            f"{' or '.join(RESERVED)}; rename it there"
        )


def check_classes(names: Iterable[str], where: str) -> None:
    """Raise SourceError for a class whose name cannot be part of a file's, or that has two names.

    ``Scratch`` and ``scratch`` would be two classes to learn, each with half of the images.
    """
    known: dict[str, str] = {}
    for name in sorted(set(names)):
        check_class(name, f"{where} has a class {name!r}, which")
        if (other := known.setdefault(class_key(name), name)) != name:
            raise SourceError(
                f"{where} has the classes {other!r} and {name!r}, which differ by case, spaces, - "
                "or _ alone; give them one name, or two that differ"
            )
