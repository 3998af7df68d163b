"""Several processes on this machine; one that dies is replaced, and its batches made again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
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
        """Run all batches through processes; raises RunError where one cannot be started."""
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
    """This machine as a WorkerHost: its members are worker processes."""

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
        # Ctrl-C is for whoever hands out the batches, also while a process is starting. A signal
        # that is blocked here stays blocked in the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        except OSError as error:
            raise RunError(
                f"worker process {number + 1} cannot be started: {error.strerror or error}; give "
                "fewer executor.workers"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return _WorkerProcess(process, ours)

    def give(self, member: _WorkerProcess, number: int, batch: Batch) -> None:
        with suppress(OSError):  # it died; listen() hears so
            member.pipe.send((number, batch))

    def listen(self, members: Sequence[_WorkerProcess]) -> list[tuple[_WorkerProcess, Message]]:
        # A pipe is ready when its process ends, too.
        ready = wait([member.pipe for member in members])
        heard: list[tuple[_WorkerProcess, Message]] = []
        for member in members:
            if member.pipe not in ready:
                continue
            try:
                message: Message = member.pipe.recv()
            except (EOFError, OSError):
                member.process.join()
                message = WorkerDeath(f"exit code {member.process.exitcode}")
            heard.append((member, message))
        return heard

    def stop(self, members: Sequence[_WorkerProcess], *, at_once: bool) -> None:
        for member in members:
            if at_once:
                member.process.kill()
            else:
                with suppress(OSError):  # it may be gone
                    member.pipe.send(None)
        for member in members:
            member.process.join(PATIENCE_S)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            member.pipe.close()


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
    """Give this process its share of the machine: ``threads`` of torch and OpenCV, one GPU.

    Worker ``number`` (from 0) takes the GPUs in turn. Importing torch takes seconds, and a sketch
    needs none: without a GPU torch is settled where it has been imported, and finds its threads in
    the environment where it is imported later.
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
