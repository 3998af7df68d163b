"""Measures of a whole image that was made from another one: is the part still the same?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthgen.control.edges import canny_edges
from synthgen.geometry import grow_mask
from synthgen.quality.measures import black_fraction
from synthgen.quality.realised import to_lab
from synthgen.sample import Candidate, Measurement

__all__ = ["VARIED", "edge_agreement", "measure_varied"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
VARIED = ("edge_f1", "varied_delta_e", "black_fraction")  # what is measured


def edge_agreement(
    control_image: Image,
    source: Image,
    painted: Image,
    repaint_mask: Mask,
    tolerance_px: int = 2,
) -> float:
    """Return F1 of the control image's edges and Canny's in the painted image, 0..1.

    Both inside the repaint mask; an edge is met where the other has one within ``tolerance_px``
    (as in the boundary measure of Martin et al. 2004, https://doi.org/10.1109/TPAMI.2004.1273918).
    Edges that the source has there anyway are not held against the painting. NaN where the control
    image has no edge.
    """
    asked = (control_image.max(axis=2) > 127) & repaint_mask
    if not asked.any():
        return float("nan")
    found = (canny_edges(painted) > 0) & repaint_mask
    recall = float(grow_mask(found, tolerance_px)[asked].mean())
    near = grow_mask(asked, tolerance_px)
    found &= near | ~grow_mask(canny_edges(source) > 0, tolerance_px)
    precision = float(near[found].mean()) if found.any() else 0.0
    return 2 * recall * precision / max(recall + precision, 1e-9)


def measure_varied(candidate: Candidate) -> tuple[Measurement, ...]:
    """Return what says whether a varied image still shows the part of its source.

    ``edge_f1``: agreement of its Canny edges with the source's, whatever guided the painting.
    ``varied_delta_e``: mean CIELAB change, so that one can see that it varies at all.
    """
    source, image = candidate.condition.image, candidate.image
    everywhere = candidate.condition.repaint_mask
    edges = np.repeat(canny_edges(source)[..., None], 3, axis=2)
    change = np.linalg.norm(to_lab(image) - to_lab(source), axis=2).mean()
    return (
        Measurement("edge_f1", edge_agreement(edges, source, image, everywhere)),
        Measurement("varied_delta_e", float(change)),
        Measurement("black_fraction", black_fraction(source, image, everywhere)),
    )
