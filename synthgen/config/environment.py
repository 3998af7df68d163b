"""References of a config: those to the environment, ``${oc.env:NAME}``, stay as they are in what a
run stores, since what they stand for may be a secret; all others are resolved once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

__all__ = ["resolve", "to_stored"]

NO_DEFAULT = object()


def resolve(config: DictConfig) -> DictConfig:
    """Return a config whose references are resolved, but for those to the environment.

    Raises what OmegaConf does where one leads nowhere.
    """
    with _environment_kept():
        plain = OmegaConf.to_container(config, resolve=True)
    made = OmegaConf.create(plain)
    assert isinstance(made, DictConfig)
    return made


def to_stored(config: DictConfig) -> dict[str, Any]:
    """Return a config as a run stores it: plain, with references to the environment.

    ``config``: as ``resolve`` returns it, so that no other reference is left.
    """
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Have references to the environment, and what is decoded from them, give themselves."""

    def keep(name: str, default: Any = NO_DEFAULT) -> str:
        """Return the reference as it was written."""
        return f"${{oc.env:{name}}}" if default is NO_DEFAULT else f"${{oc.env:{name},{default}}}"

    def decode(text: Any) -> Any:
        """Return a text as the value that it spells; a reference stays one, to be decoded later."""
        if isinstance(text, str) and text.startswith("${oc.env:"):
            return f"${{oc.decode:{text}}}"
        return oc.decode(text, DictConfig({}), DictConfig({}))

    OmegaConf.register_new_resolver("oc.env", keep, replace=True)
    OmegaConf.register_new_resolver("oc.decode", decode, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
        OmegaConf.register_new_resolver("oc.decode", oc.decode, replace=True)
