"""Realism: what cannot be told from real scores .5, what can is told, and photos stay together."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from synthgen.errors import ConfigError, RunError
from synthgen.evaluation.fidelity.distance import measure_kid
from synthgen.evaluation.realism.crops import PAINTED, REAL, DefectCrop, deal_folds
from synthgen.evaluation.realism.filtering import find_most_real, rate_realism
from synthgen.evaluation.realism.measure import measure_realism, probe_auc, read_features
from synthgen.evaluation.realism.report import draw_mixed_sheet
from synthgen.training.features import has_features
from synthgen.training.pictures import Picture
from tests.cli import run_here

pytest.importorskip("sklearn")
pytestmark = pytest.mark.skipif(not has_features(), reason="pretrained features are an extra")


def crop(number: int, kind: str, blur: float = 0.0, fold: int | None = None) -> DefectCrop:
    """Return grain with a dark pit in it, blurred as asked; two crops a part."""
    rng = np.random.default_rng(number)
    pixels = rng.normal(130, 18, (64, 64))
    row, column = rng.integers(20, 44, 2)
    cv2.circle(pixels, (int(column), int(row)), int(rng.integers(4, 9)), 60.0, -1)
    if blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), blur)
    shown = np.repeat(pixels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    group = f"{kind}{number // 2}"
    return DefectCrop(
        pixels=shown,
        kind=kind,
        name=f"{kind}-{number}",
        defect_class="pit" if number % 4 < 2 else "dent",
        group=group,
        fold=number // 2 % 4 if fold is None else fold,
    )


def score(painted_blur: float) -> tuple[dict[str, float], pd.DataFrame]:
    crops = [crop(n, REAL) for n in range(60)]
    crops += [crop(100 + n, PAINTED, painted_blur) for n in range(60)]
    found = measure_realism(crops, 0, lambda *_: None)
    return {one.name: one.value for one in found.scores}, found.rows


def test_what_is_alike_is_not_told_apart_and_what_is_blurred_is() -> None:
    alike, rows = score(0.0)
    assert alike["painted told from real, AUC"] == pytest.approx(0.5, abs=0.15)
    assert alike["real told from real, AUC"] == pytest.approx(0.5, abs=0.15)
    assert alike["painted, nearest real"] == pytest.approx(1, abs=0.1)
    assert rows["taken_for_real"].between(0, 1).all()
    blurred, rows = score(1.5)
    assert blurred["painted told from real, AUC"] > 0.98
    assert blurred["painted told from real, pit, AUC"] > 0.98
    assert blurred["painted, nearest real"] > 1.2
    chances = rows.groupby("set")["taken_for_real"].mean()
    assert chances[REAL] > 0.7 > 0.3 > chances[PAINTED]
    slightly, _ = score(0.6)
    kids = [one["painted to real, KID"] for one in (alike, slightly, blurred)]
    assert kids == sorted(kids)
    assert kids[0] < 0.25 * kids[2]


def test_a_copy_is_nearer_than_any_two_real_ones() -> None:
    crops = [crop(n, REAL) for n in range(40)]
    crops += [
        DefectCrop(
            pixels=crops[n].pixels,
            kind=PAINTED,
            name=f"copy-{n}",
            defect_class="pit",
            group=f"copy{n}",
            fold=n % 4,
        )
        for n in range(20)
    ]
    found = {one.name: one.value for one in measure_realism(crops, 0, lambda *_: None).scores}
    assert found["painted, nearer than any two real ones"] == 1
    assert found["painted, nearest real"] == pytest.approx(0, abs=1e-6)


def test_a_photo_is_not_known_in_two_folds() -> None:
    """A probe that could learn photos by heart would tell them apart; it is asked on others."""
    rng = np.random.default_rng(0)
    photos = rng.normal(0, 5, (20, 40))  # each photo has a look of its own
    rows = np.repeat(photos, 6, axis=0) + rng.normal(0, 0.1, (120, 40))
    groups = np.repeat(np.arange(20), 6)
    one, other = groups % 2 == 0, groups % 2 == 1
    by_photo = groups // 2 % 5
    by_chance = rng.integers(0, 5, 120)
    fair, _ = probe_auc(rows[one], rows[other], (by_photo[one], by_photo[other]))
    leaky, _ = probe_auc(rows[one], rows[other], (by_chance[one], by_chance[other]))
    assert leaky > 0.95
    assert fair < 0.8
    folds = deal_folds({str(n) for n in range(11)}, 4, 1)
    assert sorted(np.bincount(list(folds.values()))) == [2, 3, 3, 3]


def test_kid_grows_with_the_distance() -> None:
    rng = np.random.default_rng(1)
    real, same = rng.normal(0, 1, (2, 60, 8))
    values = [measure_kid(same + shift, real, reference=real)[0] for shift in (0, 0.5, 2)]
    assert values == sorted(values)
    assert abs(values[0]) < 0.3 < values[2]


def test_features_see_grain() -> None:
    sharp, soft = (read_features([crop(1, REAL, blur).pixels])[0] for blur in (0, 2))
    assert sharp.shape == (1024,)
    assert np.abs(sharp - soft).max() > 0.1


def test_the_sheet_has_as_many_of_both_and_its_key() -> None:
    crops = [crop(n, REAL) for n in range(30)] + [crop(n, PAINTED) for n in range(12)]
    sheet, key = draw_mixed_sheet(crops, 40, 3)
    assert key["set"].value_counts().to_dict() == {REAL: 12, PAINTED: 12}
    assert key["number"].tolist() == list(range(1, 25))
    assert key["set"].tolist() != sorted(key["set"])  # mixed
    first = next(one for one in crops if one.name == key["name"][0])
    np.testing.assert_array_equal(sheet[16:80, 1:65], first.pixels)


def picture(number: int, kind: str, blur: float = 0.0) -> Picture:
    one = crop(number, kind, blur)
    mask = cv2.GaussianBlur(one.pixels[..., 0], (5, 5), 0) < 85
    name = ("pit", "dent")[number % 2]
    return Picture(name=one.name, group=one.group, pixels=one.pixels, masks={name: mask})


def test_the_filter_drops_what_is_told_from_real_of_each_class_alike() -> None:
    real = [picture(n, REAL) for n in range(16)]
    painted = [picture(100 + n, PAINTED, blur=1.5 * (n % 4 > 1)) for n in range(40)]
    chances = rate_realism(painted, real)
    assert chances.shape == (40,)
    assert ((chances >= 0) & (chances <= 1)).all()
    kept = find_most_real(painted, real, 0.5)
    assert len(kept) == 20
    assert sum(number % 4 > 1 for number in kept) <= 2  # the blurred ones are gone
    assert sum(number % 2 for number in kept) == 10  # of each class half
    assert kept == find_most_real(painted, real, 0.5)
    assert len(find_most_real(painted, real, 0.99)) == 2
    with pytest.raises(ConfigError, match="real defects of 1 parts"):
        rate_realism(painted, [picture(0, REAL), picture(1, REAL)])


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Return a table of drawn parts: 12 with a pit, 12 good."""
    rows = []
    for number in range(24):
        shown = crop(500 + 2 * number, REAL).pixels
        cv2.imwrite(str(tmp_path / f"{number}.png"), shown)
        mask, kind = "", "good"
        if number % 2:
            mask, kind = f"{number}_mask.png", "pit"
            cv2.imwrite(str(tmp_path / mask), ((shown[..., 0] < 75) * 255).astype(np.uint8))
        rows.append((f"{number}.png", mask, kind, "train", f"part{number}"))
    columns = ["image", "mask", "class", "split", "group"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "real.csv", index=False)
    return tmp_path / "real.csv"


def test_the_pipeline_scores_a_run_beside_crop_paste_and_real(real, tmp_path) -> None:
    goods = tmp_path / "goods"
    goods.mkdir()
    for number in range(12):
        cv2.imwrite(str(goods / f"{number}.png"), crop(700 + 2 * number, REAL).pixels)
    made = ["source=folder", "backend=sketch", f"source.path={goods}", "defect=[pit]"]
    made += ["run.count=16", "run.good_fraction=0", f"run.folder={tmp_path / 'run'}", "quality=off"]
    assert run_here("generate", *made).returncode == 0
    model = tmp_path / "model"
    model.mkdir()
    (model / "README.md").write_text("# A model\n")
    asked = [f"evaluate.run={tmp_path / 'run'}", f"evaluate.real.path={real}"]
    asked += [
        "evaluate.crop_px=48",
        f"evaluate.card={model}",
        f"evaluate.folder={tmp_path / 'out'}",
    ]
    for _ in range(2):  # the card's part is put in place of the one that is there
        done = run_here("evaluate", "realism", *asked)
        assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / "realism.json").read_text())
    names = {score["name"]: score["value"] for score in told["scores"]}
    for name in ("painted", "crop-paste", "real"):
        assert 0 <= names[f"{name} told from real, AUC"] <= 1
    assert (model / "README.md").read_text().count("## Realism") == 1
    rows = pd.read_csv(tmp_path / "out" / "crops.csv")
    assert set(rows["set"]) == {"real", "painted", "crop-paste"}
    assert (rows.groupby("group")["fold"].nunique() == 1).all()
    assert len(pd.read_csv(tmp_path / "out" / "sheet-key.csv")) > 10
    assert "told from real on photos that were not learned from" in " ".join(done.stdout.split())

    few = run_here("evaluate", "realism", *asked, "evaluate.real.only=[crack]")
    assert few.returncode == 2
    other = run_here("evaluate", "realism", *asked, "evaluate.real.split=nowhere")
    assert other.returncode == 2
    assert "evaluate.real.split='nowhere'" in other.stderr


def test_a_run_that_is_gone_is_one_sentence(real, tmp_path) -> None:
    done = run_here(
        *("evaluate", "realism", f"evaluate.run={tmp_path / 'gone'}"),
        *(f"evaluate.real.path={real}", f"evaluate.folder={tmp_path / 'out'}"),
    )
    assert done.returncode == 2
    assert "gone" in done.stderr
    assert RunError.__name__ not in done.stderr
