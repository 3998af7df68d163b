from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from synthgen.backends.backend import SketchBackend
from synthgen.backends.diffusion.crops import cut_jobs, paste_crop
from synthgen.errors import ConfigError
from synthgen.generation.generate import Stages, build_candidate, generate
from synthgen.imaging.colour import ring_contrast
from synthgen.quality.annotate import annotate
from synthgen.quality.changes import (
    black_fraction,
    clipped_fraction,
    fill_fraction,
    leak_fraction,
    mask_iou,
    off_object_fraction,
    seam_step,
    sharpness_ratio,
    size_ratio,
)
from synthgen.quality.limits import Limits, read_limits, reasons_to_reject
from synthgen.quality.measures import MEASURES, ChangeView, measure, measure_label, view_change
from synthgen.quality.realised import delta_e, realise_mask, soft_border, to_lab
from synthgen.samples.sample import Attempt, Candidate, Measurement, SampleSpec
from synthgen.samples.seeds import rng_for, torch_seed_for
from tests.samples import draw_conditions, flat_image


def boxed(*box: int, size: int = 64) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    y0, y1, x0, x1 = box
    mask[y0:y1, x0:x1] = True
    return mask


def parts(mask: np.ndarray) -> int:
    return int(cv2.connectedComponents(mask.astype(np.uint8))[0]) - 1


EVERYWHERE = np.ones((64, 64), bool)


def test_delta_e_of_known_colours() -> None:
    black, white = flat_image(0), flat_image(255)
    assert delta_e(black, white)[0, 0] == pytest.approx(100, abs=0.1)
    assert delta_e(white, white).max() == 0


@pytest.mark.parametrize("width", [1, 2, 3, 9])
def test_a_visible_change_is_found_to_the_pixel(width: int) -> None:
    true = boxed(20, 20 + width, 5, 60)
    finished = flat_image()
    finished[true] = 170
    assert np.array_equal(realise_mask(flat_image(), finished, EVERYWHERE, true), true)


def test_an_invisible_change_is_no_label() -> None:
    finished = flat_image()
    asked = boxed(20, 30, 20, 30)
    finished[asked] = 123
    assert not realise_mask(flat_image(), finished, EVERYWHERE, asked).any()


def test_only_inside_the_repaint_mask_and_no_specks() -> None:
    finished = flat_image()
    finished[boxed(0, 64, 0, 64)] = 200
    gate = boxed(10, 20, 10, 20)
    assert np.array_equal(realise_mask(flat_image(), finished, gate, gate), gate)
    speck = flat_image()
    speck[30, 30] = 255
    assert not realise_mask(flat_image(), speck, EVERYWHERE, gate).any()


def test_holes_stay_and_small_gaps_close_when_asked() -> None:
    ring = boxed(10, 40, 10, 40) & ~boxed(18, 32, 18, 32)
    finished = flat_image()
    finished[ring] = 200
    assert np.array_equal(realise_mask(flat_image(), finished, EVERYWHERE, ring), ring)
    closed = realise_mask(flat_image(), finished, EVERYWHERE, ring, 2)
    assert not (closed & boxed(20, 30, 20, 30)).any()
    assert (closed ^ ring).sum() <= 12  # the corners of the hole
    line = boxed(20, 23, 5, 60)
    broken = line & ~boxed(0, 64, 30, 32)
    finished = flat_image()
    finished[broken] = 200
    assert parts(realise_mask(flat_image(), finished, EVERYWHERE, line)) == 2
    bridged = realise_mask(flat_image(), finished, EVERYWHERE, line, 3)
    assert parts(bridged) == 1
    assert not (bridged & ~line).any()


def test_a_change_at_the_border_keeps_its_pixels() -> None:
    corner = boxed(0, 6, 0, 6)
    finished = flat_image()
    finished[corner] = 200
    assert np.array_equal(realise_mask(flat_image(), finished, EVERYWHERE, corner, 3), corner)


def test_fill_and_leak() -> None:
    asked = boxed(10, 20, 10, 20)
    assert fill_fraction(boxed(10, 15, 10, 20), asked) == pytest.approx(0.5)
    assert leak_fraction(asked, asked) == 0
    assert leak_fraction(boxed(40, 50, 40, 50), asked) == 1
    assert leak_fraction(boxed(9, 21, 9, 21), asked) == 0  # a soft edge is not a leak
    assert np.isnan(leak_fraction(np.zeros_like(asked), asked))


def test_contrast_is_over_the_texture() -> None:
    rng = np.random.default_rng(0)
    rough = np.clip(rng.normal(120, 25, (64, 64, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
    mask = boxed(25, 40, 25, 40)
    marked = flat_image()
    marked[mask] = 150
    assert ring_contrast(to_lab(marked), mask) == pytest.approx(
        delta_e(flat_image(120), flat_image(150))[0, 0]
    )
    assert abs(ring_contrast(to_lab(rough), mask)) < 1.5


def test_seam() -> None:
    mask = boxed(20, 40, 20, 40)
    pasted = flat_image()
    pasted[mask] = 140
    step = delta_e(flat_image(120), flat_image(140))[0, 0]
    assert seam_step(to_lab(flat_image()), to_lab(pasted), mask) == pytest.approx(step)
    assert seam_step(to_lab(flat_image()), to_lab(flat_image()), mask) == 0


def test_limits_give_reasons_and_nan_breaks_none() -> None:
    measured = [Measurement("fill_fraction", 0.2), Measurement("leak_fraction", float("nan"))]
    limits = {"fill_fraction": (0.5, None), "leak_fraction": (None, 0.3)}
    assert reasons_to_reject(measured, limits) == ("fill_fraction 0.2 is below 0.5",)


@pytest.mark.parametrize(
    ("quality", "text"),
    [
        ({"fil": [0, 1]}, r"quality\.fil is not measured; choose from area_px"),
        ({"fill_fraction": [1, 0]}, r"quality\.fill_fraction=\[1, 0\] runs backwards"),
        ({"fill_fraction": "much"}, r"quality\.fill_fraction='much' must be \[min, max\]"),
        ({"classes": {"dent": {"fil": [0, 1]}}}, r"quality\.classes\.dent\.fil is not measured"),
    ],
)
def test_impossible_limits(quality: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        read_limits(quality)


def test_a_class_has_its_own_limits() -> None:
    limits = read_limits(
        {
            "area_px": [6, None],
            "classes": {"dent": {"area_px": [50, None], "leak_fraction": [0, 1]}},
        }
    )
    assert limits.of("pit") == {"area_px": (6, None)}
    assert limits.of("dent") == {"area_px": (50, None), "leak_fraction": (0, 1)}


def test_the_grain_that_a_backend_paints_anew_is_no_defect() -> None:
    rng = np.random.default_rng(0)
    source, again = (
        np.clip(rng.normal(120, 6, (64, 64, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
        for _ in range(2)
    )
    asked, repaint = boxed(24, 40, 24, 40), boxed(16, 48, 16, 48)
    finished = np.where(repaint[..., None], again, source)
    assert realise_mask(source, finished, repaint, asked).sum() <= 6
    finished[asked] = np.clip(finished[asked].astype(int) - 70, 0, 255)
    found = realise_mask(source, finished, repaint, asked)
    assert (found & asked).sum() / (found | asked).sum() > 0.85


def test_a_soft_edge_ends_at_half_its_height() -> None:
    cover = cv2.GaussianBlur(boxed(20, 44, 20, 44).astype(np.float32), (0, 0), 1.5)
    finished = np.rint(120 - 80 * cover[..., None]).astype(np.uint8).repeat(3, 2)
    found = realise_mask(flat_image(), finished, EVERYWHERE, cover > 0.5)
    assert (found ^ (cover > 0.5)).sum() <= 0.12 * found.sum()
    border = soft_border(flat_image(), finished, found, EVERYWHERE, cover > 0.5)
    assert not (border & found).any()
    assert border.sum() > 80
    assert (delta_e(flat_image(), finished)[border] >= 2.5).all()


def painted(height: np.ndarray, blur_px: float = 0.7) -> np.ndarray:
    """The flat image, changed by as many grey levels, as softly as a photo shows it."""
    change = cv2.GaussianBlur(height.astype(np.float32), (0, 0), blur_px)
    return np.clip(np.rint(120 + change), 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def test_both_flanks_of_a_groove_are_label() -> None:
    groove, burr = boxed(30, 32, 5, 60), boxed(32, 34, 5, 60)
    finished = painted(-90.0 * groove + 42 * burr)
    found = realise_mask(flat_image(), finished, EVERYWHERE, groove | burr)
    assert found[groove].all()
    assert found[33, 7:58].all()  # the burr, less strong by half than the groove beside it
    plain = painted(-90.0 * groove + 60 * burr)
    asked_without = realise_mask(flat_image(), plain, EVERYWHERE, groove)
    assert asked_without[33, 7:58].all()  # nobody leaves a change of 14 Delta E out


def test_the_weaker_half_of_a_droplet_is_no_soft_edge() -> None:
    strong, weak = boxed(20, 28, 20, 44), boxed(28, 30, 20, 44)
    finished = painted(-100.0 * strong - 24 * weak, 0.5)
    found = realise_mask(flat_image(), finished, EVERYWHERE, strong | weak)
    assert found[29, 21:43].all()
    elsewhere = realise_mask(flat_image(), finished, EVERYWHERE, boxed(40, 48, 20, 44))
    assert not elsewhere[29, 21:43].any()  # there an edge is all that can be told


def test_a_pit_goes_on_where_it_crosses_a_dark_band() -> None:
    source = flat_image()
    source[boxed(0, 64, 28, 36)] = 34
    pit = boxed(20, 44, 10, 54)
    finished = source.copy()
    finished[pit] = finished[pit] // 3
    assert 5 < delta_e(source, finished)[30, 30] < 0.45 * delta_e(source, finished)[30, 20]
    assert np.array_equal(realise_mask(source, finished, EVERYWHERE, pit), pit)


def test_what_the_surface_hides_of_a_line_is_bridged() -> None:
    source = flat_image()
    source[boxed(0, 64, 30, 32)] = 2  # black: nothing darker is seen on it
    line = boxed(30, 33, 4, 60)
    finished = source.copy()
    finished[line] = finished[line] // 4
    found = realise_mask(source, finished, EVERYWHERE, line, 2)
    assert parts(found) == 1
    assert not (found & ~line).any()


@pytest.mark.parametrize("close_px", [2, 6, 15])
def test_hardly_any_of_a_label_is_invisible(close_px: int) -> None:
    comb = boxed(20, 44, 8, 56) & (np.arange(64) // 4 % 2 == 0)[None]
    finished = flat_image()
    finished[comb] = 40
    found = realise_mask(flat_image(), finished, EVERYWHERE, comb, close_px)
    assert found[comb].all()
    assert (delta_e(flat_image(), finished)[found] < 2.3).mean() <= 0.05


def test_a_shift_of_the_whole_band_is_seen_and_grain_is_not() -> None:
    rng = np.random.default_rng(0)
    source = np.clip(rng.normal(120, 10, (64, 64, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
    asked, repaint = boxed(28, 36, 28, 36), boxed(16, 48, 16, 48)
    finished = source.copy()
    finished[repaint] = np.clip(finished[repaint].astype(int) + 22, 0, 255)
    halo = realise_mask(source, finished, repaint, asked)
    assert halo[repaint].mean() > 0.9
    assert leak_fraction(halo, asked) > 0.5


def test_smoothing_beside_a_defect_is_seen() -> None:
    rng = np.random.default_rng(0)
    source = np.clip(rng.normal(120, 10, (64, 64, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
    defect, repaint = boxed(28, 36, 28, 36), boxed(16, 48, 16, 48)
    kept, smooth = source.copy(), cv2.GaussianBlur(source, (0, 0), 2)
    kept[defect] = smooth[defect] = 10
    assert sharpness_ratio(source, kept, repaint, defect) == pytest.approx(1)
    assert sharpness_ratio(source, smooth, repaint, defect) < 0.4


def test_measures_of_size_place_and_clipping() -> None:
    asked, label = boxed(10, 20, 10, 20), boxed(10, 20, 10, 25)
    assert size_ratio(label, asked) == 1.5
    assert mask_iou(label, asked) == pytest.approx(100 / 150)
    assert off_object_fraction(label, boxed(0, 64, 0, 20)) == pytest.approx(0.2)  # 2 px are free
    assert np.isnan(off_object_fraction(label, None))
    finished = flat_image()
    finished[boxed(10, 20, 10, 16)] = 255
    assert clipped_fraction(flat_image(), finished, label) == pytest.approx(0.4)
    assert clipped_fraction(finished, finished, label) == 0  # it was white before


def test_each_instance_gets_its_own_pixels() -> None:
    condition = draw_conditions("pit", count=1, size=256, instances=(3, 3))[0]
    realised = realise_mask(
        condition.image, condition.sketch, condition.repaint_mask, condition.defect_mask
    )
    candidate = Candidate(condition, condition.sketch, condition.sketch, realised)
    annotations = annotate(candidate, view_change(candidate))
    assert [a.instance_id for a in annotations] == [1, 2, 3]
    union = np.sum([a.mask for a in annotations], axis=0)
    assert np.array_equal(union == 1, realised)
    assert union.max() == 1
    for annotation in annotations:
        asked = condition.instance_map == annotation.instance_id
        assert (annotation.mask & asked).sum() >= 0.5 * asked.sum()


class Blind:
    """A backend that paints nothing on the first tries of every sample."""

    def __init__(self, until: int) -> None:
        self.until, self.calls = until, 0

    def paint(self, conditions: list) -> list:
        self.calls += 1
        return [c.image if c.attempt.number < self.until else c.sketch for c in conditions]


@pytest.mark.parametrize(("until", "status"), [(0, "accepted"), (2, "accepted"), (9, "rejected")])
def test_the_invisible_is_rejected_and_tried_again(until: int, status: str) -> None:
    given = {c.spec.sample_id: c for c in draw_conditions("stain", count=3, severity=(1, 1))}
    backend = Blind(until)

    def condition(spec: SampleSpec, attempt: Attempt):
        return replace(given[spec.sample_id], spec=spec, attempt=attempt)

    limits = Limits({"area_px": (6, None)})
    stages = Stages(
        condition=condition,
        backend=backend,
        limits=limits,
        batch_size=2,
        retries=("noise", "place"),
    )
    samples = list(generate([c.spec for c in given.values()], stages))
    assert [s.status.value for s in samples] == [status] * 3
    assert [s.attempt.number for s in samples] == [min(until, 2)] * 3
    tries = samples[0].tries
    assert [one.step for one in tries] == ["first", "noise", "place"][: min(until, 2) + 1]
    assert [bool(one.reasons) for one in tries[:-1]] == [True] * (len(tries) - 1)
    if status == "rejected":
        assert samples[0].reasons == tries[-1].reasons == ("area_px 0 is below 6",)


def test_black_counts_in_the_worst_part_and_only_where_it_was_not_black() -> None:
    repaint = boxed(0, 20, 0, 20) | boxed(40, 50, 40, 50)
    finished = flat_image()
    finished[boxed(40, 50, 40, 45)] = 1
    assert black_fraction(flat_image(), finished, repaint) == 0.5
    assert black_fraction(finished, finished, repaint) == 0
    assert black_fraction(flat_image(), flat_image(0), EVERYWHERE) == 1
    assert np.isnan(black_fraction(flat_image(), finished, ~EVERYWHERE))


class Censor:
    """A backend whose first paintings come back black, as a safety checker sends them."""

    def paint(self, conditions: list) -> list:
        return [self._paint(condition) for condition in conditions]

    def _paint(self, condition):
        if condition.attempt.number:
            return condition.sketch
        image = condition.image
        for job in cut_jobs([condition], 32, 64, 512, 32, None):
            side = job.box.width
            image = paste_crop(image, np.zeros((side, side, 3), np.uint8), job, feather_px=2)
        return image


@pytest.mark.parametrize("quality", ["default", "off"])
def test_a_black_painting_is_rejected_and_painted_again(quality: str) -> None:
    from synthgen.config.compose import compose
    from synthgen.config.objects import to_plain

    plain = to_plain(compose("generate", [f"quality={quality}"]))["quality"]
    given = {c.spec.sample_id: c for c in draw_conditions("burn", "scratch", count=6, cell_px=8)}

    def condition(spec: SampleSpec, attempt: Attempt):
        return replace(given[spec.sample_id], spec=spec, attempt=attempt)

    stages = Stages(
        condition=condition, backend=Censor(), limits=read_limits(plain), retries=("noise",)
    )
    for sample in generate([c.spec for c in given.values()], stages):
        first, second = sample.tries
        assert any(re.match(r"black_fraction .* is above 0\.5", r) for r in first.reasons)
        assert not any("black_fraction" in reason for reason in second.reasons)


def test_the_ladder_changes_what_it_says() -> None:
    seen: list[Attempt] = []
    given = draw_conditions("stain", count=1, severity=(1, 1))[0]

    def condition(spec: SampleSpec, attempt: Attempt):
        seen.append(attempt)
        return replace(given, spec=spec, attempt=attempt)

    steps = ("noise", "stronger", "place", "noise")
    stages = Stages(
        condition=condition, backend=Blind(9), limits=Limits({"area_px": (6, None)}), retries=steps
    )
    sample = next(iter(generate([given.spec], stages)))
    assert [(one.number, one.boost, one.placement) for one in seen] == [
        (0, 0, 0),
        (1, 0, 0),
        (2, 1, 0),
        (3, 0, 1),
        (4, 0, 1),
    ]
    assert [one.attempt for one in sample.tries] == seen
    boosts = [(1.0, 0.0), (1.0, 0.0), (1.5, 0.1), (1.0, 0.0), (1.0, 0.0)]
    assert [one.boost for one in sample.tries] == boosts
    assert seen[2].boost_of(is_whole=True) == (1.0, -0.1)  # closer to the source
    spec = given.spec
    assert torch_seed_for(spec, seen[0]) != torch_seed_for(spec, seen[1])
    places = [rng_for(spec, one, "defect 1").integers(2**40) for one in seen]
    assert places[0] == places[1] == places[2] != places[3] == places[4]


class Uneven:
    """A backend whose third painting obeys; the others paint next to the mask, or not at all."""

    def paint(self, conditions: list) -> list:
        images = []
        for condition in conditions:
            image = condition.image.copy()
            if condition.attempt.variant == 1:
                image[condition.repaint_mask & ~condition.defect_mask] = 0
            if condition.attempt.variant == 2:
                image = condition.sketch
            images.append(image)
        return images


def test_the_best_of_several_paintings_is_kept() -> None:
    given = {c.spec.sample_id: c for c in draw_conditions("stain", count=2, severity=(1, 1))}
    specs = [c.spec for c in given.values()]

    def condition(spec: SampleSpec, attempt: Attempt):
        return replace(given[spec.sample_id], spec=spec, attempt=attempt)

    limits = Limits({"area_px": (6, None)})
    one, best = (
        list(
            generate(
                specs,
                Stages(
                    condition=condition,
                    backend=Uneven(),
                    limits=limits,
                    retries=(),
                    candidates=count,
                ),
            )
        )
        for count in (2, 4)
    )
    assert [sample.attempt.variant for sample in one] == [1, 1]
    assert [sample.attempt.variant for sample in best] == [2, 2]


def test_sketch_backend_end_to_end_changes_nothing_outside() -> None:
    given = {c.spec.sample_id: c for c in draw_conditions(count=12)}
    stages = Stages(
        condition=lambda spec, _: given[spec.sample_id],
        backend=SketchBackend(),
        limits=Limits(),
        batch_size=5,
        retries=(),
    )
    for sample in generate([c.spec for c in given.values()], stages):
        condition = sample.candidate.condition
        outside = ~condition.repaint_mask
        assert np.array_equal(sample.candidate.pixels[outside], condition.source.pixels[outside])
        assert sample.annotations


def test_defects_that_touch_are_two() -> None:
    given = draw_conditions("pit", count=1, size=64)[0]
    instances = np.zeros((64, 64), np.uint8)
    instances[20:30, 20:30], instances[20:30, 30:44] = 1, 2
    mask = instances > 0
    finished = given.image.copy()
    finished[mask] = 255 - finished[mask]
    condition = replace(
        given, defect_mask=mask, repaint_mask=boxed(16, 34, 16, 48), instance_map=instances
    )
    candidate = Candidate(condition, finished, finished, mask)
    found = annotate(candidate, view_change(candidate))
    assert [tuple(a.box) for a in found] == [(20, 20, 10, 10), (30, 20, 14, 10)]
    assert [a.area_px for a in found] == [100, 140]


DEFAULT = Path(__file__).resolve().parents[2] / "conf" / "quality" / "default.yaml"


def test_one_table_of_measures_says_what_each_is() -> None:
    names = [one.name for one in MEASURES]
    assert len(set(names)) == len(names)
    told = {one.name for one in MEASURES if one.function is not None}
    assert {one.scope for one in MEASURES if one.name not in told} == {"bank", "classes", "run"}
    conditions = draw_conditions("pit")
    candidate = build_candidate(conditions[0], conditions[0].sketch)
    measured = measure(candidate, view_change(candidate))
    expected = [one.name for one in MEASURES if one.scope in ("label", "defect", "painted")]
    assert [one.name for one in measured] == expected


def test_the_comments_on_the_limits_are_the_meanings_of_the_table() -> None:
    meanings = {one.name: one.in_words for one in MEASURES}
    comments = re.findall(r"^(\w+): \[.*?\] # (.*)$", DEFAULT.read_text(encoding="utf-8"), re.M)
    assert len(comments) >= 15
    assert all(meanings[name] == comment for name, comment in comments)


def test_without_the_clean_image_what_only_it_tells_is_not_told() -> None:
    conditions = draw_conditions("pit")
    candidate = build_candidate(conditions[0], conditions[0].sketch)
    view = view_change(candidate)
    known = {one.name: one.value for one in measure_label(view, has_source=False)}
    assert {name for name, value in known.items() if np.isnan(value)} >= {
        "change_delta_e",
        "clipped_fraction",
    }
    assert known["area_px"] == view.realised.sum()


def test_a_neighbouring_defect_is_no_ground_that_a_defect_stands_out_of() -> None:
    """A faint defect between two strong ones has the contrast that it has alone."""
    source = flat_image()
    faint, strong = boxed(20, 44, 30, 33), boxed(20, 44, 36, 44) | boxed(20, 44, 19, 27)
    alone, beside = source.copy(), source.copy()
    alone[faint] = beside[faint] = 110
    beside[strong] = 20
    contrasts = []
    for image, realised in ((alone, faint), (beside, faint | strong)):
        view = ChangeView(
            source=source,
            finished=image,
            source_lab=to_lab(source),
            finished_lab=to_lab(image),
            asked=realised,
            repaint=realised,
            realised=realised,
            allowed=None,
            window=(slice(0, 64), slice(0, 64)),
        )
        measured = {one.name: one.value for one in measure_label(view.of(faint, faint))}
        contrasts.append(measured["contrast_delta_e"])
    assert contrasts[0] > 3
    assert contrasts[1] == pytest.approx(contrasts[0], abs=0.1)
