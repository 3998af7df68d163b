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
from synthgen.progress import stage

__all__ = ["Diagnosis", "diagnose", "without_names"]

DEFAULT = "backend=embedded"


@dataclass(frozen=True)
class Diagnosis:
    """What a machine has, what runs on it, and what to do about the rest.

    Packages, models and features are in the order in which they are shown.
    """

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
        """Return it as values that JSON can hold, without the home folder and the user's name.

        Names are taken out of the values; keys stay as they are.
        """
        text = json.dumps({"is_well": self.is_well, **asdict(self)})
        plain: dict[str, Any] = json.loads(
            text,
            object_hook=lambda values: {
                key: without_names(value) if isinstance(value, str) else value
                for key, value in values.items()
            },
        )
        return plain


def diagnose(models: str | None = None) -> Diagnosis:
    """Look at this machine and its environment; no server is asked.

    ``models`` is a folder with checkpoints, looked at beside the embedded model and the hub's
    cache. Raises ModelError where it is not a folder.
    """
    with stage("looking at the packages"):
        packages, warnings = find_packages(), find_warnings()
    with stage("looking at the models"):
        found = find_models(models)
    with stage("looking at what runs"):
        features = find_features(packages, found, warnings)
    return Diagnosis(find_machine(Path.cwd()), packages, found, warnings, features)


def without_names(text: str) -> str:
    """Return a text with ``~`` for the home folder and ``<user>`` for the user's name in a path.

    A name is replaced only as a whole part of a path: user ``ann`` leaves ``/data/annex`` alone.
    """
    home = str(Path("~").expanduser())
    if home not in ("~", "/"):
        text = re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", text)
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this user id, as in containers
        return text
    return re.sub(rf"(?<=/){re.escape(user)}(?=[/\s'\"]|$)", "<user>", text)
