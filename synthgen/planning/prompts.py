"""Prompts: the words that name a defect, how strong it is, and the surface it is on."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Annotated, NamedTuple, TypeVar

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field
from pydantic import dataclasses as checked

from synthgen.errors import ConfigError
from synthgen.samples.seeds import stream

__all__ = [
    "SEVERITY_WORDS",
    "SYNONYMS",
    "PromptPair",
    "PromptSettings",
    "PromptTable",
    "PromptWriter",
    "SeverityWords",
    "Template",
    "Wording",
    "describe",
    "read_prompt_table",
    "vocabulary",
]

Choice = TypeVar("Choice")
# What the embedded model was trained on; the first word of each is the class's own.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "abrasion": ("abrasion", "scuff", "worn patch"),
    "burn": ("burn", "heat tint", "scorch", "discoloration"),
    "chip": ("chip", "edge break", "flake"),
    "corrosion": ("corrosion", "rust"),
    "crack": ("crack", "fracture"),
    "dent": ("dent", "dimple", "bump"),
    "fibre": ("fibre", "hair", "thread"),
    "inclusion": ("inclusion", "foreign particle"),
    "pit": ("pit", "blowhole", "pore"),
    "scratch": ("scratch", "groove"),
    "spatter": ("spatter", "drop"),
    "stain": ("stain", "spot", "spill"),
}
# From weak to strong; the middle says nothing, as people do.
SEVERITY_WORDS: tuple[tuple[str, ...], ...] = (
    ("faint", "slight", "shallow", "hairline"),
    ("",),
    ("strong", "deep", "heavy", "severe"),
)
TEMPLATE, GOOD_TEMPLATE = "{article} {severity} {noun} on {material}", "a clean {material}"
FIELDS, GOOD_FIELDS = ("article", "severity", "noun", "material"), ("article", "material")
GOOD = "good"  # the class of good images in a table
COLUMNS, OPTIONAL_COLUMNS = ("defect_class", "prompt"), ("negative_prompt", "weight")
ARTICLE = "\0"  # holds its place until the word behind it is known


def check_template(text: str, known: Sequence[str] = FIELDS) -> str:
    """Return a template that says something in the ``known`` fields, as it is.

    Fields stand alone: format specs and conversions are refused. Raises ValueError.

    >>> check_template("{colour} rust")
    Traceback (most recent call last):
    ValueError: {colour} is not a field here; there are {article}, {severity}, {noun}, {material}
    """
    for _, name, form, conversion in Formatter().parse(text):
        if name is not None and (name not in known or form or conversion):
            fields = ", ".join(f"{{{field}}}" for field in known)
            raise ValueError(f"{{{name}}} is not a field here; there are {fields}")
    if not text.strip():
        raise ValueError("it is empty; say what is to be painted")
    return text


Template = Annotated[str, AfterValidator(check_template)]
GoodTemplate = Annotated[str, AfterValidator(lambda text: check_template(text, GOOD_FIELDS))]
SeverityWords = Annotated[
    tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...], Field(min_length=1)
]


@lru_cache(4096)
def fill_template(template: str, noun: str, severity_word: str, material: str) -> str:
    """Return a checked template's text; the article fits the word behind it.

    Empty words leave no second blank behind.

    >>> fill_template("{article} {severity} {noun}", "abrasion", "", "wood")
    'an abrasion'
    """
    text = template.format(article=ARTICLE, severity=severity_word, noun=noun, material=material)
    words = re.sub(rf"{ARTICLE}(?=\W*[aeiouAEIOU])", "an", " ".join(text.split()))
    return words.replace(ARTICLE, "a")


def _severity_words(levels: SeverityWords, severity: float) -> tuple[str, ...]:
    """Return the words of a severity 0..1; the levels, weak to strong, share that range alike."""
    return levels[min(len(levels) - 1, int(severity * len(levels)))]


def describe(noun: str, severity: float, surface: str, word: int = 0) -> str:
    """Return the prompt for a defect; ``word`` picks among the words for its ``severity`` 0..1.

    >>> describe("scratch", 0.9, "brushed metal")
    'a strong scratch on brushed metal'
    >>> describe("crack", 0.5, "concrete")
    'a crack on concrete'
    >>> describe("abrasion", 0.5, "wood")
    'an abrasion on wood'
    """
    words = _severity_words(SEVERITY_WORDS, severity)
    return fill_template(TEMPLATE, noun, words[word % len(words)], surface)


def vocabulary(surfaces: list[str]) -> list[str]:
    """Return every word that these prompts are made of, sorted: what a small tokenizer knows."""
    nouns = [noun for nouns in SYNONYMS.values() for noun in nouns]
    severities = [word for words in SEVERITY_WORDS for word in words]
    extra = [
        "a",
        "an",
        "on",
        "clean",
        "and",
        "of",
        "the",
        "surface",
        "part",
        "metal",
        "photo",
        "defect",
    ]
    return sorted({w for text in [*nouns, *severities, *surfaces, *extra] for w in text.split()})


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class PromptSettings:
    """The ``prompt`` part of the config: how prompts are worded where a class says nothing else.

    Templates are checked as by ``check_template``; ``synonym_fraction`` of the prompts draw among
    the noun and its synonyms, the others say the noun.
    """

    template: Template = TEMPLATE
    good: GoodTemplate = GOOD_TEMPLATE
    negative: str | None = ""
    material: Annotated[str, Field(min_length=1)] | None = None  # None = what the source says
    severity_words: SeverityWords = (("faint",), ("",), ("strong",))  # from weak to strong
    synonym_fraction: Annotated[float, Field(ge=0, le=1)] = 0.4
    table: Annotated[str, Field(min_length=1)] | None = None  # a CSV file, see read_prompt_table


class Wording(NamedTuple):
    """What one class says about its prompts; None = as the settings say.

    ``synonyms`` None are those that the embedded model knows for the noun.
    """

    noun: str
    synonyms: tuple[str, ...] | None = None
    template: str | None = None
    severity_words: SeverityWords | None = None
    negative: str | None = None

    def words(self) -> tuple[str, ...]:
        """Return the noun, then its synonyms, each once."""
        more = SYNONYMS.get(self.noun, ()) if self.synonyms is None else self.synonyms
        return tuple(dict.fromkeys((self.noun, *more)))


class PromptPair(NamedTuple):
    """What a sample is painted from, and what guidance leads away from."""

    prompt: str
    negative_prompt: str


class TableRow(NamedTuple):
    """One prompt of a table. ``negative`` None = as the class or the settings say.

    ``weight``, over 0, is relative to the other prompts of the class.
    """

    prompt: str
    negative: str | None
    weight: float


PromptTable = Mapping[str, Sequence[TableRow]]


class PromptWriter:
    """Writes the texts of samples: from the rows of ``table`` for a class, else from templates."""

    def __init__(
        self, settings: PromptSettings | None = None, table: PromptTable | None = None
    ) -> None:
        self.settings, self.table = settings or PromptSettings(), table or {}
        self._bounds = {
            name: np.cumsum([row.weight for row in rows]) for name, rows in self.table.items()
        }

    def write(
        self, name: str | None, wording: Wording | None, severity: float, surface: str, seed: int
    ) -> PromptPair:
        """Return the texts of one sample; ``name`` and ``wording`` are None for a good image.

        Words are drawn from a stream of their own by the sample's ``seed``. It gives every draw in
        every case, so that no setting shifts the draw of another.
        """
        draws = stream(seed, "prompt").random(4)
        words = wording or Wording("")
        negative = words.negative
        if negative is None:
            negative = self.settings.negative or ""
        if wording is None:
            template = self.settings.good
        else:
            template = wording.template or self.settings.template
        if rows := self.table.get(name or GOOD):
            bounds = self._bounds[name or GOOD]  # cumulated weights
            place = int(np.searchsorted(bounds, draws[0] * bounds[-1], side="right"))
            row = rows[min(place, len(rows) - 1)]
            template = row.prompt
            negative = negative if row.negative is None else row.negative
        nouns = words.words()
        noun = _pick(nouns, draws[2]) if draws[1] < self.settings.synonym_fraction else nouns[0]
        levels = words.severity_words or self.settings.severity_words
        strength = _pick(_severity_words(levels, severity), draws[3])
        return PromptPair(
            fill_template(template, noun, strength, self.settings.material or surface), negative
        )


def _pick(choices: Sequence[Choice], draw: float) -> Choice:
    """Return the choice that a draw from [0, 1) falls on, all alike."""
    return choices[int(draw * len(choices))]


def read_prompt_table(path: str, classes: Collection[str]) -> PromptTable:
    """Read own prompts: CSV with defect_class, prompt and, if wanted, negative_prompt and weight.

    ``classes`` may be named, and *good*. Raises ConfigError with the line of what is wrong.
    """
    table: dict[str, list[TableRow]] = {}
    for line, cells in _read_lines(path):
        try:
            name, row = _read_row(cells, classes)
        except ValueError as error:
            raise ConfigError(f"prompt.table={path}, line {line}: {error}") from error
        table.setdefault(name, []).append(row)
    if not table:
        raise ConfigError(f"prompt.table={path} holds no prompt below its first line")
    return table


def _read_lines(path: str) -> Iterator[tuple[int, dict[str | None, str]]]:
    """Yield the lines below the first with their numbers, cells by column.

    A cell that a line lacks is ''; those beyond the columns are under None. Raises ConfigError.
    """
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            found = reader.fieldnames or []
            missing = [name for name in COLUMNS if name not in found]
            unknown = [name for name in found if name not in (*COLUMNS, *OPTIONAL_COLUMNS)]
            if missing or unknown:
                what = f"has no column {missing[0]}" if missing else f"has a column {unknown[0]!r}"
                raise ConfigError(
                    f"prompt.table={path}, line 1 {what}; the columns are {', '.join(COLUMNS)} "
                    f"and, if wanted, {', '.join(OPTIONAL_COLUMNS)}, with commas between"
                )
            for cells in reader:
                yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"prompt.table={path} cannot be read ({reason}); give a CSV file in UTF-8"
        ) from error


def _read_row(cells: Mapping[str | None, str], classes: Collection[str]) -> tuple[str, TableRow]:
    """Return the class and the prompt of a line; raises ValueError without the line's number."""
    if None in cells:
        raise ValueError("it has more cells than columns; put a text with a comma into quotes")
    name = cells["defect_class"].strip()
    if name not in {*classes, GOOD}:
        known = ", ".join([*sorted(classes), GOOD])
        raise ValueError(f"defect_class {name!r} is unknown; there are {known}")
    try:
        prompt = check_template(cells["prompt"], GOOD_FIELDS if name == GOOD else FIELDS)
    except ValueError as error:
        raise ValueError(f"prompt {cells['prompt']!r} is not possible: {error}") from error
    weight, text = 1.0, cells.get("weight") or ""
    if text.strip():
        try:
            weight = float(text)
        except ValueError:
            weight = 0.0
    if not 0 < weight < float("inf"):
        raise ValueError(f"weight {text!r} must be a number over 0")
    return name, TableRow(prompt, cells.get("negative_prompt") or None, weight)
