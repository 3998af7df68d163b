from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from synthgen.errors import RunError
from synthgen.storage.files import remove_leftovers
from synthgen.storage.objects import ObjectStorage
from synthgen.storage.places import LocalFolder, StoredFile, open_storage


@pytest.fixture(params=["local", "memory", "s3"])
def storage(request, tmp_path):
    if request.param == "s3":
        return open_storage(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")
    return open_storage(tmp_path / "run" if request.param == "local" else f"memory://{tmp_path}")


def test_what_is_written_is_read(storage) -> None:
    assert storage.names() == storage.names("images") == []
    storage.write("images/a.png", b"old")
    storage.write("images/a.png", b"0123456789")
    storage.write("images/b.png", b"")
    storage.write("run.yaml", b"x: 1")
    assert storage.read("images/a.png") == b"0123456789"
    assert storage.read("images/a.png", 3, 4) == b"3456"
    assert storage.read("images/a.png", 8) == b"89"
    assert storage.read("images/b.png") == b""
    assert storage.names() == ["images", "run.yaml"]
    assert storage.names("images") == ["a.png", "b.png"]
    assert storage.exists("images/a.png")
    assert not storage.exists("images")
    assert not storage.exists("images/c.png")
    with pytest.raises(FileNotFoundError):
        storage.read("images/c.png")
    with pytest.raises(FileNotFoundError):
        storage.read("images/a.png/c.png")


def test_what_is_removed_is_gone(storage) -> None:
    for name in ("shards/1.json", "shards/2.json"):
        storage.write(name, b"{}")
    storage.remove("shards/1.json")
    storage.remove("shards/1.json")
    assert storage.names("shards") == ["2.json"]


def test_files_say_what_and_where_they_are(storage) -> None:
    storage.write("images/pit.1.PNG", b"0123")
    file = pickle.loads(pickle.dumps(StoredFile(storage, "images/pit.1.PNG")))
    assert (file.name, file.stem, file.suffix) == ("pit.1.PNG", "pit.1", ".PNG")
    assert str(file) == f"{storage.location}/images/pit.1.PNG"
    assert (file.read_bytes(), file.read_head(2), file.is_file()) == (b"0123", b"01", True)
    assert (file.local is not None) == isinstance(storage, LocalFolder)
    assert not StoredFile(storage, "images/other.png").is_file()


def test_a_local_file_is_itself(tmp_path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    file = StoredFile.at(tmp_path / "x.png")
    assert file.local == tmp_path / "x.png"
    assert str(file) == str(tmp_path / "x.png")
    assert open_storage(f"file://{tmp_path}") == open_storage(str(tmp_path))


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("s3://no-such-bucket/run", "no bucket 'no-such-bucket'"),
        ("nowhere://x/run", "nowhere"),
        ("s3:/bucket/run", "write s3://bucket/run"),
    ],
)
def test_an_impossible_address_is_one_sentence(bucket, location, sentence) -> None:
    with pytest.raises(RunError, match=sentence):
        open_storage(location)


def test_an_unreachable_server_is_told_at_once(bucket, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(RunError, match=r"s3://unseen/run cannot be reached: .*connect"):
        open_storage("s3://unseen/run")


def test_a_server_that_hangs_up_is_asked_once(bucket, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls: list[object] = []

        def hang_up() -> None:
            with suppress(OSError):  # the end of the test
                while True:
                    caller, address = server.accept()
                    calls.append(address)
                    caller.close()

        threading.Thread(target=hang_up, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(RunError, match="s3://unseen/run cannot be reached"):
            open_storage("s3://unseen/run")
        assert len(calls) == 1
        server.shutdown(socket.SHUT_RDWR)


def test_what_cannot_be_asked_is_not_taken_for_missing(bucket, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(RunError, match="cannot be reached"):
        ObjectStorage("s3://unseen/run").exists("run.yaml")


def test_what_is_too_large_to_be_held_is_refused(tmp_path, bucket, monkeypatch) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(5 << 30)  # a hole: nothing of it is on the disk
    with pytest.raises(RunError, match=r"huge\.png is larger than 4 GiB; it is not read"):
        LocalFolder(tmp_path).read("huge.png")
    storage = open_storage(f"{bucket}/large")
    storage.write("a.png", bytes(3000))
    monkeypatch.setattr("synthgen.storage.files.MAX_BYTES", 2000)
    with pytest.raises(RunError, match=r"large/a\.png is larger than"):
        storage.read("a.png")
    assert storage.read("a.png", 1000, 2000) == bytes(2000)


def test_a_full_disk_leaves_no_half_file(tmp_path) -> None:
    code = """
import resource, sys
from synthgen.errors import RunError
from synthgen.storage.places import open_storage
storage = open_storage(sys.argv[1])
storage.write("images/a.png", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    storage.write("images/a.png", bytes(5000))
except RunError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"cannot write {tmp_path}/images/a.png: File too large"
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["a.png"]
    assert (tmp_path / "images" / "a.png").read_bytes() == b"old"


def test_what_cannot_be_read_or_listed_is_one_sentence(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot list"):
        open_storage(tmp_path / "file").names()
    with pytest.raises(RunError, match="cannot read"):
        open_storage(Path(tmp_path)).read("")


def test_leftovers_of_a_killed_process_go_before_it_is_waited_for(tmp_path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        left, own = (tmp_path / f".a.{pid}-1.tmp.png" for pid in (child.pid, os.getpid()))
        left.touch()
        own.touch()
        remove_leftovers(tmp_path)
        assert left.exists()
        child.kill()
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        remove_leftovers(tmp_path)
        assert not left.exists()
        assert own.exists()


def test_leftovers_of_another_host_go_after_a_day(tmp_path) -> None:
    import os
    import time

    from synthgen.storage.files import remove_leftovers

    new, old = (tmp_path / f".{name}.01234567-999999999-1.tmp.png" for name in ("new", "old"))
    new.touch()
    old.touch()
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [new.name]


def test_two_hosts_never_write_into_one_temporary_file(tmp_path, monkeypatch) -> None:
    import socket

    from synthgen.storage.files import name_beside

    here = name_beside(tmp_path / "a.png")
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    assert name_beside(tmp_path / "a.png") != here


def test_a_file_that_is_created_is_whole_or_absent_and_never_replaced(tmp_path) -> None:
    storage = open_storage(tmp_path)
    assert storage.create("lock", b"first")
    assert not storage.create("lock", b"second")
    assert storage.read("lock") == b"first"
    assert storage.names() == ["lock"]
