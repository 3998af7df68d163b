"""Kills commands in the middle: what is there is whole, and the same command gives the same end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthgen.storage.files import LEFTOVER
from tests.cli import run_here
from tests.fuzz.artefacts import lay_runs
from tests.fuzz.ground import Found, Ground, Tally, real_masks

__all__ = ["COMMANDS", "fuzz_kills"]

Files = dict[str, bytes]


@dataclass(frozen=True)
class Command:
    """A command that is killed. ``given``: what it works on is copied there as ``run``, or none."""

    words: Callable[[Ground], Sequence[str]]
    is_of_run: bool = False


COMMANDS = {
    "export": Command(
        lambda g: [
            *("export", "run.folder=run", "include=all", "out=out"),
            "format=[coco,yolo,voc,semantic,table,webdataset]",
        ],
        is_of_run=True,
    ),
    "inspect": Command(
        lambda g: ["inspect", "run.folder=run", "quality.area_px=[100,null]"], is_of_run=True
    ),
    "report": Command(lambda g: ["report", "run.folder=run"], is_of_run=True),
    "bank": Command(lambda g: ["bank", "out=out", f"real.path={g.photos}", *real_masks(g)]),
    "adapt": Command(
        lambda g: [
            *("adapt", "out=out", f"real.path={g.photos}", *real_masks(g), "adapt.steps=6"),
            *("adapt.batch_size=2", "adapt.crop_sizes_px=[64]", "adapt.save_every_s=0"),
            *("adapt.check_every=2", "adapt.threads=1"),
        ]
    ),
}


def fuzz_kills(
    ground: Ground, seed: int, kills: int, tally: Tally, names: Sequence[str] = tuple(COMMANDS)
) -> None:
    """Kill commands, in turn, ``kills`` times in all, at moments drawn by ``seed``."""
    draw = random.Random(seed)
    run = lay_runs(ground)["files"]
    ends: dict[str, tuple[Files, Files, float]] = {}
    for number in range(kills):
        name = names[number % len(names)]
        command = COMMANDS[name]
        words = command.words(ground)
        if name not in ends:
            before = _prepare(ground, command, run)
            begun = time.monotonic()
            assert _start(words, ground.folder / "case", None) == 0, name
            seconds = time.monotonic() - begun
            ends[name] = before, _read(ground.folder / "case"), seconds
        before, whole, seconds = ends[name]
        _prepare(ground, command, run)
        after_s = draw.uniform(0.05, 0.95) * seconds
        _start(words, ground.folder / "case", after_s)
        tally.cases += 1
        case = f"{name} killed after {after_s:.2f} of {seconds:.2f} s"
        if told := _find_halves(_read(ground.folder / "case"), before, whole):
            tally.found.append(Found("half-written", case, told))
        is_done = not _compare(_read(ground.folder / "case"), whole)
        if _start(words, ground.folder / "case", None) and not is_done:
            tally.found.append(Found("broken", case, "the same command fails"))
        elif told := _compare(_read(ground.folder / "case"), whole):
            tally.found.append(Found("another end", case, told))


def _prepare(ground: Ground, command: Command, run: Path) -> Files:
    place = ground.begin()
    if command.is_of_run:
        shutil.copytree(run, place / "run")
    return _read(place)


def _start(words: Sequence[str], place: Path, kill_after_s: float | None) -> int:
    """Run a command in a fork of this process; kill it after so long, or return its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            done = run_here(*words, cwd=place)
            code = done.returncode
            if code:
                print(done.stderr)
        finally:
            os._exit(code)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _read(place: Path) -> Files:
    files = [path for path in place.rglob("*") if path.is_file()]
    return {str(path.relative_to(place)): path.read_bytes() for path in files}


def _find_halves(now: Files, before: Files, whole: Files) -> str:
    """Return what is neither as it was nor as it will be; what has a name of its own is not a
    file."""
    for name, data in now.items():
        is_beside = any(LEFTOVER.search(part) for part in Path(name).parts)
        if is_beside or name.endswith(".lock") or _is_progress(name):
            continue
        if data not in (before.get(name), whole.get(name)):
            return f"{name} is neither the old nor the new one"
    if set(before) - set(now):
        return f"{min(set(before) - set(now))} is gone"
    return ""


def _is_progress(name: str) -> bool:
    """Say whether a file is a training's state, or says how many seconds it took."""
    return name in ("out/state.pt", "out/README.md")


def _compare(now: Files, whole: Files) -> str:
    if now.keys() != whole.keys():
        return f"other files: {sorted(now.keys() ^ whole.keys())[:3]}"
    for name, data in now.items():
        if data != whole[name] and not _is_progress(name):
            return f"{name} is another one"
    return ""
