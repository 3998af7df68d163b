"""The lease on a run: one holder, whatever starts, dies, sleeps or is written by hand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from synthgen.errors import RunError
from synthgen.runs import lock
from synthgen.runs.lock import Lease, hold_run
from synthgen.storage.places import LocalFolder, open_storage


@pytest.fixture
def _short(monkeypatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    monkeypatch.setattr(lock, "STALE_S", 0.5)
    monkeypatch.setattr(lock, "LOOK_S", 0.05)


def describe(path: Path, **changes: object) -> dict[str, object]:
    """Write the lease of a holder, by default of a process of this machine that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    own = lock._describe_self()
    holder = {"host": own.host, "pid": child.pid, "begun": 0.0, "machine": own.machine}
    held = {**holder, "token": "t", "stamp": 1, "seen": 0.0, **changes}
    path.write_text(json.dumps(held), encoding="utf-8")
    return held


ELSEWHERE = {"host": "elsewhere", "machine": "elsewhere", "pid": 1}


def test_of_many_starters_one_takes_a_stale_lease_over(tmp_path) -> None:
    for _ in range(20):
        describe(tmp_path / ".run.lock")
        starters = [Lease(str(tmp_path / "run")) for _ in range(8)]
        took, barrier = [], threading.Barrier(len(starters))

        def start(lease: Lease) -> None:
            barrier.wait()  # noqa: B023
            try:
                lease.take()
                took.append(lease)  # noqa: B023
            except RunError:  # it is held
                return

        threads = [threading.Thread(target=start, args=(lease,)) for lease in starters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(took) == 1
        stored = json.loads((tmp_path / ".run.lock").read_text(encoding="utf-8"))
        assert stored["token"] == took[0]._own.token
        took[0].give_back()
        assert list(tmp_path.iterdir()) == []


def test_a_slow_starter_leaves_the_lease_of_a_quick_one_alone(tmp_path, monkeypatch) -> None:
    """The slow one finds the holder gone, then sleeps while the quick one takes over."""
    describe(tmp_path / ".run.lock")
    quick, slow = Lease(str(tmp_path / "run")), Lease(str(tmp_path / "run"))
    look = lock._is_gone

    def look_and_sleep(*arguments):
        found = look(*arguments)
        monkeypatch.setattr(lock, "_is_gone", look)
        quick.take()
        return found

    monkeypatch.setattr(lock, "_is_gone", look_and_sleep)
    with pytest.raises(RunError, match="is held by process"):
        slow.take()
    stored = json.loads((tmp_path / ".run.lock").read_text(encoding="utf-8"))
    assert stored["token"] == quick._own.token
    quick.give_back()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("seen", [0.0, 4e9])
def test_a_holder_elsewhere_is_judged_by_its_stamp_not_by_its_clock(tmp_path, seen) -> None:
    path = tmp_path / ".run.lock"
    held, over = describe(path, **ELSEWHERE, seen=seen), threading.Event()

    def beat() -> None:
        stamp = 1
        while not over.wait(0.05):
            stamp += 1
            LocalFolder(tmp_path).write(path.name, json.dumps(held | {"stamp": stamp}).encode())

    beats = threading.Thread(target=beat)
    beats.start()
    with pytest.raises(RunError, match="is held by process 1 on elsewhere"):
        Lease(str(tmp_path / "run")).take()
    over.set()
    beats.join()
    with hold_run(str(tmp_path / "run")):
        assert json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid()
    assert not path.exists()


@pytest.mark.usefixtures("_short")
def test_another_process_with_the_number_of_a_dead_one_is_watched(tmp_path) -> None:
    describe(tmp_path / ".run.lock", pid=os.getpid(), begun=5.0)
    with hold_run(str(tmp_path / "run")):
        pass


def test_a_lease_of_the_version_before_is_read(tmp_path) -> None:
    process = psutil.Process()
    old = {"host": socket.gethostname(), "pid": process.pid, "begun": process.create_time()}
    (tmp_path / ".run.lock").write_text(json.dumps(old | {"seen": 0.0}), encoding="utf-8")
    with pytest.raises(RunError, match=f"is held by process {process.pid} on"):
        Lease(str(tmp_path / "run")).take()


def test_a_link_to_a_run_is_that_run(tmp_path) -> None:
    real, link = tmp_path / "disk" / "real", tmp_path / "link"
    real.mkdir(parents=True)
    link.symlink_to(real)
    with hold_run(str(link)):
        assert (real.parent / ".real.lock").exists()
        for other in (str(real), f"file://{real}", f"{real}/../real"):
            with pytest.raises(RunError, match="is held by"):
                Lease(other).take()
    assert [path.name for path in real.parent.iterdir()] == ["real"]


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b"null",
        b'{"host": "h", "pid": "x", "begun": 1}',
        b'{"host": "h", "pid": -5, "begun": 1}',
        b'{"host": "h", "pid": 99999999999999999999, "begun": 1}',
        b'{"host": "h", "pid": 5, "begun": NaN}',
        b'{"host": ["h"], "pid": 5, "begun": 1}',
    ],
)
def test_a_lock_file_of_any_content_gives_a_sentence(tmp_path, content) -> None:
    path = tmp_path / ".run.lock"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"\.run\.lock .*; delete it if none does$"):
        Lease(str(tmp_path / "run")).take()
    assert path.read_bytes() == content


@pytest.mark.usefixtures("_short")
def test_only_the_owner_renews_and_removes_a_lease(tmp_path) -> None:
    path = tmp_path / ".run.lock"
    with hold_run(str(tmp_path / "run")) as lease:
        lease.check()
        wait_until(lambda: json.loads(path.read_text(encoding="utf-8"))["stamp"] > 2)
        other = json.dumps(describe(tmp_path / "other", **ELSEWHERE)).encode()
        LocalFolder(tmp_path).write(path.name, other)
        wait_until(lambda: lease._taken_by is not None)
        with pytest.raises(RunError, match=r"process 1 on elsewhere took .*run over"):
            lease.check()
        assert path.read_bytes() == other
    assert path.read_bytes() == other


@pytest.mark.usefixtures("_short")
def test_a_lease_that_somebody_deleted_is_written_again(tmp_path) -> None:
    path = tmp_path / ".run.lock"
    with hold_run(str(tmp_path / "run")):
        path.unlink()
        wait_until(path.exists)
    assert not path.exists()


def test_a_taker_that_died_halfway_does_not_block_the_run(tmp_path) -> None:
    describe(tmp_path / ".run.lock")
    describe(tmp_path / ".run.lock.t", token="taker")
    describe(tmp_path / ".run.lock.before", token="one more")  # it died when it had taken over
    describe(tmp_path / ".run.lock-of-another.lock")
    with hold_run(str(tmp_path / "run")):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".run.lock-of-another.lock"]


@pytest.mark.parametrize("root", ["", "/folder/run"])
def test_a_run_in_object_storage_is_held_and_taken_over(bucket, tmp_path, root) -> None:
    parent = bucket + root.removesuffix("/run")
    storage, name = open_storage(parent), ".run.lock"
    held = describe(tmp_path / "lock")
    storage.write(name, json.dumps(held).encode())
    with hold_run(bucket + root) as lease:
        assert json.loads(storage.read(name))["token"] == lease._own.token
        with pytest.raises(RunError, match="is held by process"):
            Lease(bucket + root).take()
    assert not [left for left in storage.names() if left.startswith(name)]


def wait_until(is_so) -> None:
    while not is_so():
        time.sleep(0.02)
