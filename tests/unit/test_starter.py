"""A fork of the tests' starter is a process like any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests import starter


def test_it_has_its_own_folder_environment_and_modules(tmp_path) -> None:
    (tmp_path / "own.py").write_text("import sys; print(__name__); sys.exit('over')")
    told = "import json, os, sys; import own; "
    code = "print(json.dumps([os.getcwd(), dict(os.environ), sys.argv, 'synthgen' in sys.modules]))"
    done = starter.run("-c", "import json, os, sys; " + code, "a", cwd=tmp_path, env={"A": "1"})
    assert json.loads(done.stdout) == [str(tmp_path), {"A": "1"}, ["-c", "a"], False]
    for arguments in (("-m", "own"), ("own.py",)):
        done = starter.run(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (1, "__main__\n", "over\n")
    done = starter.run("-c", told, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "own\n")
    done = starter.run("-c", "1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_it(number) -> None:
    code = "import time; print('up', flush=True); time.sleep(600)"
    with starter.start("-c", code, stdout=starter.PIPE) as begun:
        assert begun.stdout is not None
        assert begun.stdout.readline() == "up\n"
        assert begun.poll() is None
        assert begun.pid != os.getpid()
        begun.send_signal(number)
        assert begun.wait() == -number


def test_what_is_left_behind_at_the_end_is_done() -> None:
    code = "import atexit, threading, time; atexit.register(print, 'last'); "
    code += "threading.Thread(target=lambda: (time.sleep(0.05), print('first'))).start()"
    assert starter.run("-c", code).stdout == "first\nlast\n"


def test_a_shell_reaches_it() -> None:
    start = f"{sys.executable} -S -E {starter.__file__} {starter.address_of('plain')}"
    command = f"echo hello | {start} -c 'print(input()); raise SystemExit(3)'"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "hello\n")
