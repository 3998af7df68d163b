"""How much of the labels a format cannot hold: IoU of what it holds with the master masks."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.imaging.geometry import overlap

__all__ = ["LabelLoss"]


@dataclass(slots=True)
class _Tally:
    count: int = 0
    total: float = 0.0
    worst: float = 1.0
    worst_id: str = ""


@dataclass(slots=True)
class LabelLoss:
    """What a format did to the masks, by class; a format that holds them exactly adds nothing.

    ``notes``: sentences on what is lost beside the masks.
    """

    by_class: dict[str, _Tally] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(
        self, name: str, sample_id: str, master: NDArray[np.bool_], held: NDArray[np.bool_]
    ) -> None:
        """Compare the mask of one defect, (H, W), with what the format holds of it, (H, W)."""
        iou = overlap(master, held)
        tally = self.by_class.setdefault(name, _Tally())
        tally.count += 1
        tally.total += iou
        if iou < tally.worst:
            tally.worst, tally.worst_id = iou, sample_id

    def add_merged(
        self, name: str, sample_id: str, master: NDArray[np.bool_], held: NDArray[np.bool_]
    ) -> None:
        """Compare the mask of one defect with the pieces of a map that it is found in.

        ``held`` (H, W): all defects of an image, or of a class, in one. What touches, at a corner
        too, counts as one piece.
        """
        _, pieces = cv2.connectedComponents(held.astype(np.uint8), connectivity=8)
        own = np.unique(pieces[master & held])
        self.add(name, sample_id, master, np.isin(pieces, own) & held)

    def note(self, sentence: str) -> None:
        """Say once that something is lost."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def table(self) -> pd.DataFrame:
        """Return one row per class, by name: defects, mean and worst IoU (0..1), and where that is.

        It has neither rows nor columns where nothing was compared.
        """
        return pd.DataFrame(
            [
                {
                    "class": name,
                    "defects": tally.count,
                    "mean_iou": round(tally.total / tally.count, 6),
                    "worst_iou": round(tally.worst, 6),
                    "worst_sample": tally.worst_id,
                }
                for name, tally in sorted(self.by_class.items())
            ]
        )
