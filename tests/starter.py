"""Processes that start at once: forks of one that has imported other people's packages.

``start`` and ``run`` take what Python takes (``-m synthgen generate``, ``-c code``, a script). They
give a real process with its own folder, environment and pipes, which can be killed at any moment.
It imports the project itself; only torch and the like are there already, which take seconds.
``test_wheel`` and others prove that a fresh interpreter does it, too.

For a shell: ``python tests/starter.py ADDRESS -m synthgen generate``, see ``address_of``.

The process that is forked has run nothing and has no threads. It ends when the tests do.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

__all__ = ["Started", "address_of", "run", "start"]

PLAIN = ("numpy", "pandas", "pyarrow.parquet", "cv2", "hydra", "pydantic", "rich.console", "jinja2")
PLAIN += ("scipy.ndimage", "scipy.optimize", "scipy.spatial", "pycocotools.mask", "mlcroissant")
TORCH = ("torch._dynamo", "transformers", "peft", "diffusers.models.autoencoders.vae")
TORCH += ("diffusers.loaders", "diffusers.schedulers")
REVIEW = ("sklearn.linear_model", "plotly.express", "strawberry", "mongoengine", "boto3")
KINDS = {"plain": PLAIN, "review": (*PLAIN, *REVIEW), "all": (*PLAIN, *TORCH, *REVIEW)}
PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL


class Started:
    """A process that runs; like ``subprocess.Popen``, as far as the tests need it."""

    def __init__(self, link: socket.socket, command: list[str], ours: list[IO[str] | None]) -> None:
        self.link, self.command = link, command
        self.stdout, self.stderr = ours
        self.pid = int(_line(link))
        self.returncode: int | None = None

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *failed: object) -> None:
        if failed[0] is not None:
            self.kill()
        self.wait()
        for pipe in (self.stdout, self.stderr):
            if pipe:
                pipe.close()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None:
            self.link.setblocking(False)
            try:
                self.link.recv(1, socket.MSG_PEEK)
                self.link.setblocking(True)
                return self.wait()
            except BlockingIOError:
                pass
            finally:
                self.link.setblocking(True)
        return self.returncode

    def wait(self) -> int:
        """Wait for the end; return the exit code, negative where a signal ended it."""
        if self.returncode is None:
            self.returncode = int(_line(self.link))
            self.link.close()
        return self.returncode

    def said(self) -> str:
        """Return what it says on stderr until its end."""
        return self.stderr.read() if self.stderr else ""

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def start(
    *arguments: str,
    kind: str = "plain",
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | None = DEVNULL,
    stderr: int | None = PIPE,
) -> Started:
    """Start Python with arguments; ``kind``: which packages are there at once."""
    theirs = [os.open(os.devnull, os.O_RDWR)]
    ours: list[IO[str] | None] = []
    for wanted in (stdout, stderr):
        if wanted == PIPE:
            read, write = os.pipe()
            ours.append(os.fdopen(read, encoding="utf-8"))
            theirs.append(write)
        else:
            ours.append(None)
            theirs.append(os.open(os.devnull, os.O_RDWR))
    link = _ask(address_of(kind), list(arguments), cwd, env, theirs)
    for one in theirs:
        os.close(one)
    return Started(link, list(arguments), ours)


def run(
    *arguments: str,
    kind: str = "plain",
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run Python with arguments to its end; return its exit code and what it said."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with open(os.devnull, "rb") as nothing:
            files = [nothing.fileno(), out.fileno(), err.fileno()]
            link = _ask(address_of(kind), list(arguments), cwd, env, files)
        code = Started(link, list(arguments), [None, None]).wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(io.TextIOWrapper(io.BytesIO(file.read()), encoding="utf-8").read())
    return subprocess.CompletedProcess(list(arguments), code, *texts)


@cache
def address_of(kind: str) -> str:
    """Return the address of the process that is forked, started where none was."""
    address = f"{tempfile.mkdtemp(prefix='start-')}/socket"
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, __file__, "--serve", address, *KINDS[kind]]
    forked = subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE)
    assert forked.stdin is not None
    assert forked.stdout is not None
    assert forked.stdout.readline() == b"up\n"
    atexit.register(forked.communicate)
    return address


def _ask(
    address: str,
    arguments: list[str],
    cwd: Path | str | None,
    env: Mapping[str, str] | None,
    files: list[int],
) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.connect(address)
    asked = {
        "arguments": arguments,
        "cwd": str(cwd or os.getcwd()),
        "env": dict(os.environ if env is None else env),
    }
    socket.send_fds(link, [b"."], files)
    link.sendall(json.dumps(asked).encode() + b"\n")
    return link


def _line(link: socket.socket) -> str:
    found = b""
    while not found.endswith(b"\n"):
        more = link.recv(1) if len(found) < 20 else link.recv(1 << 16)
        if not more:
            raise RuntimeError("the process that is forked has ended")
        found += more
    return found.decode()


def serve(address: str, packages: list[str]) -> None:
    """Fork for whoever asks, until stdin is closed."""
    del sys.path[0]  # the folder of the tests
    for name in packages:
        try:
            __import__(name)
        except ImportError:  # of an extra that is not installed
            continue
    watch = selectors.DefaultSelector()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(100)
    watch.register(listener, selectors.EVENT_READ, ("ask", 0))
    watch.register(sys.stdin, selectors.EVENT_READ, ("end", 0))
    print("up", flush=True)
    links: dict[int, socket.socket] = {}
    while True:
        for key, _ in watch.select():
            what, child = key.data
            if what == "end":
                for one in links:
                    os.kill(one, signal.SIGKILL)
                os.unlink(address)
                os.rmdir(os.path.dirname(address))
                return
            if what == "ask":
                link, _ = listener.accept()
                child = _fork(link, [listener, watch, *links.values()])
                links[child] = link
                watch.register(os.pidfd_open(child), selectors.EVENT_READ, ("over", child))
                watch.register(link, selectors.EVENT_READ, ("left", child))
            elif what == "left" and child in links:  # nobody waits for it any more
                os.kill(child, signal.SIGKILL)
                watch.unregister(key.fileobj)
            elif what == "over":
                watch.unregister(key.fileobj)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                link = links.pop(child)
                if link in [one.fileobj for one in watch.get_map().values()]:
                    watch.unregister(link)
                    link.sendall(f"{code}\n".encode())
                link.close()


def _fork(link: socket.socket, ours: list[Any]) -> int:
    _, files, _, _ = socket.recv_fds(link, 1, 3)
    asked = json.loads(_line(link))
    child = os.fork()
    if not child:
        for one in ours:
            one.close()
        link.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, 1024)
        _become(asked["arguments"], asked["cwd"], asked["env"])
    for file in files:
        os.close(file)
    link.sendall(f"{child}\n".encode())
    return child


def _become(arguments: list[str], cwd: str, env: dict[str, str]) -> None:
    """Run what Python was asked to run, and end as Python does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.stdin = os.fdopen(0)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
    if env.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)
    what, *rest = arguments
    code: Any = 0
    try:
        sys.path[:0] = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
        if what == "-m":
            sys.path.insert(0, cwd)
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif what == "-c":
            sys.path.insert(0, "")
            sys.argv = ["-c", *rest[1:]]
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            exec(compile(rest[0], "<string>", "exec"), main.__dict__)
        else:
            sys.path.insert(0, str(Path(what).resolve().parent))
            sys.argv = arguments
            runpy.run_path(what, run_name="__main__")
    except SystemExit as ended:
        code = ended.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except KeyboardInterrupt:
        traceback.print_exc()
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        if code == -signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(code)


def main() -> None:
    if sys.argv[1] == "--serve":
        serve(sys.argv[2], sys.argv[3:])
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        link = _ask(sys.argv[1], sys.argv[2:], None, None, [0, 1, 2])
        _line(link)
        sys.exit(int(_line(link)) % 256)


if __name__ == "__main__":
    main()
