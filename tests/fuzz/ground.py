"""What the fuzzer breaks: a small run, real photos with masks, a bank; and how it judges a command.

A command is run in this process as the command line runs it, in a folder of its own. It fails the
judge by a traceback, by going on for over 30 s, by writing outside of that folder, by exit code 0
on what cannot be right, and by a message that names neither the key nor a file.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from types import FrameType
from typing import Any

import numpy as np
from PIL import Image

from tests.cli import run_here, run_well

__all__ = ["Found", "Ground", "Tally", "judge", "lay_ground"]

LONGEST_S = 30
PHOTOS, GOOD = 7, 3  # the first ones without a defect
MEMORY = 24 << 30  # of addresses: a wild size is an error and not the end of the machine
ROOT = Path(__file__).resolve().parents[2]
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.rmdir", "shutil.move")
SMALL = ["source.size_hw=[64,64]", "run.good_fraction=0.5", "run.retries=[]", "backend=sketch"]


class TooLong(BaseException):
    """A command went on for too long."""


@dataclass(frozen=True)
class Ground:
    """Where the fuzzer works. ``run``, ``photos``, ``masks``, ``bank`` must stay as they are."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "given" / "run"

    @property
    def other_run(self) -> Path:
        return self.folder / "given" / "other"

    @property
    def many(self) -> Path:
        """A run of enough defects to be compared with real ones."""
        return self.folder / "given" / "many"

    @property
    def parts(self) -> Path:
        """A table of enough real defects, and good photos, to be compared with."""
        return self.folder / "given" / "parts.csv"

    @property
    def hed(self) -> Path:
        """A file that is called as HED's weights are, and holds others."""
        return self.folder / "given" / "hed.h5"

    @property
    def photos(self) -> Path:
        return self.folder / "given" / "photos"

    @property
    def masks(self) -> Path:
        return self.folder / "given" / "masks"

    @property
    def bank(self) -> Path:
        return self.folder / "given" / "bank"

    def begin(self) -> Path:
        """Return a new empty folder, the only place where the next command may write."""
        place = self.folder / "case"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place


@dataclass(frozen=True)
class Found:
    """What is wrong with one case."""

    fault: str  # traceback, hang, outside, accepted, half-written
    case: str
    told: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.case}\n    {self.told}"


@dataclass
class Tally:
    """What came of all cases. ``unnamed``: messages that name neither key nor file."""

    cases: int = 0
    refused: int = 0
    named: int = 0
    found: list[Found] = field(default_factory=list)
    unnamed: list[Found] = field(default_factory=list)

    @property
    def named_fraction(self) -> float:
        return self.named / self.refused if self.refused else 1.0

    def __str__(self) -> str:
        faults = Counter(one.fault for one in self.found)
        counts = ", ".join(f"{count} {fault}" for fault, count in sorted(faults.items()))
        return (
            f"{self.cases} cases, {self.refused} refused, {self.named_fraction:.1%} of messages "
            f"name the key or a file; {counts or 'no faults'}"
        )


def lay_ground(folder: Path) -> Ground:
    """Make the inputs that are broken afterwards."""
    ground = Ground(folder)
    ground.photos.mkdir(parents=True)
    ground.masks.mkdir()
    rng = np.random.default_rng(7)
    for number in range(PHOTOS):
        level = rng.integers(110, 140, (96, 96, 3), np.uint8)
        mask = np.zeros((96, 96), np.uint8)
        if number >= GOOD:
            top, left = 10 + 15 * (number - GOOD), 30
            mask[top : top + 12, left : left + 14] = 255
            level[mask > 0] = 30
            Image.fromarray(mask).save(ground.masks / f"part-{number}.png")
        Image.fromarray(level).save(ground.photos / f"part-{number}.png")
    rows = ["image,mask,class,split,group"]
    for number in range(PHOTOS):
        mask = f"masks/part-{number}.png,pit" if number >= GOOD else ","
        split = "val" if number == PHOTOS - 1 else "train"
        rows.append(f"photos/part-{number}.png,{mask},{split},{number}")
    (ground.photos.parent / "real.csv").write_text("\n".join(rows), encoding="utf-8")
    run_well("generate", *SMALL, "run.count=3", f"run.folder={ground.run}")
    shutil.copytree(ground.run, ground.other_run)
    _lay_parts(ground)
    run_well("bank", f"out={ground.bank}", f"real.path={ground.photos}", *real_masks(ground))
    return ground


def _lay_parts(ground: Ground) -> None:
    """Lay what is compared: a run of 14 defects, 12 real parts with one and 4 without, weights."""
    made = [*SMALL, "run.good_fraction=0", "run.count=14", "quality=off"]
    run_well("generate", *made, f"run.folder={ground.many}")
    rng = np.random.default_rng(8)
    rows = ["image,mask,class,split,group"]
    folder = ground.parts.parent / "parts"
    folder.mkdir()
    for number in range(16):
        level = rng.integers(110, 140, (64, 64, 3), np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        if number >= 4:
            top, left = rng.integers(8, 40, 2)
            mask[top : top + 12, left : left + 10] = 255
            level[mask > 0] = 40
            Image.fromarray(mask).save(folder / f"mask-{number}.png")
        Image.fromarray(level).save(folder / f"{number}.png")
        named = f"parts/mask-{number}.png,pit" if number >= 4 else ",good"
        rows.append(f"parts/{number}.png,{named},train,{number}")
    ground.parts.write_text("\n".join(rows), encoding="utf-8")
    ground.hed.write_bytes(b"\x89HDF\r\n\x1a\n" + rng.bytes(500))


def real_masks(ground: Ground) -> list[str]:
    """Return the overrides for the real photos' masks."""
    return [f"real.masks={ground.masks}", "real.defect_class=pit"]


def judge(
    tally: Tally,
    ground: Ground,
    arguments: Sequence[str],
    case: str,
    names: Sequence[str],
    *,
    is_wrong: bool,
    place: Path,
    min_s: int = 8,
) -> CompletedProcess[str] | None:
    """Run a command and note what is wrong with how it ends; None where it did not end.

    ``names``: what a message may name, any of them. ``is_wrong``: it must be refused. What may be
    right is let go on for ``min_s`` seconds only.
    """
    tally.cases += 1
    before = _list(ground)
    end = run_apart(arguments, place, LONGEST_S if is_wrong else min_s)
    done, fault, told = end.done, end.fault, end.told
    if fault == "hang" and not is_wrong:
        return None  # it may be right, and at work
    if not fault and (outside := end.written or _list(ground) ^ before):
        fault, told = "outside", str(sorted(map(str, outside))[:3])
    if done is not None and "Traceback (most recent call last)" in done.stderr:
        fault, told = "traceback", done.stderr[-600:]
    if done is not None and not fault and is_wrong and done.returncode == 0:
        fault, told = "accepted", done.stdout[-200:]
    if fault:
        tally.found.append(Found(fault, case, told))
        return done
    if done is not None and done.returncode == 2:
        tally.refused += 1
        sentence = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
        if any(name in sentence for name in names):
            tally.named += 1
        else:
            tally.unnamed.append(Found("unnamed", case, sentence))
    return done


@dataclass(frozen=True)
class End:
    """How a command ended. ``written``: paths outside of its folder that Python wrote to."""

    done: CompletedProcess[str] | None
    fault: str = ""
    told: str = ""
    written: Sequence[str] = ()


def run_apart(arguments: Sequence[str], place: Path, limit_s: int) -> End:
    """Run a command in a fork of this process, which has imported what is heavy.

    So one that is stopped in the middle, or asks for all memory, leaves nothing behind.
    """
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if not child:
        try:
            ours.close()
            theirs.send(_run(arguments, place, limit_s))
        finally:
            os._exit(0)
    theirs.close()
    try:
        end: End = (
            ours.recv() if ours.poll(limit_s + 10) else End(None, "hang", "cannot be stopped")
        )
    except EOFError:
        end = End(None, "traceback", "the process died")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    ours.close()
    return end


def _run(arguments: Sequence[str], place: Path, limit_s: int) -> End:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit_s)
    written: list[str] = []
    WATCH.append((place, written))
    try:
        done = run_here(*arguments, cwd=place)
    except TooLong:
        return End(None, "hang", f"went on for over {limit_s} s", written)
    except BaseException as error:  # the judge looks at everything that came through
        return End(None, "traceback", _last_lines(error), written)
    return End(done, written=written)


WATCH: list[tuple[Path, list[str]]] = []
KINDS = {"open": (0,), "os.rename": (0, 1), "os.link": (1,), "os.symlink": (1,)}
HARMLESS = ("/dev/null", "/dev/shm", "/proc/", "/tmp/torchinductor")


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not WATCH or event not in ("open", *WRITES):
        return
    if event == "open":
        flags = arguments[2] if len(arguments) > 2 else 0
        is_write = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not is_write or isinstance(arguments[0], int):
            return
    place, written = WATCH[-1]
    for number in KINDS.get(event, (0,)):
        path = arguments[number]
        if not isinstance(path, str | bytes | os.PathLike):
            continue
        whole = os.path.abspath(os.fsdecode(path))
        own = (str(place), *CACHES, *HARMLESS)
        if not whole.startswith(own) and "__pycache__" not in whole:
            written.append(whole)


CACHES = tuple(str(Path(path).expanduser()) for path in ("~/.cache", "~/.config/matplotlib"))
sys.addaudithook(_hear)


def _list(ground: Ground) -> set[tuple[str, int, int]]:
    """Return what lies beside the case's own folder: paths, sizes, times of change."""
    given = [path for path in ground.folder.rglob("*") if "case" not in path.parts]
    around = [*ground.folder.parent.iterdir(), *ROOT.iterdir()]
    return {
        (str(path), stat.st_size, stat.st_mtime_ns)
        for path in given
        if path.is_file() and (stat := path.stat())
    } | {(str(path), 0, 0) for path in around if not path.name.startswith(".")}


def _last_lines(error: BaseException) -> str:
    lines = traceback.format_exception(error)
    return "".join(lines)[-900:]


def temporary() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for a whole fuzzing."""
    return tempfile.TemporaryDirectory(prefix="fuzz-")
