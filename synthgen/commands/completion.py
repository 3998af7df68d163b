"""Completion in the shell: Hydra's own, which is told which pipeline the line calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from synthgen.errors import ConfigError

__all__ = ["answer_shell", "complete_pipeline"]

ANSWERS = {
    f"{verb}={shell}"
    for shell in ("bash", "zsh", "fish")
    for verb in ("install", "uninstall", "query")
}


def answer_shell(arguments: Sequence[str], scripts: Mapping[str, Path]) -> None:
    """Print what the shell asks for: the script of ``install=bash``, or the choices of a line.

    ``arguments``: those of ``synthgen``, with ``-sc`` among them. ``scripts``: the pipelines
    by name. The line is in the variable COMP_LINE. Raises ConfigError where the request is unknown.
    """
    asked = [argument for argument in arguments if argument in ANSWERS]
    if len(asked) != 1:
        raise ConfigError(
            f"{' '.join(arguments)!r} is not a request for shell completion; put "
            'eval "$(synthgen -sc install=bash)" into ~/.bashrc (zsh: the same in ~/.zshrc; '
            "fish: install=fish)"
        )
    name = "generate"  # install asks nothing of it
    if asked[0].startswith("query="):
        line = os.environ.get("COMP_LINE", "")
        found = complete_pipeline(line, list(scripts))
        if isinstance(found, list):
            print(("\n" if asked[0] == "query=fish" else " ").join(found))
            return
        name, os.environ["COMP_LINE"] = found
    _ask_hydra(name, asked[0])


def complete_pipeline(line: str, names: Sequence[str]) -> list[str] | tuple[str, str]:
    """Return the words that may stand next where the pipeline is not named yet, else the pipeline
    and the line without its words.

    >>> complete_pipeline("synthgen ge", ["adapt", "generate"])
    ['generate']
    >>> complete_pipeline("synthgen generate run.co", ["adapt", "generate"])
    ('generate', 'synthgen run.co')
    >>> complete_pipeline("synthgen evaluate la", ["evaluate_fidelity", "evaluate_labels"])
    ['labels']
    """
    words = line.split()[1:]
    if line.endswith(" ") or not words:
        words.append("")
    done, begun = words[:-1], words[-1]
    name = next((n for n in ("_".join(done[:2]), "_".join(done[:1])) if n in names), None)
    stem = "_".join(done) + "_" if done else ""
    following = {n.removeprefix(stem).split("_")[0] for n in names if n.startswith(stem)}
    begins = sorted(word for word in following if word.startswith(begun))
    if name is None or (begun and begins):
        return begins
    return name, " ".join(["synthgen", *words[name.count("_") + 1 :]])


def _ask_hydra(pipeline: str, request: str) -> None:
    """Run Hydra's completion on the config of a pipeline."""
    import hydra

    from synthgen.storage.files import find_shipped

    sys.argv = ["synthgen", "-sc", request]
    conf = str(find_shipped("conf"))
    hydra.main(version_base="1.3", config_path=conf, config_name=pipeline)(lambda config: None)()
