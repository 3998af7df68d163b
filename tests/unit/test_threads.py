"""What belongs to the whole process, where several lanes use it at the same time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import warnings

import cv2
import numpy as np
import pytest
import torch

from synthgen.backends.diffusion.threads import count_idle_cores, pick_threads, tell_busy_cores
from synthgen.conditioning.augment import TorchvisionAugment
from synthgen.imaging.silence import silent_opencv, silent_warnings
from synthgen.progress import show_progress
from synthgen.samples.seeds import seeded_torch


def overlap(first, second) -> None:
    """Enter one context, then the other in another thread, and leave them in that order."""
    inside, left = threading.Event(), threading.Event()

    def run_second() -> None:
        with second:
            inside.set()
            left.wait()

    other = threading.Thread(target=run_second)
    with first:
        other.start()
        inside.wait()
    left.set()
    other.join()


def test_warnings_are_shown_again_after_two_lanes_were_silent() -> None:
    before = list(warnings.filters)
    overlap(silent_warnings, silent_warnings)
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="shown"):
        warnings.warn("shown", stacklevel=1)


def test_opencv_speaks_again_after_two_lanes_were_silent() -> None:
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
    try:
        overlap(silent_opencv, silent_opencv)
        assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_WARNING
    finally:
        cv2.utils.logging.setLogLevel(before)


def fail_silently() -> None:
    with silent_warnings:
        warnings.warn("not shown", stacklevel=1)
        raise ZeroDivisionError


def test_a_silence_ends_where_something_is_raised() -> None:
    before = list(warnings.filters)
    with pytest.raises(ZeroDivisionError):
        fail_silently()
    assert warnings.filters == before


def test_one_lane_paints_while_another_augments_by_torch() -> None:
    """Both draw from torch's own generator: each must find the numbers of its own seed."""
    pytest.importorskip("torchvision")
    augment = TorchvisionAugment([{"name": "GaussianNoise"}])
    image = np.full((32, 32, 3), 120, np.uint8)
    alone = augment(np.random.default_rng(3), [image], [])[0][0]
    with seeded_torch(7):
        expected = torch.rand(4)
    inside, varied = threading.Event(), list[np.ndarray]()

    def vary() -> None:
        inside.wait()
        varied.append(augment(np.random.default_rng(3), [image], [])[0][0])

    other = threading.Thread(target=vary)
    other.start()
    state = torch.random.get_rng_state()
    with seeded_torch(7):
        first = torch.rand(2)
        inside.set()
        other.join(timeout=0.5)  # it waits for this lane, so this runs out
        drawn = torch.cat([first, torch.rand(2)])
    other.join()
    assert torch.equal(drawn, expected)
    assert np.array_equal(varied[0], alone)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA")
def test_noise_that_is_drawn_on_a_gpu_is_the_samples_own() -> None:
    device = torch.device("cuda")
    drawn = []
    for seed in (1, 2, 1):
        with seeded_torch(seed, device):
            drawn.append(torch.randn(4, device=device))
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_idle_cores_are_those_of_this_process_that_others_leave() -> None:
    cores, idle = count_idle_cores()
    assert cores == len(os.sched_getaffinity(0))
    assert 0 <= idle <= cores


def test_a_core_that_another_process_burns_is_not_idle() -> None:
    core = min(before := os.sched_getaffinity(0))
    burn = f"import os; os.sched_setaffinity(0, {{{core}}})\nprint(1, flush=True)\nwhile True: pass"
    os.sched_setaffinity(0, {core})  # this thread alone
    other = subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.read(1)
        assert count_idle_cores()[1] < 0.5
    finally:
        other.kill()
        other.communicate()
        os.sched_setaffinity(0, before)


def test_threads_are_as_asked_or_as_many_as_there_are_idle_cores(capsys) -> None:
    with show_progress():
        assert pick_threads(7, "adapt.threads") == 7
        assert capsys.readouterr().err == ""
        assert pick_threads(None, "adapt.threads") == 1  # conftest gives torch one
        tell_busy_cores(1, "backend.hardware.threads")
        told = capsys.readouterr().err
        assert re.fullmatch(
            r"[\d.]+ of \d+ cores are idle: 1 CPU thread; adapt.threads gives another number\n",
            told,
        )
        tell_busy_cores(10_000, "backend.hardware.threads")
    assert re.search(
        r"note: .* and 10000 threads wait for each other; backend.hardware.threads=\d+ is likely",
        capsys.readouterr().err,
    )
