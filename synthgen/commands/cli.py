"""``synthgen <pipeline> [overrides]``: finds the pipeline of that name and runs it."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["main", "run_pipeline", "show"]

HYDRA_FLAGS = ("--multirun", "-m", "--cfg", "-c", "--info", "-i", "--package", "--hydra-help")
CONFIG_DIR = ("--config-dir", "-cd")
COMPLETION = ("-sc", "--shell-completion")


def main() -> None:
    """Run ``synthgen``; exit 0 when done, 2 for anything a user can mend, 130 when stopped."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        from importlib.metadata import version

        print(version("synthgen-inspection"))
        return
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return
    scripts = _pipelines()
    if any(argument in COMPLETION for argument in arguments):
        _complete(arguments, scripts)
        return
    for words in (2, 1):  # "evaluate fidelity" is evaluate_fidelity.py
        name = "_".join(arguments[:words])
        if name in scripts:
            sys.argv = [f"synthgen {_shown(name)}", *arguments[words:]]
            runpy.run_path(str(scripts[name]), run_name="__main__")
            return
    known = ", ".join(_shown(name) for name in scripts)
    sys.exit(_sentence(f"there is no pipeline {arguments[0]!r}; choose from {known}"))


def _complete(arguments: Sequence[str], scripts: dict[str, Path]) -> None:
    from synthgen.commands.completion import answer_shell
    from synthgen.errors import SynthgenError

    try:
        answer_shell(arguments, scripts)
    except SynthgenError as error:
        sys.exit(_sentence(str(error)))


def show(*lines: Any) -> None:
    """Print texts as they are, on one line each, and tables of rich as tables.

    A path stays whole, whatever is in it and however narrow the terminal: it is there to be copied.
    """
    from rich.console import Console

    console = Console()
    for line in lines:
        if isinstance(line, str):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        else:
            console.print(line)


def run_pipeline(name: str, run: Callable[[DictConfig], None]) -> None:
    """Compose the config of a pipeline from the command line and run it."""
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in arguments):
        print(_pipeline_help(name))
        return
    try:
        _follow(name, run, arguments)
    except KeyboardInterrupt as stopped:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        _exit_at_once(stopped)
        sys.exit(130)


def _follow(name: str, run: Callable[[DictConfig], None], arguments: Sequence[str]) -> None:
    """Run a pipeline as its arguments say; ends the process with a sentence where it cannot."""
    from synthgen.commands.call import translate_errors
    from synthgen.config.compose import compose, find_own_folders
    from synthgen.errors import SynthgenError
    from synthgen.progress import show_progress

    try:
        is_copy = os.environ.get("RANK", "0") != "0"  # torchrun: the first process speaks for all
        with translate_errors(), show_progress(is_copy):
            overrides, given = take_config_dir(arguments)
            own = find_own_folders(given)
            if any(argument.startswith(HYDRA_FLAGS) for argument in overrides):
                _run_hydra(name, run, overrides, own)
            else:
                run(compose(name, overrides, own))
    except SynthgenError as error:
        sys.exit(_sentence(str(error)))


def _exit_at_once(stopped: KeyboardInterrupt) -> None:
    """End the process where threads are still painting: Python would wait for them."""
    from synthgen.generation.stop import StoppedAtOnce

    if isinstance(stopped, StoppedAtOnce):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)


def take_config_dir(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the arguments without --config-dir, and its folder; None where it is not there.

    >>> take_config_dir(["--config-dir", "mine", "seed=1"])
    (['seed=1'], 'mine')
    """
    kept, given, left = [], None, iter(arguments)
    for argument in left:
        flag, equals, value = argument.partition("=")
        if flag in CONFIG_DIR:
            given = value if equals else next(left, "")
        else:
            kept.append(argument)
    return kept, given


def _run_hydra(
    name: str, run: Callable[[DictConfig], None], overrides: Sequence[str], own: Sequence[Path]
) -> None:
    """Let Hydra drive: sweeps (``-m seed=1,2,3``), ``--cfg job``, ``--info``."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from synthgen.config.compose import check_choices, finish
    from synthgen.config.overrides import open_keys, prepare_overrides, search_in
    from synthgen.errors import SynthgenError
    from synthgen.runs.renamed import rename_overrides
    from synthgen.storage.files import find_shipped

    overrides, own = prepare_overrides(name, overrides, own)
    given = list(open_keys(rename_overrides(overrides)[0]))
    overriding = (n for n, text in enumerate(given) if "=" in text and not text.startswith("-"))
    at = next(overriding, len(given))  # Hydra takes overrides in one row, wherever flags stand
    sys.argv[1:] = [*given[:at], *search_in(own), *given[at:]]

    def job(config: Any) -> None:
        try:
            check_choices(name, HydraConfig.get().runtime.choices, own)
            run(finish(config, name))
        except SynthgenError as error:  # Hydra would print a traceback
            sys.exit(_sentence(str(error)))

    hydra.main(version_base="1.3", config_path=str(find_shipped("conf")), config_name=name)(job)()


def _sentence(text: str) -> int:
    from synthgen.storage.places import hide_passwords

    print(f"synthgen: {hide_passwords(text)}", file=sys.stderr)
    return 2


def _pipelines() -> dict[str, Path]:
    from synthgen.storage.files import find_shipped

    paths = sorted(find_shipped("pipelines").glob("[a-z]*.py"))
    return {path.stem.rstrip("_"): path for path in paths}  # inspect_.py: not Python's inspect


def _shown(name: str) -> str:
    """Return the words of a pipeline's name as they are typed."""
    return name.replace("_", " ")


def _docstring(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return text.split('"""')[1].strip() if text.startswith('"""') else ""


def _help() -> str:
    lines = [
        "synthgen makes labelled defect images out of photos of good parts.",
        "",
        "usage: synthgen <pipeline> [key=value ...]",
        "",
        *(
            f"  {_shown(name):<19}{_docstring(path).splitlines()[0]}"
            for name, path in _pipelines().items()
        ),
        "",
        "synthgen <pipeline> --help   what it does, with examples",
        "synthgen <pipeline> --cfg job   every key and its value",
        "synthgen <pipeline> --config-dir DIR   with choices of your own, as from ./conf",
        "synthgen -sc install=bash   completion of pipelines, keys and choices (or zsh, fish)",
        "synthgen --version",
    ]
    return "\n".join(lines)


def _pipeline_help(name: str) -> str:
    return _docstring(_pipelines()[name])


if __name__ == "__main__":
    main()
