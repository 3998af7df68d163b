"""Files of configuration that Hydra reads once in a process: the tests compose 2,000 configs.

A command reads and merges some 30 files of conf/, which takes a quarter of a second and comes out
alike wherever the same choices are made. Here they are kept, and given as copies; a file that is
changed or added since is read again. Overrides are applied, checked and resolved each time.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Hashable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigSource

__all__ = ["read_once"]


@cache
def read_once() -> None:
    """From now on, keep what Hydra has read from files, and what it has merged of them."""
    Plugins.instance()  # makes a new class of files
    files_of: Any = SourcesRegistry.instance().resolve("file")
    load, merge = files_of.load_config, ConfigLoaderImpl._compose_config_from_defaults_list
    kept: dict[Hashable, bytes] = {}

    def load_config(source: ConfigSource, config_path: str) -> Any:
        path = Path(source.path, source._normalize_file_name(config_path))
        return _copy(kept, ("file", source.provider, _stamp(path)), load, source, config_path)

    def compose(loader: ConfigLoaderImpl, defaults: Sequence[Any], repo: Any) -> Any:
        names = tuple(map(repr, defaults))
        files = tuple(
            _stamp(Path(source.path, f"{default.config_path}.yaml"))
            for source in repo.get_sources()
            if isinstance(source, files_of)
            for default in defaults
        )
        return _copy(kept, (names, files), merge, loader, defaults, repo)

    files_of.load_config = load_config
    ConfigLoaderImpl._compose_config_from_defaults_list = compose


def _copy(kept: dict[Hashable, bytes], key: Hashable, make: Any, *arguments: Any) -> Any:
    if key not in kept:
        kept[key] = pickle.dumps(make(*arguments))
    return pickle.loads(kept[key])


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        state = os.stat(path)
    except OSError:
        return str(path), 0, 0
    return str(path), state.st_mtime_ns, state.st_size
