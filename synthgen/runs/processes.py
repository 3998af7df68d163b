"""Several processes on this machine; one that dies is replaced, and its batches made again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Annotated

from pydantic import Field
from pydantic import dataclasses as checked

from synthgen.errors import RunError, SynthgenError
from synthgen.runs.executor import Batch, Lanes, Worker
from synthgen.sample import Status

__all__ = ["GIVEN_UP", "ProcessExecutor", "Supply", "settle"]

GIVEN_UP = "the process that made it died twice, out of memory perhaps"
MOST_DEATHS = 2  # of workers over one batch, or one sample, before it is given up


class Supply:
    """Numbered batches to hand out, those of dead workers first.

    A batch that killed its worker twice is cut into single samples, and a sample that does so is
    given up.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._fresh, self._again = iter(batches), list[Batch]()
        self._deaths: dict[str, int] = {}
        self._number = 0
        self.lost: list[Batch] = []
        self.died_loading = 0

    def next(self) -> tuple[int, Batch] | None:
        """Return a number and a batch, None where there is none left."""
        batch = self._again.pop() if self._again else next(self._fresh, None)
        self._number += 1
        return None if batch is None else (self._number, batch)

    def take_back(self, batches: Iterable[Batch]) -> None:
        """Take back what nobody has begun."""
        self._again += batches

    def give_back(self, batches: Iterable[Batch]) -> None:
        """Take back what a worker had in hand that died over it."""
        for batch in batches:
            key = f"{batch[0].sample_id} {len(batch)}"
            self._deaths[key] = self._deaths.get(key, 0) + 1
            if self._deaths[key] < MOST_DEATHS:
                self._again.append(batch)
            elif len(batch) > 1:
                self._again += [[spec] for spec in batch]
            else:
                self.lost.append(batch)


@dataclass(slots=True, eq=False)
class _Hand:
    """A worker process, its pipe, and the batches that it has been given, by number."""

    process: BaseProcess
    pipe: Connection
    given: dict[int, Batch] = field(default_factory=dict)
    is_ready: bool = False
    is_gone: bool = False  # its pipe is at its end


@checked.dataclass(frozen=True)
class ProcessExecutor:
    """``workers`` processes on this machine, each with a model of its own.

    ``threads`` of torch each; None = an even share of the cores. ``lanes`` as in LocalExecutor.
    With several GPUs the processes take them in turn.
    """

    workers: Annotated[int, Field(ge=1, le=256)] = 2
    threads: Annotated[int, Field(ge=1)] | None = None
    lanes: Lanes = 2

    def run(
        self, batches: Iterable[Batch], make_worker: Callable[[], Worker]
    ) -> Iterator[list[Status]]:
        supply, hands = Supply(batches), list[_Hand]()
        try:
            for number in range(self.workers):
                hands.append(self._hire(number, make_worker))
                self._hand_out(hands[-1], supply)
            while any(hand.given for hand in hands):
                for number, hand in enumerate(hands):
                    if hand.given and hand.is_gone:
                        self._mourn(hand, supply)
                        hands[number] = self._hire(number, make_worker)
                        self._hand_out(hands[number], supply)
                yield from self._collect(hands, supply)
            if supply.lost:
                worker = make_worker()
                yield from (worker.give_up(batch, GIVEN_UP) for batch in supply.lost)
        finally:
            for hand in hands:
                _dismiss(hand)

    def _mourn(self, hand: _Hand, supply: Supply) -> None:
        """Take back what a dead worker had; raises RunError where none gets as far as loading."""
        if hand.is_ready:
            supply.give_back(hand.given.values())
            return
        supply.take_back(hand.given.values())
        supply.died_loading += 1
        if supply.died_loading >= MOST_DEATHS + self.workers:
            raise RunError(
                f"{supply.died_loading} worker processes ended while they were loading (exit code "
                f"{hand.process.exitcode}), out of memory perhaps; give fewer executor.workers"
            )

    def _hire(self, number: int, make_worker: Callable[[], Worker]) -> _Hand:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        threads = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
        process = context.Process(
            target=_serve, args=(theirs, make_worker, number, threads, self.lanes), daemon=True
        )
        process.start()
        theirs.close()
        return _Hand(process, ours)

    def _hand_out(self, hand: _Hand, supply: Supply) -> None:
        while len(hand.given) < self.lanes + 1:  # one more, so that no lane waits for it
            numbered = supply.next()
            if numbered is None:
                return
            hand.given[numbered[0]] = numbered[1]
            try:
                hand.pipe.send(numbered)
            except OSError:  # it died; the loop sees so
                return

    def _collect(self, hands: Sequence[_Hand], supply: Supply) -> Iterator[list[Status]]:
        """Yield what has come in; wait until something does, or a process ends."""
        busy = [hand for hand in hands if hand.given]
        ready = wait([hand.pipe for hand in busy])  # a pipe is ready when its process ends, too
        for hand in busy:
            if hand.pipe not in ready:
                continue
            try:
                answer = hand.pipe.recv()
            except (EOFError, OSError):
                hand.is_gone = True
                hand.process.join()
                continue
            if isinstance(answer, SynthgenError):
                raise answer
            if answer is None:
                hand.is_ready = True
                continue
            number, statuses = answer
            del hand.given[number]
            self._hand_out(hand, supply)
            yield statuses


def _serve(
    pipe: Connection, make_worker: Callable[[], Worker], number: int, threads: int, lanes: int
) -> None:
    """Be a worker process: answer each numbered batch with its statuses, or send an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever hands out the batches
    taking, sending, is_over = threading.Lock(), threading.Lock(), threading.Event()

    def send(answer: object) -> None:
        with sending, suppress(OSError):  # whoever handed out the batches may be gone
            pipe.send(answer)

    def work(worker: Worker) -> None:
        while True:
            with taking:
                order = None if is_over.is_set() else pipe.recv()
                if order is None:
                    is_over.set()
                    return
            send((order[0], worker(order[1])))

    try:
        settle(number, threads)
        worker = make_worker()
        send(None)  # it is loaded
        with ThreadPoolExecutor(lanes) as pool:
            for lane in [pool.submit(work, worker) for _ in range(lanes)]:
                lane.result()
    except EOFError:
        return
    except SynthgenError as error:
        send(error)
    except Exception:
        send(RunError(f"a worker process failed:\n{traceback.format_exc()}"))


def settle(number: int, threads: int) -> None:
    """Give the process its share of the machine: CPU threads, one of the GPUs."""
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def _dismiss(hand: _Hand) -> None:
    with suppress(OSError):  # it may be gone
        hand.pipe.send(None)
    hand.process.join(timeout=10)
    if hand.process.is_alive():
        hand.process.kill()
        hand.process.join()
    hand.pipe.close()
