"""What every call from Python needs: settings as overrides, sentences aside, one kind of error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from omegaconf import DictConfig

from synthgen.config.compose import compose, find_own_folders
from synthgen.config.overrides import to_override
from synthgen.errors import ConfigError, SynthgenError
from synthgen.storage.places import hide_passwords

__all__ = ["Setting", "compose_call", "list_overrides", "translate_errors"]

Setting: TypeAlias = str | Mapping[str, object]


def compose_call(
    command: str, settings: Sequence[Setting], config_dir: Path | str | None
) -> DictConfig:
    """Return the config of a command as its command line would; raises ConfigError."""
    own = find_own_folders(None if config_dir is None else str(config_dir))
    return compose(command, list_overrides(settings), own)


def list_overrides(settings: Sequence[Setting]) -> list[str]:
    """Return settings as overrides of the command line, in order; raises ConfigError.

    >>> list_overrides(["backend=sketch", {"run.folder": Path("runs/a b"), "run.count": 20}])
    ['backend=sketch', 'run.folder="runs/a b"', 'run.count=20']
    """
    overrides = []
    for given in settings:
        if isinstance(given, Mapping):
            overrides += [to_override(key, value) for key, value in given.items()]
        elif not isinstance(given, str):
            raise ConfigError(
                f"{given!r} is not a setting: give texts such as 'run.count=20', or a mapping such "
                "as {'run.count': 20}"
            )
        elif given.startswith("-"):
            raise ConfigError(
                f"{given} is a flag of the command line; in Python give config_dir= in place of "
                "--config-dir, and one call per value in place of -m"
            )
        else:
            overrides.append(given)
    return overrides


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise whatever a user can mend as a SynthgenError: one sentence, without passwords."""
    try:
        yield
    except SynthgenError as error:
        error.args = (hide_passwords(str(error)),)
        raise
    except OSError as error:
        if error.filename is None:  # nothing that a user could mend
            raise
        told = f"{error.filename} cannot be used: {error.strerror}"
        raise SynthgenError(hide_passwords(told)) from error
    except MemoryError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise SynthgenError(
            f"the memory of this machine is too small ({reason}); ask for less"
        ) from error
