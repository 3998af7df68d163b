"""Is a painted defect a copy of a real one that the model has seen? How visible are real ones?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.geometry import grow_mask, mask_window
from synthgen.planning.plan import DefectClass
from synthgen.quality.near_duplicates import bits_between, perceptual_hash
from synthgen.quality.realised import close_gaps, delta_e, realise_mask
from synthgen.references.items import BankItem
from synthgen.samples.sample import Candidate, Measurement

__all__ = ["DefectBank", "measure_visible"]

NEAR_PX = 5  # around a defect: where its soft edge may be
VIEWS = 8  # of one item: turned and mirrored


class DefectBank:
    """The perceptual hashes of real defects, each turned by quarters and mirrored: eight views."""

    def __init__(self, items: Iterable[BankItem]) -> None:
        self._hashes: list[str] = []
        for item in items:
            for turn in range(VIEWS // 2):
                one, its_mask = np.rot90(item.crop, turn), np.rot90(item.mask, turn)
                self._hashes.append(_hash(one, its_mask))
                self._hashes.append(_hash(one[:, ::-1], its_mask[:, ::-1]))

    def measure(self, candidate: Candidate) -> tuple[Measurement, ...]:
        """Return ``real_bits``, and ``reference_delta_e`` where a reference defect was followed."""
        bits = self.nearest_bits(candidate.image, candidate.realised_mask)
        found = (Measurement("real_bits", bits),)
        if not candidate.condition.spec.reference:
            return found
        return (*found, Measurement("reference_delta_e", away_from_reference(candidate)))

    def nearest_bits(self, image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
        """Return in how many of 64 bits a defect differs from the most alike real one.

        By the perceptual hash of the 96 px around the label; see ``perceptual_hash``. NaN where
        there is no label or no real defect.
        """
        found = self.find_nearest(perceptual_hash(image, mask))
        return float("nan") if found is None else float(found[1])

    def find_nearest(self, hash_: str) -> tuple[int, int] | None:
        """Return the number of the most alike item, from 0, and in how many bits it differs.

        ``hash_``: 16 hexadecimal digits. None where that is '' or there are no items.
        """
        if not hash_ or not self._hashes:
            return None
        bits = [bits_between(hash_, real) for real in self._hashes]
        return bits.index(min(bits)) // VIEWS, min(bits)


def measure_visible(item: BankItem) -> BankItem:
    """Return a real defect with how it would be labelled, as if it were a sample.

    ``visible_fraction``: the share of its mask, 0..1, that visibly differs from the surface without
    it. ``label_iou``: how much that label and the mask have in common, 0..1.
    """
    near = grow_mask(item.mask, NEAR_PX)
    if item.others is not None:
        near &= ~item.others
    shown = np.where(near[..., None], item.crop, item.clean)
    seen = realise_mask(item.clean, shown, near, item.mask)
    label = close_gaps(seen, DefectClass.close_px) & near
    fit = (label & item.mask).sum() / (label | item.mask).sum()
    visible = seen[item.mask].mean()
    return replace(item, visible_fraction=round(float(visible), 3), label_iou=round(float(fit), 3))


def away_from_reference(candidate: Candidate) -> float:
    """Return the mean Delta E between what was painted and the reference defect in the same shape
    and place.

    The sketch is the reference defect's change, deformed and laid there: registered by how it was
    made. 0 = pasted as it was.
    """
    mask = candidate.condition.defect_mask
    window = mask_window(mask, 0)
    painted, reference = candidate.image[window], candidate.condition.sketch[window]
    return float(delta_e(painted, reference)[mask[window]].mean())


def _hash(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    return perceptual_hash(np.ascontiguousarray(image), np.ascontiguousarray(mask))
