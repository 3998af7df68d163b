"""What to do with a finished run: the commands that follow, for this run."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass

from synthgen.quality.measures import MEASURES
from synthgen.report.facts import REJECTED, RunFacts
from synthgen.runs.reader import RunTables
from synthgen.storage.places import hide_passwords

__all__ = ["Step", "list_steps", "write_override"]

PLAIN = re.compile(r"[\w./:@+-]+")  # what needs no quotes, for a shell and for Hydra
COPY_SCOPES = ("bank", "run")  # limits against copies: to loosen one lets copies in
LOOSENED = {one.name for one in MEASURES if one.scope not in COPY_SCOPES}


@dataclass(frozen=True)
class Step:
    """One thing to do, and the command that does it."""

    words: str
    command: str


def list_steps(run: RunTables, facts: RunFacts) -> list[Step]:
    """Return what usually follows a run, in order: look, decide again, export."""
    folder = write_override("run.folder", hide_passwords(str(run.root)))
    steps = [
        Step(
            "Look at the images one by one, and reject what an inspector would not believe.",
            f"synthgen review {folder}",
        )
    ]
    limit, count = _find_deciding_limit(run)
    if count:
        samples = "1 rejected sample breaks" if count == 1 else f"{count} rejected samples break"
        steps.append(
            Step(
                f"{samples} no limit but {limit}. Do they look right? Then lift this limit; "
                "nothing is painted again.",
                f"synthgen inspect {folder} 'quality.{limit}=[null,null]'",
            )
        )
    if facts.accepted:
        steps.append(
            Step(
                "Export what was accepted, in the format that the training reads.",
                f"synthgen export {folder} 'format=[coco]' out=dataset",
            )
        )
    return steps


def _find_deciding_limit(run: RunTables) -> tuple[str, int]:
    """Return the limit that alone rejects the most samples, and how many; ("", 0) for none."""
    manifest = run.manifest
    rejected = manifest[(manifest["status"] == REJECTED) & (manifest["image"] != "")]
    alone = Counter(text.split(" ")[0] for text in rejected["reasons"] if "; " not in text)
    found = [(limit, count) for limit, count in alone.most_common() if limit in LOOSENED]
    return found[0] if found else ("", 0)


def write_override(key: str, value: str) -> str:
    """Return ``key=value`` as a shell hands it to Hydra, with quotes where they are needed.

    >>> print(write_override("run.folder", "runs/a"))
    run.folder=runs/a
    >>> print(write_override("run.folder", "my runs, 2"))
    'run.folder="my runs, 2"'
    """
    if PLAIN.fullmatch(value):
        return f"{key}={value}"
    # as in Hydra's grammar of quoted values: a backslash counts only before a quote
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), value)
    return shlex.quote(f'{key}="{escaped}"')
