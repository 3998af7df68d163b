"""How well painted defects are told from real ones, on features that have seen photographs.

A linear probe that learns to tell two sets apart and is asked on photos that it has not seen: an
AUC of .5 means that it cannot. KID is the distance between the sets; the nearest real crop says
how far a single one is from what is real.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from synthgen.errors import ConfigError
from synthgen.evaluation.fidelity.distance import measure_kid
from synthgen.evaluation.realism.crops import PAINTED, PASTED, REAL, DefectCrop, deal_folds
from synthgen.evaluation.score import Score
from synthgen.samples.arrays import Image
from synthgen.samples.seeds import stream
from synthgen.training.features import load_features

__all__ = ["Realism", "check_probe", "measure_realism", "probe_auc", "read_features"]

STAGES = (0, 1, 2, 3, 4)  # grain to shape: strides 2 to 32
HALVINGS = 5  # of the real set, for real against real
STRENGTH = 0.01  # C of the logistic regression: many more features than crops
MIN_KID = 10  # crops of the smaller set
MIN_OF_CLASS = 5  # crops of a class in each set, below which it has no line of its own
BATCH = 32
Features = NDArray[np.float64]
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Realism:
    """``scores``: the table. ``rows``: a line per crop: its set, name, class, group and fold,
    ``taken_for_real`` (0..1 by a probe that has not seen its photo) and ``nearest_real``.

    The latter is the distance to the nearest real crop of another part, over the median of that
    among real crops.
    """

    scores: list[Score]
    rows: pd.DataFrame


def check_probe() -> None:
    """Raise ConfigError where scikit-learn is missing."""
    if find_spec("sklearn") is None:
        raise ConfigError(
            "scikit-learn is missing; pip install 'synthgen-inspection[evaluate]' brings it"
        )


@functools.cache
def _network() -> torch.nn.Module:
    return load_features(STAGES)


@torch.no_grad()
def read_features(crops: Sequence[Image]) -> Features:
    """Return (N, 1024): mean and deviation over the crop of every channel of all five stages.

    Crops are (S, S, 3) uint8, all of one size. Raises ConfigError without the features' packages.
    """
    found = []
    for at in range(0, len(crops), BATCH):
        stack = torch.from_numpy(np.stack(crops[at : at + BATCH])).permute(0, 3, 1, 2)
        maps = _network()(stack.float() / 127.5 - 1)
        parts = [part for one in maps for part in (one.mean((2, 3)), one.std((2, 3)))]
        found.append(torch.cat(parts, dim=1))
    return np.asarray(torch.cat(found).double().numpy())


def probe_auc(
    one: Features, other: Features, folds: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[float, NDArray[np.float64]]:
    """Return the AUC of telling ``one`` from ``other``, and each row's chance to be of ``one``.

    ``folds``: the fold of each row; a row is asked by a probe that learned from the other folds.
    The AUC compares rows of one fold alone, as many pairs as there are; NaN where no fold has both.
    The chances are those of ``one``'s rows, then ``other``'s; NaN where none was asked.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values, place = np.concatenate([one, other]), np.concatenate(folds)
    truth = np.repeat([1, 0], [len(one), len(other)])
    chances = np.full(len(values), np.nan)
    total, pairs = 0.0, 0
    for fold in np.unique(place):
        asked = place == fold
        if len(np.unique(truth[~asked])) < 2:
            continue
        linear = LogisticRegression(C=STRENGTH, max_iter=1000, class_weight="balanced")
        probe = make_pipeline(StandardScaler(), linear)
        probe.fit(values[~asked], truth[~asked])
        chances[asked] = probe.predict_proba(values[asked])[:, 1]
        own = int(truth[asked].sum()) * int((1 - truth[asked]).sum())
        if own:
            total += own * float(roc_auc_score(truth[asked], chances[asked]))
            pairs += own
    return (total / pairs if pairs else math.nan), chances


def _auc_of_chances(
    chances: NDArray[np.float64], truth: NDArray[np.bool_], place: NDArray[np.int64]
) -> float:
    """Return the AUC of given chances, pairs of one fold alone."""
    from sklearn.metrics import roc_auc_score

    total, pairs = 0.0, 0
    for fold in np.unique(place):
        asked = (place == fold) & ~np.isnan(chances)
        own = int(truth[asked].sum()) * int((~truth[asked]).sum())
        if own:
            total += own * float(roc_auc_score(truth[asked], chances[asked]))
            pairs += own
    return total / pairs if pairs else math.nan


def measure_realism(crops: Sequence[DefectCrop], seed: int, report: Report) -> Realism:
    """Return how well each set is told from the real one, beside real against real.

    Raises ConfigError where scikit-learn or the features' packages are missing.
    """
    check_probe()
    values = read_features([crop.pixels for crop in crops])
    report("features", 1, 1)
    rows = pd.DataFrame(
        {
            "set": [crop.kind for crop in crops],
            "name": [crop.name for crop in crops],
            "defect_class": [crop.defect_class for crop in crops],
            "group": [crop.group for crop in crops],
            "fold": [crop.fold for crop in crops],
        }
    )
    is_real = (rows["set"] == REAL).to_numpy()
    rows["nearest_real"] = _nearest(values, is_real, rows["group"].to_numpy())
    rows["taken_for_real"] = np.nan
    groups = rows["group"].to_numpy()[is_real]
    scores = _score_halves(values[is_real], groups, len(set(rows["fold"])), seed)
    for kind in (PAINTED, PASTED):
        own = (rows["set"] == kind).to_numpy()
        if not own.any():
            continue
        scores += _score_set(kind, values, rows, is_real, own)
        report("sets", 1 + (kind == PASTED), 2)
    return Realism(scores=scores, rows=rows)


def _score_set(
    kind: str,
    values: Features,
    rows: pd.DataFrame,
    is_real: NDArray[np.bool_],
    own: NDArray[np.bool_],
) -> list[Score]:
    """Return the scores of one set against the real one; its rows get their chances."""
    place = rows["fold"].to_numpy(np.int64)
    auc, chances = probe_auc(values[is_real], values[own], (place[is_real], place[own]))
    count = int(is_real.sum())
    rows.loc[own, "taken_for_real"] = chances[count:]
    if kind == PAINTED:
        rows.loc[is_real, "taken_for_real"] = chances[:count]
    note = f"{own.sum()} crops against {count}"
    scores = [Score(f"{kind} told from real, AUC", auc, note=note)]
    scores.append(_score_kid(f"{kind} to real, KID", values[own], values[is_real]))
    near = rows["nearest_real"].to_numpy()
    closest = float(near[is_real].min())
    scores += [
        Score(f"{kind}, nearest real", float(np.median(near[own])), note="1 = as real ones"),
        Score(
            f"{kind}, nearer than any two real ones",
            float((near[own] < closest).mean()),
            note="fraction; of painted ones a hint of copies",
        ),
    ]
    both = np.concatenate([np.flatnonzero(is_real), np.flatnonzero(own)])
    classes = rows["defect_class"].to_numpy()
    for name in sorted(set(classes[is_real]) & set(classes[own])):
        of_class = classes[both] == name
        truth = is_real[both]
        counts = [int((of_class & side).sum()) for side in (truth, ~truth)]
        if min(counts) >= MIN_OF_CLASS:
            asked = of_class
            auc = _auc_of_chances(chances[asked], truth[asked], place[both][asked])
            note = f"{counts[1]} crops against {counts[0]}"
            scores.append(Score(f"{kind} told from real, {name}, AUC", auc, note=note))
    return scores


def _score_halves(
    real: Features, groups: NDArray[np.object_], folds: int, seed: int
) -> list[Score]:
    """Return real against real: halves of the parts, drawn five times; what is reached at best."""
    aucs, kids = [], []
    names = sorted(set(groups))
    for number in range(HALVINGS):
        order = stream(seed, "halves", number).permutation(names)
        first = np.isin(groups, order[: len(order) // 2])
        place: dict[str, int] = {}
        for half in (order[: len(order) // 2], order[len(order) // 2 :]):
            place |= deal_folds(set(map(str, half)), folds, seed + number)
        fold = np.array([place[str(group)] for group in groups], np.int64)
        aucs.append(probe_auc(real[first], real[~first], (fold[first], fold[~first]))[0])
        if min(first.sum(), (~first).sum()) >= MIN_KID:
            kids.append(measure_kid(real[first], real[~first], reference=real)[0])
    note = f"{HALVINGS} halvings of {len(names)} parts"
    known = [auc for auc in aucs if not math.isnan(auc)]
    return [
        Score("real told from real, AUC", float(np.mean(known)) if known else math.nan, note=note),
        Score("real to real, KID", float(np.mean(kids)) if kids else math.nan, note=note),
    ]


def _score_kid(name: str, own: Features, real: Features) -> Score:
    if min(len(own), len(real)) < MIN_KID:
        return Score(name, math.nan, note=f"needs {MIN_KID} crops of each")
    value, spread = measure_kid(own, real, reference=real)
    return Score(name, value, note=f"± {spread:.3f}")


def _nearest(
    values: Features, is_real: NDArray[np.bool_], groups: NDArray[np.object_]
) -> NDArray[np.float64]:
    """Return each row's distance to the nearest real row of another group, over the real median."""
    real = values[is_real]
    spread = real.std(axis=0)
    scaled = (values - real.mean(axis=0)) / np.maximum(spread, 0.1 * np.median(spread))
    squares = (scaled**2).sum(axis=1)
    far = squares[:, None] + squares[is_real][None] - 2 * scaled @ scaled[is_real].T
    far[groups[:, None] == groups[is_real][None]] = np.inf
    nearest = np.sqrt(np.maximum(far.min(axis=1), 0))
    return np.asarray(nearest / np.median(nearest[is_real]))
