"""What every test needs: one thread, no network, and the sources of a small run."""

from __future__ import annotations

import gc
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator

import absl.logging
import cv2
import pytest
import torch

from tests.config_files import read_once
from tests.object_storage import serve_bucket

read_once()
cv2.setNumThreads(1)
# where logging is set up again, absl closes the stream that it was given: here one of pytest
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__
LONGEST = ("pipelines", "browser", "fuzz", "contracts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders of the longest files first, so that processes side by side end together."""
    items.sort(key=lambda item: not any(folder in item.path.parts for folder in LONGEST))


def pytest_configure() -> None:
    """Look for no garbage while packages are imported: they stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave the million objects of packages and tests out of every search for garbage."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of an empty bucket on a server of its own."""
    with serve_bucket() as address:
        yield address
