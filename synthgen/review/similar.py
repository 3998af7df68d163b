"""What looks alike: an embedding of every label, for the App's map and its search by likeness.

The features are those by which near duplicates are found: the perceptual hash and the colours
around the label, as the manifest has them; no picture is read again and no model is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.review.fields import IMAGE
from synthgen.runs.reader import RunTables

__all__ = ["embed_samples", "features_of", "project"]

POINTS, SIMILAR = "map", "similarity"  # keys of FiftyOne's brain
MIN = 3  # samples of which a map can be drawn
HASH_WEIGHT = 8.0  # of one bit of 64, beside Delta E of one of 48 colour numbers


def features_of(manifest: pd.DataFrame) -> NDArray[np.float32]:
    """Return (N, 112) features of rows with a perceptual hash: its 64 bits, then 48 colours.

    A bit is 0 or ``HASH_WEIGHT``. The colours are 16 of CIELAB, row by row (see ``colours_of``).
    """
    hashes = b"".join(bytes.fromhex(text) for text in manifest["perceptual_hash"])
    colours = b"".join(bytes.fromhex(text) for text in manifest["colours"])
    bits = np.unpackbits(np.frombuffer(hashes, np.uint8)).reshape(len(manifest), 64)
    tones = np.frombuffer(colours, np.uint8).reshape(len(manifest), 48)
    return np.hstack([bits * HASH_WEIGHT, tones.astype(np.float32) - 128]).astype(np.float32)


def project(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return features (N, D) on their first two principal axes, (N, 2); N and D are 2 or more."""
    centred = features.astype(np.float64) - features.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(centred @ axes[:2].T)


def embed_samples(fiftyone: Any, dataset: Any, run: RunTables) -> None:
    """Store the map and the search by likeness of all labelled samples in the dataset.

    Those of an earlier push are replaced. Fewer than ``MIN`` samples get neither.
    """
    import fiftyone.brain as brain

    shown = run.manifest[(run.manifest["perceptual_hash"] != "") & (run.manifest["image"] != "")]
    if len(shown) < MIN:
        return
    features = dict(zip(shown["sample_id"], features_of(shown), strict=True))
    view = dataset.select_group_slices(IMAGE).match(
        fiftyone.ViewField("synthgen_id").is_in(list(features))
    )
    rows = np.stack([features[sample_id] for sample_id in view.values("synthgen_id")])
    for key in {POINTS, SIMILAR} & set(dataset.list_brain_runs()):
        dataset.delete_brain_run(key)
    brain.compute_visualization(view, points=project(rows), brain_key=POINTS, progress=False)
    brain.compute_similarity(
        view, embeddings=rows, brain_key=SIMILAR, backend="sklearn", progress=False
    )
