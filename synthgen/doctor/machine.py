"""What the machine has: processors, memory, disk, a database server, a browser."""

from __future__ import annotations

import contextlib
import glob
import importlib
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import psutil

from synthgen.review.service.database import find_mongod

__all__ = ["Facts", "find_chromium", "find_machine", "torch_error"]

Facts = dict[str, str]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SHIPPED_BROWSERS = (
    "~/.cache/ms-playwright/chromium*/chrome-linux*/chrome",
    "~/.cache/ms-playwright/chromium*/chrome-linux*/headless_shell",
)
WAIT_S = 3.0  # for a program to say its version


def find_machine(folder: Path) -> Facts:
    """Return what the machine has, as texts in the order in which they are shown.

    The disk is that of ``folder``. Sizes are in GiB; cores are those that this process may use.
    """
    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "CPU": f"{cores} of {os.cpu_count()} cores to use",
        **_torch_devices(),
        "memory free": f"{_gib(memory.available)} of {_gib(memory.total)}",
        "disk free": f"{_gib(shutil.disk_usage(folder).free)} in the working folder",
        "mongod": _describe_program(find_mongod(), r"v(\d[\d.]*)"),
        "Chromium": _describe_program(find_chromium(), r"(\d+\.[\d.]+)"),
    }


def torch_error() -> str:
    """Return why torch cannot be used, in one line, '' where it can; this imports torch."""
    try:
        importlib.import_module("torch")
    except Exception as error:  # a broken library raises what it likes
        return (str(error).splitlines() or [type(error).__name__])[0]
    return ""


def _torch_devices() -> Facts:
    """Return torch's threads, whether the CPU computes in bf16, and the GPUs, numbered from 0."""
    if error := torch_error():
        return {"GPU": f"not known, as torch does not load: {error}"}
    torch = importlib.import_module("torch")
    flags = ""
    with contextlib.suppress(OSError):  # only Linux has this file
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    has_bf16 = re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", flags) is not None
    facts = {
        "threads": f"{torch.get_num_threads()} of torch, unless backend.hardware.threads says so",
        "bf16 on the CPU": "in hardware" if has_bf16 else "emulated, slow",
    }
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(count):
        gpu = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        bf16 = "bf16" if (gpu.major, gpu.minor) >= (8, 0) else "no bf16 in hardware"
        facts[f"GPU {number}"] = (
            f"{gpu.name}, {_gib(free)} of {_gib(total)} free, "
            f"compute capability {gpu.major}.{gpu.minor}, {bf16}"
        )
    return facts if count else facts | {"GPU": "none that torch sees"}


def find_chromium() -> str:
    """Return the path of a Chromium, '' = none.

    One on the PATH comes before one that Playwright has downloaded.
    """
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    for pattern in SHIPPED_BROWSERS:
        found += sorted(glob.glob(os.path.expanduser(pattern)))
    return found[0] if found else ""


def _describe_program(path: str, pattern: str) -> str:
    """Return a program's path and version; '' is not found, an address is shown as it is.

    ``pattern`` finds the version, its first group, in what ``--version`` prints.
    """
    if not path or "://" in path:
        return path or "not found"
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=WAIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return f"{path} (does not say its version)"
    found = re.search(pattern, said.stdout)
    return f"{path} {found[1]}" if found else f"{path} (does not say its version)"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
