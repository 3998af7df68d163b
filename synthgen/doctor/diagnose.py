"""The whole examination in one value."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthgen.doctor.features import Feature, find_features
from synthgen.doctor.machine import Facts, find_machine
from synthgen.doctor.models import FoundModel, find_models
from synthgen.doctor.packages import Caution, Package, find_packages, find_warnings

__all__ = ["Diagnosis", "diagnose", "without_names"]

DEFAULT = "backend=embedded"


@dataclass(frozen=True)
class Diagnosis:
    """What a machine has, what runs on it, and what to do about the rest."""

    machine: Facts
    packages: Sequence[Package]
    models: Sequence[FoundModel]
    warnings: Sequence[Caution]
    features: Sequence[Feature]

    @property
    def is_well(self) -> bool:
        """Whether the default backend can run."""
        return any(feature.runs for feature in self.features if feature.name == DEFAULT)

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values, without the home folder and the user's name."""
        text = json.dumps({"is_well": self.is_well, **asdict(self)})
        plain: dict[str, Any] = json.loads(text, object_hook=_clean)
        return plain


def diagnose(models: str | None = None) -> Diagnosis:
    """Look at this machine; ``models``: a folder with checkpoints. Raises ModelError."""
    packages, warnings = find_packages(), find_warnings()
    found = find_models(models)
    features = find_features(packages, found, warnings)
    return Diagnosis(find_machine(Path.cwd()), packages, found, warnings, features)


def without_names(text: str) -> str:
    """Return a text with ``~`` for the home folder, and no user's name in a path."""
    home = str(Path("~").expanduser())
    if home not in ("~", "/"):
        text = re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", text)
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this user id, as in containers
        return text
    return re.sub(rf"(?<=/){re.escape(user)}(?=[/\s'\"]|$)", "<user>", text)


def _clean(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: without_names(value) if isinstance(value, str) else value
        for key, value in values.items()
    }
