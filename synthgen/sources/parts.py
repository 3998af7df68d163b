"""Shim until parts.py is done."""

import numpy as np
import cv2
from synthgen.sample import Part


def edge_band(mask, width_px):
    inside = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 3)[
        1:-1, 1:-1
    ]
    return mask & (inside <= width_px)


def short_side_px(mask, size_hw):
    if mask is None:
        return float(min(size_hw))
    pts = cv2.findNonZero(mask.astype(np.uint8))
    return float(min(cv2.minAreaRect(pts)[1]))


class PartFinder:
    def __init__(self, photos):
        pass

    def find(self, image):
        return Part(finding="surface", mask=None)


def off_part_fraction(source, label, part):
    return float("nan")
