"""controlnet-aux: aligned to the pixel whatever it rounds to; weights from a local folder."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from synthgen.control.annotators import AuxControl
from synthgen.errors import ConfigError, ModelError

pytest.importorskip("timm")


def run_apart(code: str) -> str:
    """Run in a process of its own: importing controlnet-aux warns, and changes timm's registry."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


CHECK = """
import cv2, numpy as np
from synthgen.control.annotators import AuxControl
image = np.full((101, 147, 3), 200, np.uint8)
cv2.line(image, (40, 0), (40, 100), (30, 30, 30), 3)
for size in ((101, 147), (64, 64), (130, 70)):
    crop = np.ascontiguousarray(np.resize(image, (*size, 3)))
    assert control.annotate(crop).shape == size
edges = control.annotate(image)
assert edges.shape == (101, 147) and edges.dtype == np.uint8
"""


def test_lineart_lies_on_the_image() -> None:
    run_apart(
        "from synthgen.control.annotators import AuxControl\ncontrol = AuxControl('lineart')\n"
        + CHECK
        + "column = np.convolve(edges.astype(float).mean(axis=0), np.ones(9) / 9, 'same')\n"
        + "assert abs(int(column.argmax()) - 40) <= 3, column.argmax()\n"
    )


@pytest.mark.parametrize("detector", ["hed", "pidinet"])
def test_detectors_with_weights_read_a_local_folder(tmp_path, detector) -> None:
    save = {
        "hed": "from controlnet_aux.hed import ControlNetHED_Apache2 as net\n"
        "torch.save(net().state_dict(), folder + '/ControlNetHED.pth')\n",
        "pidinet": "from controlnet_aux.pidi.model import pidinet as net\n"
        "torch.save({'state_dict': net().state_dict()}, folder + '/table5_pidinet.pth')\n",
    }[detector]
    run_apart(
        f"import torch\nfolder = {str(tmp_path)!r}\n"
        + save
        + "from synthgen.control.annotators import AuxControl\n"
        + f"control = AuxControl({detector!r}, folder)\n"
        + CHECK
    )


def test_missing_weights_and_unknown_detectors(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"ControlNetHED\.pth in control\.folder"):
        AuxControl("hed", str(tmp_path))
    with pytest.raises(ConfigError, match=r"control\.detector='sobel'"):
        AuxControl("sobel")
