"""Utility for people: a CSV of every model, a JSON, a page with plots, a table for the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from synthgen.evaluation.utility.compare import average_models, compare_arms, summarise_arms
from synthgen.evaluation.utility.pages.page import NAMES, THRESHOLDS, draw_page
from synthgen.evaluation.utility.pages.words import (
    GOOD_ONLY_MODELS,
    compare_classes,
    key_of,
    read_gains,
    tell_failures,
    write_cell,
    write_interval,
)
from synthgen.evaluation.utility.worth import measure_worth, read_curve
from synthgen.storage.files import defuse, write_text

__all__ = ["tabulate_utility", "tell_worth", "write_utility"]

COMMON = ("pixel_ap", "best_f1", "f1", "pro", "box_ap", "image_auroc", "image_ap")
SHOWN = ("pixel_ap", "f1", "pro", "image_auroc")  # a terminal is narrow
RARE = ("f1_synthetic_threshold", "memorised", "nearest_bits", "validation_ap")
COSTS = ("train_s", "score_s", "cpu_s")


def write_utility(
    folder: Path,
    rows: pd.DataFrame,
    facts: dict[str, Any],
    baseline: str,
    warning: str,
    simple: Collection[str] = (),
) -> Path:
    """Write ``utility.csv``, ``utility.json`` and ``utility.html``, which is returned.

    ``rows`` are those of ``measure_utility``. The CSV has every model, the others the means over
    the models of a seed. ``warning`` is a sentence that the page says, or "". ``simple``: the arms
    that need no run, which others should be better than.
    """
    write_text(folder / "utility.csv", rows.map(defuse).to_csv(index=False))
    costs = _sum_costs(rows)
    rows = average_models(rows)
    means = summarise_arms(rows, _scores(rows))
    differences = compare_arms(rows, good_only=GOOD_ONLY_MODELS)
    curve, worth = read_curve(rows, baseline), measure_worth(rows, baseline)
    classes = compare_classes(rows, baseline)
    record = {
        "facts": facts,
        "costs": costs,
        "arms": [_plain(line) for line in means.to_dict("records")],
        "differences": [_plain(asdict(one)) for one in differences],
        "curve": [_plain(asdict(one)) for one in curve],
        "worth": [one.to_record() for one in worth],
        "classes": [_plain(asdict(one)) for own in classes.values() for one in own.values()],
        "did_not_help": tell_failures(rows, differences, baseline, simple),
    }
    write_text(folder / "utility.json", json.dumps(record, indent=1) + "\n")
    page = folder / "utility.html"
    facts = facts | _tell_costs(costs)
    write_text(
        page,
        draw_page(rows, means, differences, curve, worth, facts, baseline, warning, simple),
    )
    return page


def _sum_costs(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what each inspection model's arms cost: models, mean seconds of one, and their sum."""
    lines = []
    for (inspector, arm), own in rows.groupby(["inspector", "arm"], sort=False):
        seconds = {name: own[name].mean() for name in COSTS if name in own}
        total = float((own["train_s"] + own["score_s"]).sum())
        line = {"inspector": inspector, "arm": arm, "models": len(own), "total_s": total}
        lines.append(_plain(line | seconds))
    return lines


def _tell_costs(costs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the costs in words, by inspection model, and what all took."""
    told: dict[str, str] = {}
    for inspector in dict.fromkeys(str(line["inspector"]) for line in costs):
        own = [line for line in costs if line["inspector"] == inspector]
        each = [
            f"{line['arm']} {line['train_s'] + line['score_s']:.0f}"
            + (f" ({line['cpu_s']:.0f} of processors)" if "cpu_s" in line else "")
            for line in own
        ]
        told[f"{inspector}, seconds per arm"] = ", ".join(each)
    total = sum(line["total_s"] for line in costs) / 60
    return told | {"all models": f"{total:.0f} minutes, without looking for steps"}


def _plain(line: dict[Any, Any]) -> dict[str, Any]:
    """Return values that JSON knows; NaN and infinity become null."""
    return {
        str(key): None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in line.items()
    }


def _scores(rows: pd.DataFrame) -> list[str]:
    """Return the scores that the rows hold: common ones, by class, rare ones, thresholds."""
    by_class = [name for name in rows.columns if str(name).startswith("ap_")]
    wanted = dict.fromkeys((*COMMON, *by_class, *RARE, *THRESHOLDS))
    return [name for name in wanted if name in rows.columns]


def tabulate_utility(rows: pd.DataFrame, baseline: str) -> Table:
    """Return the arms with mean and deviation of each score, and the gain on the baseline.

    In per cent; the gain is that in pixel AP with its 90 % interval, "" for the baseline itself.
    """
    rows = average_models(rows)
    means = summarise_arms(rows, COMMON)
    gains = read_gains(compare_arms(rows), baseline)
    models = ", ".join(dict.fromkeys(means["inspector"]))
    title = f"Utility of {models}, %: mean ± deviation over n seeds"
    table = Table(title=title, title_justify="left")
    has_several = means["inspector"].nunique() > 1
    first = ("model",) if has_several else ()
    for column in (*first, "real", "arm", "n", *(NAMES[name] for name in SHOWN)):
        table.add_column(column, no_wrap=column == "arm")
    table.add_column(f"pixel AP over {baseline}, 90 %")
    for line in means.to_dict("records"):
        cells = [write_cell(line, name) for name in SHOWN]
        own = (str(line["inspector"]),) if has_several else ()
        head = (*own, str(line["budget"]), str(line["arm"]), str(line["seeds"]))
        gain = gains.get(key_of(line))
        text = "" if gain is None else write_interval(gain.mean, gain.low, gain.high)
        table.add_row(*head, *cells, text)
    return table


def tell_worth(rows: pd.DataFrame, baseline: str) -> list[str]:
    """Return a sentence for each arm: as many real images as it is worth; [] without a curve."""
    return [
        f"{one.arm} ({one.inspector}, {one.budget} real a class) is worth {one.told}"
        for one in measure_worth(average_models(rows), baseline)
    ]
