"""Read a run folder: its tables, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from synthgen.errors import RunError

__all__ = ["RunTables", "read_run"]


@dataclass(frozen=True, slots=True, eq=False)
class RunTables:
    """What a finished run says of itself. Paths in the tables are relative to ``root``."""

    root: Path
    record: dict[str, Any]  # run.yaml
    manifest: pd.DataFrame
    instances: pd.DataFrame
    tries: pd.DataFrame
    timings: pd.DataFrame

    @property
    def classes(self) -> dict[str, int]:
        """Class ids by name, of every class that the run was asked for."""
        defects = self.record["config"]["defect"]
        return {name: int(node["class_id"]) for name, node in sorted(defects.items())}

    @property
    def quality(self) -> dict[str, Any]:
        """The limits in force: those of ``synthgen inspect``, or else the run's own."""
        own = self.root / "quality.yaml"
        if own.is_file():
            return dict(yaml.safe_load(own.read_text(encoding="utf-8")) or {})
        return dict(self.record["config"].get("quality") or {})

    def file(self, name: str) -> Path:
        """Return the path of a file that the manifest names; raises RunError where it is gone."""
        path = self.root / name
        if not path.is_file():
            raise RunError(
                f"{path} is named in the manifest but missing; the run folder is damaged"
            )
        return path


def read_run(root: Path) -> RunTables:
    """Read a run folder; raises RunError where it is none, or not finished."""
    if not (root / "run.yaml").is_file():
        raise RunError(f"{root} is no run of synthgen: it has no run.yaml")
    tables = {}
    for name in ("manifest", "instances", "tries", "timings"):
        path = root / f"{name}.parquet"
        if not path.is_file():
            raise RunError(
                f"{root} is not finished: {path.name} is missing; run the same synthgen generate "
                "command again"
            )
        tables[name] = pd.read_parquet(path)
    record = yaml.safe_load((root / "run.yaml").read_text(encoding="utf-8"))
    return RunTables(root, record, **tables)
