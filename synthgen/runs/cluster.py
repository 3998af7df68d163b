"""Workers as actors of a Ray cluster, or of a Ray that is started on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from synthgen.errors import ConfigError, RunError, SynthgenError
from synthgen.runs.executor import Batch, Worker
from synthgen.runs.processes import GIVEN_UP, Supply, settle
from synthgen.sample import Status

__all__ = ["RayExecutor"]


@dataclass(frozen=True)
class RayExecutor:
    """``workers`` Ray actors, each with a model of its own.

    ``address``: of a running cluster (``auto`` = the one this machine belongs to); None starts Ray
    here. ``gpus`` and ``cpus`` of each actor. The run folder must be one that all nodes see: a
    shared disk, or object storage. ``lanes`` as in LocalExecutor.
    """

    workers: int = 2
    address: str | None = None
    cpus: float = 1
    gpus: float = 0
    lanes: int = 2

    def run(
        self, batches: Iterable[Batch], make_worker: Callable[[], Worker]
    ) -> Iterator[list[Status]]:
        ray = _start(self.address)
        supply = Supply(batches)
        actors = [self._hire(ray, number, make_worker) for number in range(self.workers)]
        under_way: dict[Any, tuple[int, Batch]] = {}

        def hand_out(number: int) -> None:
            while sum(owner == number for owner, _ in under_way.values()) < self.lanes + 1:
                numbered = supply.next()
                if numbered is None:
                    return
                under_way[actors[number].work.remote(numbered[1])] = (number, numbered[1])

        try:
            for number in range(self.workers):
                hand_out(number)
            while under_way:
                done, _ = ray.wait(list(under_way), num_returns=1)
                number, _ = under_way[done[0]]
                try:
                    statuses = ray.get(done[0])
                except ray.exceptions.RayActorError:
                    lost = [ref for ref, (owner, _) in under_way.items() if owner == number]
                    supply.give_back([under_way.pop(ref)[1] for ref in lost])
                    actors[number] = self._hire(ray, number, make_worker)
                    hand_out(number)
                    continue
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, SynthgenError):
                        raise error.cause from error
                    raise
                del under_way[done[0]]
                hand_out(number)
                yield statuses
            if supply.lost:
                worker = make_worker()
                yield from (worker.give_up(batch, GIVEN_UP) for batch in supply.lost)
        finally:
            for actor in actors:
                ray.kill(actor)

    def _hire(self, ray: Any, number: int, make_worker: Callable[[], Worker]) -> Any:
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_concurrency": self.lanes}
        actor = ray.remote(_Actor).options(**options).remote(make_worker, max(1, int(self.cpus)))
        try:
            ray.get(actor.ready.remote())
        except ray.exceptions.RayActorError as error:
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
