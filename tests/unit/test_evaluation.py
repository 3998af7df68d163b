"""Fidelity scores: known pictures give known numbers."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.errors import ConfigError, ModelError
from synthgen.evaluation.fidelity.classifier import train_classifier
from synthgen.evaluation.fidelity.distance import RealCropSet
from synthgen.evaluation.fidelity.report import draw_scene_sheet, write_card_part
from synthgen.evaluation.fidelity.scores import (
    border_ratio,
    in_mask_difference,
    texture_deviation,
)
from synthgen.evaluation.score import Score, summarise_scores
from synthgen.imaging.images import crop_around
from synthgen.quality.changes import edge_agreement


def surface(seed: int = 0, size: int = 64, deviation: float = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grey = rng.normal(120, deviation, (size, size, 1)).clip(0, 255)
    return np.repeat(grey.astype(np.uint8), 3, axis=2)


def square(size: int = 64, low: int = 20, high: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[low:high, low:high] = True
    return mask


def edges_of(mask: np.ndarray) -> np.ndarray:
    lines = np.zeros((*mask.shape, 3), np.uint8)
    rows, columns = np.nonzero(mask)
    lines[rows.min() : rows.max() + 1, columns.min()] = 255
    lines[rows.min() : rows.max() + 1, columns.max()] = 255
    lines[rows.min(), columns.min() : columns.max() + 1] = 255
    lines[rows.max(), columns.min() : columns.max() + 1] = 255
    return lines


def test_edges_that_are_met_moved_and_missing() -> None:
    source, mask = surface(), square()
    repaint, control = square(low=12, high=48), edges_of(square())
    painted = source.copy()
    painted[mask] = 20
    assert edge_agreement(control, source, painted, repaint) > 0.97
    moved = source.copy()
    moved[square(low=26, high=34)] = 20
    assert edge_agreement(control, source, moved, repaint) < 0.3
    assert edge_agreement(control, source, source, repaint) == 0
    assert np.isnan(edge_agreement(np.zeros_like(control), source, painted, repaint))


def test_edges_of_the_source_are_not_held_against_the_painting() -> None:
    source, mask = surface(), square()
    source[14:17] = 0  # a line of the part itself, inside what may be repainted
    repaint, control = square(low=12, high=48), edges_of(mask)
    painted = source.copy()
    painted[mask] = 20
    assert edge_agreement(control, source, painted, repaint) > 0.97


def test_a_step_at_the_border_is_seen() -> None:
    source, repaint = surface(), square()
    same = border_ratio(source, source, repaint)
    assert same[0] == same[1]
    raised = source.copy()
    raised[repaint] += 20
    painted, before = border_ratio(source, raised, repaint)
    assert painted > 2 * before


def test_texture_that_is_kept_smoothed_and_brightened() -> None:
    source, realised = surface(), square(low=28, high=32)
    repaint = square(low=16, high=44)
    assert texture_deviation(source, source, repaint, realised) == {
        "mean": 0,
        "std": 0,
        "gradient": 0,
    }
    flat, bright = source.copy(), source.copy()
    flat[repaint] = 120
    bright[repaint] += 24
    smoothed = texture_deviation(source, flat, repaint, realised)
    assert smoothed["std"] > 0.9
    assert smoothed["gradient"] > 0.8
    brightened = texture_deviation(source, bright, repaint, realised)
    assert 0.15 < brightened["mean"] < 0.25
    assert brightened["std"] < 0.02
    none = texture_deviation(source, flat, realised, realised)
    assert np.isnan(none["mean"])


def test_difference_inside_the_mask() -> None:
    source, mask = surface(), square()
    other = source.copy()
    other[mask] += 5
    other[0, 0] = 255
    assert in_mask_difference(source, other, mask) == 5
    assert np.isnan(in_mask_difference(source, other, np.zeros_like(mask)))


@pytest.mark.parametrize("size", [64, 128, 200])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (30, 12), (59, 60)])
def test_crops_show_the_whole_defect(size: int, top: int, left: int) -> None:
    image, mask = surface(size=size), np.zeros((size, size), bool)
    mask[top : top + 5, left : left + 4] = True
    image[mask] = 255
    crop = crop_around(image, mask)
    assert crop.shape == (96, 96, 3)
    assert (crop == 255).all(axis=2).sum() >= 20


def test_a_large_defect_is_shrunk() -> None:
    mask = np.zeros((300, 300), bool)
    mask[10:290, 150] = True
    assert crop_around(surface(size=300), mask).shape == (96, 96, 3)


def test_the_classifier_learns_and_repeats() -> None:
    crops, labels = [], []
    for number in range(256):
        crop = surface(number, 32)
        if number % 2:
            crop[12:20, 12:20] = 20
        else:
            crop[15:17, 3:29] = 230
        crops.append(crop)
        labels.append("pit" if number % 2 else "scratch")
    befores = [surface(number, 32) for number in range(256)]
    classifier = train_classifier(crops[:192], befores, labels[:192], 0, 16)
    found = classifier.classify(crops[192:], befores[192:])
    assert np.mean([a == b for a, b in zip(found, labels[192:], strict=True)]) > 0.9
    again = train_classifier(crops[:192], befores, labels[:192], 0, 16)
    assert again.classify(crops[192:], befores[192:]) == found


def test_the_distance_tells_like_from_unlike() -> None:
    one = [surface(n, 64) for n in range(40)]
    same = [surface(n + 100, 64) for n in range(40)]
    rough = [surface(n + 200, 64, deviation=12) for n in range(40)]
    near, _ = RealCropSet(one).distance(same, subsets=10)
    far, _ = RealCropSet(one).distance(rough, subsets=10)
    assert abs(near) < 0.1 * far
    grey = [np.full((64, 64, 3), 120, np.uint8) + np.uint8(n % 3) for n in range(40)]
    tinted = [image + np.array([0, 3, 0], np.uint8) for image in grey]
    assert RealCropSet(grey).distance(tinted, subsets=10)[0] < 1e4
    with pytest.raises(ConfigError, match="too few"):
        RealCropSet(one[:5]).distance(same)


@pytest.mark.parametrize(
    ("score", "met"),
    [
        (Score("a", 0.9, minimum=0.9), True),
        (Score("a", 0.89, minimum=0.9), False),
        (Score("a", 1.2, maximum=1.15), False),
        (Score("a", float("nan"), minimum=0.1), False),
        (Score("a", 3.0), None),
    ],
)
def test_bars(score: Score, met: bool | None) -> None:
    assert score.is_met is met
    assert summarise_scores("title", [score]).row_count == (met is not None)


def test_the_card_holds_one_table(tmp_path) -> None:
    card = tmp_path / "README.md"
    with pytest.raises(ModelError, match=r"no README\.md"):
        write_card_part(tmp_path, [], {})
    card.write_text("# A model\n\ntext\n")
    write_card_part(tmp_path, [Score("visible", 0.5, minimum=0.9)], {"seed": 0})
    write_card_part(tmp_path, [Score("visible", 0.95, minimum=0.9)], {"seed": 0})
    text = card.read_text()
    assert text.startswith("# A model\n\ntext\n")
    assert text.count("<!-- fidelity: begin -->") == 1
    assert "| visible | 0.95 | >= 0.9 | met |" in text
    assert "0.5 |" not in text


def test_a_sheet_takes_what_it_is_given() -> None:
    cells = [surface(n, 96) for n in range(14)]
    assert draw_scene_sheet(cells).shape == (2 * 98, 12 * 98, 3)
    assert draw_scene_sheet(cells * 8).shape == (8 * 98, 12 * 98, 3)
