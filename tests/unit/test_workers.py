"""Workers elsewhere: one protocol for processes and Ray; errors, deaths, and who is blamed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from synthgen.commands.worker import make_worker
from synthgen.config.build import build_parts
from synthgen.config.compose import compose
from synthgen.config.objects import to_plain
from synthgen.errors import ConfigError, ModelError, RunError
from synthgen.generation.executors.executor import Executor, LocalExecutor, Worker
from synthgen.generation.executors.processes import GPU_DEVICES, ProcessExecutor
from synthgen.generation.executors.ray_cluster import RayExecutor
from synthgen.generation.executors.supply import Supply
from synthgen.progress import show, show_progress
from synthgen.samples.sample import Status
from synthgen.sources import SourceIndex
from tests.checkpoints import save_tiny_patch_model
from tests.plain_workers import (
    PlainWorker,
    TorchWorker,
    die_while_loading,
    fail_to_load,
    make_batches,
    make_plain,
    noted,
)

ELSEWHERE = ["processes", "ray"]


def make_executor(name: str, **settings: int) -> Executor:
    if name == "ray":
        pytest.importorskip("ray")
    kind = {"local": LocalExecutor, "processes": ProcessExecutor, "ray": RayExecutor}[name]
    return kind(**settings)


def run(
    executor: Executor,
    folder: Path,
    make: Callable[[], Worker],
    count: int = 24,
    size: int = 2,
) -> list[int]:
    here: Worker = make() if isinstance(executor, LocalExecutor) else PlainWorker(folder)
    asked = signal.getsignal(signal.SIGTERM)
    with closing(executor.run(make_batches(count, size), here, make)) as made:
        done = [statuses.count(Status.ACCEPTED) for statuses in made]
    assert signal.getsignal(signal.SIGTERM) == asked  # Ray would put its own in its place
    return done


@pytest.mark.parametrize("name", ["local", "processes"])  # Ray's go the same way, but slowly
def test_an_error_in_one_lane_ends_the_run_with_its_sentence(tmp_path, name) -> None:
    make = make_plain(tmp_path, errors=["s005"], duration_s=0.02)
    with pytest.raises(ModelError, match=r"^s005 is too much for this model; take another$"):
        run(make_executor(name), tmp_path, make)
    assert len(noted(tmp_path / "begun.txt")) < 24  # nothing new was begun


@pytest.mark.parametrize(("fault", "told"), [("bugs", "ZeroDivisionError"), ("ends", "SystemExit")])
def test_what_is_no_error_of_ours_ends_the_run_too(tmp_path, fault, told) -> None:
    make = make_plain(tmp_path, **{fault: ["s003"]})
    with pytest.raises(RunError, match=rf"a worker failed:(.|\n)*{told}: s003"):
        run(make_executor("processes", workers=1), tmp_path, make)


def test_a_worker_that_cannot_load_says_why(tmp_path) -> None:
    with pytest.raises(ModelError, match="is incomplete; copy it again"):
        run(make_executor("processes"), tmp_path, partial(fail_to_load, tmp_path))


def test_workers_that_die_while_loading_are_not_replaced_for_ever(tmp_path) -> None:
    executor = make_executor("processes", workers=1)
    with pytest.raises(RunError, match="3 workers ended while they were loading"):
        run(executor, tmp_path, partial(die_while_loading, tmp_path))
    assert len(noted(tmp_path / "begun.txt")) == 3


@pytest.mark.parametrize("name", ELSEWHERE)
def test_only_the_killer_is_given_up(tmp_path, name) -> None:
    """Four lanes, so that innocent batches are under way whenever the killer is."""
    make = make_plain(tmp_path, killers=["s005"], duration_s=0.2)
    made = run(make_executor(name, workers=1, lanes=4), tmp_path, make, size=1)
    assert noted(tmp_path / "given_up.txt") == ["s005"]
    assert sum(made) == 23
    assert noted(tmp_path / "begun.txt").count("s005") == 3  # once with others, twice alone


def test_a_worker_has_its_threads_though_it_imports_torch_late(tmp_path, monkeypatch) -> None:
    """What paints without torch does not wait for it, where no GPU must be chosen."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    executor = ProcessExecutor(workers=1, threads=1)
    run(executor, tmp_path, partial(TorchWorker, tmp_path), count=1)
    has_gpu = any(path.exists() for path in GPU_DEVICES)
    assert noted(tmp_path / "begun.txt") == [f"imported={has_gpu}", "threads=1"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_loading_is_a_stage_until_every_worker_is_ready(tmp_path, name, capsys) -> None:
    lines: list[str] = []
    with show_progress():
        executor = make_executor(name, workers=2)
        make = make_plain(tmp_path, duration_s=0.3)
        with closing(executor.run(make_batches(24, 2), PlainWorker(tmp_path), make)) as made:
            for _ in made:
                shown = show._shown
                assert shown is not None
                lines.append("; ".join(one.describe() for one in shown._open))
    assert capsys.readouterr().err.splitlines() == ["loading the workers: 2 workers"]
    assert lines[-1] == ""  # it is over, and says no more
    for line in lines:
        assert not line.startswith(("0 of 2", "2 of 2"))  # one of them must be ready before


def test_a_backend_that_can_load_ahead_does_so_before_its_worker_is_ready(tmp_path) -> None:
    save_tiny_patch_model(tmp_path / "model")
    config = compose(
        "generate",
        ["debug=smoke", f"backend.model.checkpoint={tmp_path / 'model'}", "run.folder=out"],
    )
    sources = SourceIndex(build_parts(config).sources)
    worker = make_worker(to_plain(config), str(tmp_path / "out"), sources)
    assert worker.stages.backend._painters  # its weights are there


def test_workers_are_not_hired_where_nothing_is_left_to_do(tmp_path) -> None:
    make = partial(die_while_loading, tmp_path)
    assert run(make_executor("processes"), tmp_path, make, count=0) == []
    assert noted(tmp_path / "begun.txt") == []


def test_an_iterator_that_is_closed_ends_its_processes_at_once(tmp_path) -> None:
    make = make_plain(tmp_path, duration_s=600)
    executor = make_executor("processes", workers=1, lanes=2)
    made = executor.run(_first_then_close(tmp_path), PlainWorker(tmp_path), make)
    with pytest.raises(KeyboardInterrupt):
        next(iter(made))  # would take ten minutes


def _first_then_close(folder: Path) -> Iterator[list]:
    """Yield a batch; as the second is asked for, be interrupted as by a second Ctrl-C."""
    batches = make_batches(4, 2)
    yield batches[0]
    raise KeyboardInterrupt


def test_ray_says_what_this_machine_can_never_hold(tmp_path) -> None:
    pytest.importorskip("ray")
    executor = RayExecutor(cpus=10_000)
    with pytest.raises(ConfigError, match=r"executor.cpus=10000, but Ray on this machine has"):
        run(executor, tmp_path, make_plain(tmp_path))


def play(killers: set[str], lanes: int, workers: int, batches: list[list]) -> tuple[Supply, int]:
    """Hand out all batches to workers that die over any killer they have in hand."""
    supply, deaths = Supply(batches), 0
    while not supply.is_empty:
        for _ in range(workers):
            hand = []
            if (suspect := supply.next_suspect()) is not None:
                hand = [suspect]
            while not any(task.is_suspect for task in hand) and len(hand) < lanes:
                if (task := supply.next_fresh()) is None:
                    break
                hand.append(task)
            if any(spec.sample_id in killers for task in hand for spec in task.specs):
                supply.blame(hand)
                deaths += 1
    return supply, deaths


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("killers", [{"s007"}, {"s000", "s001"}, {"s003", "s019"}])
def test_innocent_samples_are_never_given_up(lanes, size, killers) -> None:
    supply, deaths = play(killers, lanes, 2, make_batches(20, size))
    lost = [spec.sample_id for task in supply.lost for spec in task.specs]
    assert sorted(lost) == sorted(killers)
    assert deaths <= 4 * len(killers)


def test_a_batch_that_died_with_others_runs_alone() -> None:
    supply = Supply(make_batches(8, 2))
    first, second = supply.next_fresh(), supply.next_fresh()
    assert first is not None
    assert second is not None
    supply.blame([first, second])
    assert not supply.is_empty
    assert supply.next_suspect() is first
    assert first.is_suspect
    assert supply.lost == []
