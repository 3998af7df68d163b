"""Workers as actors of a Ray cluster, or of a Ray that is started on this machine."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic import dataclasses as checked

from synthgen.errors import ConfigError, RunError
from synthgen.generation.executors.executor import Batch, Lanes, Worker
from synthgen.generation.executors.pool import (
    Answer,
    BatchFailure,
    Message,
    WorkerDeath,
    load,
    run_workers,
    work,
)
from synthgen.generation.executors.processes import settle
from synthgen.samples.sample import Status

__all__ = ["RayExecutor"]


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class RayExecutor:
    """``workers`` Ray actors, each with a model of its own.

    ``address``: of a running cluster (``auto`` = the one this machine belongs to); None starts Ray
    here. ``gpus`` and ``cpus`` of each actor. The run folder must be one that all nodes see: a
    shared disk, or object storage. ``lanes`` as in LocalExecutor.
    """

    workers: Annotated[int, Field(ge=1, le=10_000)] = 2
    address: str | None = None
    cpus: Annotated[float, Field(ge=0)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0
    lanes: Lanes = 2

    def run(
        self, batches: Iterable[Batch], here: Worker, make_worker: Callable[[], Worker]
    ) -> Generator[list[Status]]:
        """Run all batches through actors; raises ConfigError where there is no Ray, or no room."""
        place = _Cluster(_start(self.address), self, make_worker)
        yield from run_workers(place, self.workers, self.lanes, batches, here)


class _Cluster:
    """A Ray cluster as a WorkerHost: its members are actors. Raises ConfigError."""

    def __init__(self, ray: Any, settings: RayExecutor, make_worker: Callable[[], Worker]) -> None:
        self._ray, self._settings = ray, settings
        self._make_worker: Any = None
        self._recipe = make_worker
        self._answers: dict[Any, Any] = {}  # what is to come: of which actor
        if settings.address is not None:
            return
        has = ray.cluster_resources()
        for key, name in (("cpus", "CPU"), ("gpus", "GPU")):
            asked, there = getattr(settings, key), has.get(name, 0)
            if asked > there:  # it can never hold an actor, and Ray would only wait
                raise ConfigError(
                    f"executor.{key}={asked:g}, but Ray on this machine has {there:g} {name}s; "
                    f"give at most that many"
                )

    def start(self, number: int) -> Any:
        if self._make_worker is None:  # stored once: an index of sources may be large
            self._make_worker = self._ray.put(self._recipe)
        settings = self._settings
        actor = (
            self._ray.remote(_Actor)
            .options(num_cpus=settings.cpus, num_gpus=settings.gpus, max_concurrency=settings.lanes)
            .remote()
        )
        loading = actor.load.remote(self._make_worker, max(1, int(settings.cpus)))
        self._answers[loading] = actor
        return actor

    def give(self, member: Any, number: int, batch: Batch) -> None:
        self._answers[member.work.remote(number, batch)] = member

    def listen(self, members: Sequence[Any]) -> list[tuple[Any, Message]]:
        [answer], _ = self._ray.wait(list(self._answers), num_returns=1)
        member, errors = self._answers.pop(answer), self._ray.exceptions
        try:
            message: Message = self._ray.get(answer)
        except (errors.RayActorError, errors.OutOfMemoryError, errors.WorkerCrashedError) as error:
            message = WorkerDeath(str(error).strip().splitlines()[-1].strip())
            self._forget(member)
        except errors.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            message = BatchFailure(RunError(f"a Ray actor could not answer: {reason}"))
        return [(member, message)]

    def stop(self, members: Sequence[Any], *, at_once: bool) -> None:
        for actor in members:
            self._forget(actor)
            self._ray.kill(actor)

    def _forget(self, member: Any) -> None:
        """Expect no further answer of an actor."""
        for answer in [key for key, owner in self._answers.items() if owner is member]:
            del self._answers[answer]


class _Actor:
    """A worker on some node; its model is loaded once."""

    def load(self, make_worker: Callable[[], Worker], threads: int) -> Answer:
        def make() -> Worker:
            settle(0, threads)  # Ray shows an actor only the GPUs that are its own
            worker = make_worker()
            settle(0, threads)  # torch, where the worker has imported it
            return worker

        self._worker, answer = load(make)
        return answer

    def work(self, number: int, batch: Batch) -> Answer:
        assert self._worker is not None  # no batch is given before it is ready
        return work(self._worker, number, batch)


def _start(address: str | None) -> Any:
    """Return Ray, connected to the cluster or started here; raises ConfigError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    asked = signal.getsignal(signal.SIGTERM)
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "executor=ray needs Ray; pip install 'synthgen-inspection[ray]', or executor=processes"
        ) from error
    if not ray.is_initialized():
        if address is None:  # a Ray of our own needs no token
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                include_dashboard=False,
                logging_level=logging.WARNING,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"executor.address={address!r} leads to no Ray: {reason}") from error
        with suppress(ValueError):  # of a thread that is not the main one: Ray left it alone
            signal.signal(signal.SIGTERM, asked)  # Ray would end at once; ours finishes the batch
    return ray
