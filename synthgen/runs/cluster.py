"""Workers as actors of a Ray cluster, or of a Ray that is started on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

from pydantic import Field
from pydantic import dataclasses as checked

from synthgen.errors import ConfigError, RunError, SynthgenError
from synthgen.runs.executor import Batch, Lanes, Worker
from synthgen.runs.processes import GIVEN_UP, Supply, settle
from synthgen.sample import Status

__all__ = ["RayExecutor"]


@checked.dataclass(frozen=True)
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
        self, batches: Iterable[Batch], make_worker: Callable[[], Worker]
    ) -> Iterator[list[Status]]:
        crew = _Crew(_start(self.address), self, make_worker, Supply(batches))
        try:
            crew.hire_all()
            while crew.under_way:
                statuses = crew.collect()
                if statuses is not None:
                    yield statuses
            if crew.supply.lost:
                worker = make_worker()
                yield from (worker.give_up(batch, GIVEN_UP) for batch in crew.supply.lost)
        finally:
            crew.dismiss()


class _Crew:
    """The actors of a run, and the batches that each has been given."""

    def __init__(
        self, ray: Any, settings: RayExecutor, make_worker: Callable[[], Worker], supply: Supply
    ) -> None:
        self._ray, self._settings, self._make_worker = ray, settings, make_worker
        self.supply, self._actors = supply, list[Any]()
        self.under_way: dict[Any, tuple[int, Batch]] = {}  # answer -> whose it is, what for

    def hire_all(self) -> None:
        """Hire every actor and give it something to do; raises RunError."""
        while len(self._actors) < self._settings.workers:
            self._actors.append(self._hire())
        for number in range(self._settings.workers):
            self._hand_out(number)

    def collect(self) -> list[Status] | None:
        """Wait for an answer and return it; None where the actor died over it, and was replaced."""
        errors = self._ray.exceptions
        [done], _ = self._ray.wait(list(self.under_way), num_returns=1)
        number, _ = self.under_way[done]
        try:
            statuses: list[Status] = self._ray.get(done)
        except errors.RayActorError:
            self._replace(number)
            return None
        except errors.RayTaskError as error:
            if isinstance(error.cause, SynthgenError):
                raise error.cause from error
            raise
        del self.under_way[done]
        self._hand_out(number)
        return statuses

    def dismiss(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)

    def _replace(self, number: int) -> None:
        mine = [answer for answer, (owner, _) in self.under_way.items() if owner == number]
        self.supply.give_back([self.under_way.pop(answer)[1] for answer in mine])
        self._actors[number] = self._hire()
        self._hand_out(number)

    def _hand_out(self, number: int) -> None:
        """Give an actor one batch more than it has lanes, so that no lane waits for it."""
        given = sum(owner == number for owner, _ in self.under_way.values())
        for _ in range(self._settings.lanes + 1 - given):
            numbered = self.supply.next()
            if numbered is None:
                return
            answer = self._actors[number].work.remote(numbered[1])
            self.under_way[answer] = (number, numbered[1])

    def _hire(self) -> Any:
        settings, errors = self._settings, self._ray.exceptions
        actor = (
            self._ray.remote(_Actor)
            .options(num_cpus=settings.cpus, num_gpus=settings.gpus, max_concurrency=settings.lanes)
            .remote(self._make_worker, max(1, int(settings.cpus)))
        )
        try:
            self._ray.get(actor.ready.remote())
        except errors.RayActorError as error:
            reason = str(error).strip().splitlines()[-1]
            raise RunError(f"a Ray actor could not be made: {reason}") from error
        return actor


class _Actor:
    """A worker on some node; its model is loaded once."""

    def __init__(self, make_worker: Callable[[], Worker], threads: int) -> None:
        settle(0, threads)  # Ray shows an actor only the GPUs that are its own
        self._worker = make_worker()

    def ready(self) -> bool:
        return True

    def work(self, batch: Batch) -> list[Status]:
        return self._worker(batch)


def _start(address: str | None) -> Any:
    """Return Ray, connected to the cluster or started here; raises ConfigError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
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
            ray.init(address=address or "local", log_to_driver=False, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"executor.address={address!r} leads to no Ray: {reason}") from error
    return ray
