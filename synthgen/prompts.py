"""Prompts: the words that name a defect, how strong it is, and the surface it is on."""

from __future__ import annotations

__all__ = ["SEVERITY_WORDS", "SYNONYMS", "describe", "describe_good", "vocabulary"]

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


def describe(noun: str, severity: float, surface: str, word: int = 0) -> str:
    """Return the prompt for a defect; ``severity`` 0..1, ``word`` picks among its synonyms.

    >>> describe("scratch", 0.9, "brushed metal")
    'a strong scratch on brushed metal'
    >>> describe("crack", 0.5, "concrete")
    'a crack on concrete'
    >>> describe("abrasion", 0.5, "wood")
    'an abrasion on wood'
    """
    words = SEVERITY_WORDS[min(2, int(severity * 3))]
    named = f"{words[word % len(words)]} {noun}".strip()
    return f"{'an' if named[0] in 'aeiou' else 'a'} {named} on {surface}"


def describe_good(surface: str) -> str:
    """Return the prompt for a surface without a defect."""
    return f"a clean {surface}"


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
