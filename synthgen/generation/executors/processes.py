"""Several processes on this machine; one that dies is replaced, and its batches made again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic import dataclasses as checked

from synthgen.errors import RunError
from synthgen.generation.executors.executor import Batch, Lanes, Worker
from synthgen.generation.executors.pool import Answer, Message, WorkerDeath, load, run_workers, work
from synthgen.samples.sample import Status

__all__ = ["ProcessExecutor", "settle"]

PATIENCE_S = 10  # for a process that has nothing left to do
GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))  # NVIDIA, WSL 2, AMD


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ProcessExecutor:
    """``workers`` processes on this machine, each with a model of its own.

    ``threads`` of torch each; None = an even share of the cores. ``lanes`` as in LocalExecutor.
    With several GPUs the processes take them in turn.
    """

    workers: Annotated[int, Field(ge=1, le=256)] = 2
    threads: Annotated[int, Field(ge=1)] | None = None
    lanes: Lanes = 2

    def run(
        self, batches: Iterable[Batch], here: Worker, make_worker: Callable[[], Worker]
    ) -> Generator[list[Status]]:
        threads = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
        place = _LocalHost(make_worker, threads, self.lanes)
        yield from run_workers(place, self.workers, self.lanes, batches, here)


@dataclass(frozen=True, slots=True, eq=False)
class _WorkerProcess:
    """A worker process and its pipe."""

    process: BaseProcess
    pipe: Connection


@dataclass(frozen=True, slots=True)
class _LocalHost:
    """This machine as a Workplace."""

    make_worker: Callable[[], Worker]
    threads: int
    lanes: int

    def start(self, number: int) -> _WorkerProcess:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve,
            args=(theirs, self.make_worker, number, self.threads, self.lanes),
            daemon=True,
        )
        try:
            with _without_interrupts():
                process.start()
        except OSError as error:
            raise RunError(
                f"worker process {number + 1} cannot be started: {error.strerror or error}; give "
                "fewer executor.workers"
            ) from error
        theirs.close()
        return _WorkerProcess(process, ours)

    def give(self, member: _WorkerProcess, number: int, batch: Batch) -> None:
        with suppress(OSError):  # it died; listen() hears so
            member.pipe.send((number, batch))

    def listen(self, members: Sequence[_WorkerProcess]) -> list[tuple[_WorkerProcess, Message]]:
        ready = wait([hand.pipe for hand in members])  # a pipe is ready when its process ends, too
        return [(hand, _hear(hand)) for hand in members if hand.pipe in ready]

    def stop(self, members: Sequence[_WorkerProcess], *, at_once: bool) -> None:
        for hand in members:
            if at_once:
                hand.process.kill()
            else:
                with suppress(OSError):  # it may be gone
                    hand.pipe.send(None)
        for hand in members:
            hand.process.join(PATIENCE_S)
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()
            hand.pipe.close()


def _hear(hand: _WorkerProcess) -> Message:
    try:
        answer: Answer = hand.pipe.recv()
        return answer
    except (EOFError, OSError):
        hand.process.join()
        return WorkerDeath(f"exit code {hand.process.exitcode}")


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, also while they are starting.

    Ctrl-C is for whoever hands out the batches. A blocked signal stays blocked in a child.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    pipe: Connection, make_worker: Callable[[], Worker], number: int, threads: int, lanes: int
) -> None:
    """Be a worker process: say that it is ready, then answer each numbered batch."""
    taking, sending, is_over = threading.Lock(), threading.Lock(), threading.Event()

    def send(answer: Answer) -> None:
        with sending, suppress(OSError):  # whoever handed out the batches may be gone
            pipe.send(answer)

    def take() -> tuple[int, Batch] | None:
        """Return the next batch; None where no more will come."""
        with taking, suppress(EOFError, OSError):
            order: tuple[int, Batch] | None = None if is_over.is_set() else pipe.recv()
            if order is not None:
                return order
        is_over.set()
        return None

    def serve(worker: Worker) -> None:
        while (order := take()) is not None:
            send(work(worker, *order))

    def make() -> Worker:
        settle(number, threads)
        worker = make_worker()
        settle(number, threads)  # torch, where the worker has imported it
        return worker

    worker, answer = load(make)
    send(answer)
    if worker is None:
        return
    pool = [threading.Thread(target=serve, args=(worker,)) for _ in range(lanes)]
    for lane in pool:
        lane.start()
    for lane in pool:
        lane.join()


def settle(number: int, threads: int) -> None:
    """Give the process its share of the machine: CPU threads, one of the GPUs.

    Importing torch takes seconds, and a sketch needs none: without a GPU torch is settled where it
    has been imported, and finds its threads in the environment where it is imported later.
    """
    import cv2

    cv2.setNumThreads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" not in sys.modules and not any(path.exists() for path in GPU_DEVICES):
        return
    import torch

    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
