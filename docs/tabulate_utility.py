"""Write the tables and picture of the pages measured/utility*.md from utility.csv.

python docs/tabulate_utility.py

A table stands between `<!-- table data=.. budget=.. over=.. arms=.. -->` and `<!-- end -->`. `arms`
lists arm/protocol or name:arm/protocol (one+other: seeds that one lacks are the other's), `over`
the arms that the others are compared with, over paired seeds: by pixel AP, or with `by=class_ap` by
the mean of the classes' own pixel APs. `seeds`: these alone. With `draws=..` in place of `over` and
`arms` it has the pixel AP of each of these seeds, and `rows=".."` a line "what it is: arm/protocol"
for each row; `and=` names columns whose means come last.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from synthgen.evaluation.utility.compare import pair_scores

HERE = Path(__file__).parent
MEASURED = HERE / "measured"
PAGES = (
    "utility.md",
    "utility-tables.md",
    "utility_tried.md",
    "utility_1400.md",
    "utility_faults.md",
)
TABLE = re.compile(r"(<!-- table (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
RIVALS = ("classical", "paste", "perlin", "nsa")
MAIN = {"pixel_ap": "pixel AP", "class_ap": "AP, mean of classes"}
SCORES = {
    "f1": "F1",
    "f1_synthetic_threshold": "F1, synthetic threshold",
    "pro": "PRO",
    "image_auroc": "image AUROC",
}


def tabulate(rows: pd.DataFrame, asked: Mapping[str, str]) -> str:
    """Return one table as Markdown."""
    own = _choose(rows, asked)
    return _tabulate_draws(own, asked) if "draws" in asked else _tabulate_arms(own, asked)


def _choose(rows: pd.DataFrame, asked: Mapping[str, str]) -> pd.DataFrame:
    own = rows[(rows["data"] == asked["data"]) & (rows["budget"] == asked["budget"])]
    if "seeds" in asked:
        own = own[own["seed"].isin(map(int, asked["seeds"].split(",")))]
    return own


def _tabulate_draws(own: pd.DataFrame, asked: Mapping[str, str]) -> str:
    """Return what each recipe reached on each draw, and the mean where it has them all."""
    draws = [int(seed) for seed in asked["draws"].split(",")]
    means = [name for name in asked.get("and", "").split(",") if name]
    heads = ["pixel AP, draw", *map(str, draws), "mean", *(f"`{_name(n)}`, mean" for n in means)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for entry in asked["rows"].strip().splitlines():
        shown, _, place = entry.rpartition(": ")
        table = _pick(own, place).reindex(draws)
        has_all = table["pixel_ap"].notna().all()
        cells = [shown, *(_mean(table.loc[[seed], "pixel_ap"]) for seed in draws)]
        cells += [_mean(table[name]) if has_all else "" for name in ("pixel_ap", *means)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _pick(own: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return the rows of `arm/protocol`, one a seed."""
    arm, protocols = place.split("/")
    parts = [own[(own["arm"] == arm) & (own["protocol"] == p)] for p in protocols.split("+")]
    return pd.concat(parts).drop_duplicates("seed").set_index("seed")


def _read_arms(own: pd.DataFrame, asked: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    arms = {}
    for entry in asked["arms"].split(","):
        shown, _, place = entry.rpartition(":")
        arms[shown or place.split("/")[0]] = _pick(own, place)
    return arms


def _name(column: str) -> str:
    return column[3:].replace("_", " ")


def _tabulate_arms(own: pd.DataFrame, asked: Mapping[str, str]) -> str:
    """Return each arm's mean ± deviation over seeds, and its gains with 90 % intervals."""
    classes = [name for name in own if name.startswith("ap_") and own[name].notna().any()]
    own = own.assign(class_ap=own[classes].mean(axis=1))
    arms = _read_arms(own, asked)
    rivals = asked["over"].split(",")
    by = asked.get("by", "pixel_ap")
    heads = ["arm", "seeds", MAIN[by], *(f"over {rival} (90 %)" for rival in rivals)]
    if by == "pixel_ap":
        heads += [*SCORES.values(), *(f"AP {_name(name)}" for name in classes)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for arm, table in arms.items():
        scores = table[by]
        spread = f" ± {scores.std() * 100:.1f}" if len(table) > 1 else ""
        cells = [arm, str(len(table)), _mean(scores) + spread]
        cells += ["" if arm == rival else _gain(scores, arms[rival][by]) for rival in rivals]
        if by == "pixel_ap":
            cells += [_mean(table[name]) for name in (*SCORES, *classes)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _mean(values: pd.Series) -> str:
    mean = values.mean() * 100
    return "" if math.isnan(mean) else f"{mean:.1f}"


def _gain(one: pd.Series, other: pd.Series) -> str:
    seeds = one.index.intersection(other.index)
    mean, low, high = (100 * number for number in pair_scores(one[seeds], other[seeds]))
    return f"{mean:+.1f}" + (f" ({low:+.1f} to {high:+.1f})" if len(seeds) > 1 else "")


def write_tables(page: str, rows: pd.DataFrame) -> str:
    """Return the page with all its tables made from the rows."""

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}\n{tabulate(rows, _read(found))}\n{found[3]}"

    return TABLE.sub(fill, page)


def _read(found: re.Match[str]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in shlex.split(found[2]))


def draw_tables(page: str, rows: pd.DataFrame) -> Figure:
    """Return a panel for each of the page's tables by pixel AP: a dot per draw, a line at means."""
    tables = [asked for asked in map(_read, TABLE.finditer(page)) if "by" not in asked]
    figure = Figure(figsize=(10, 1.7 * math.ceil(len(tables) / 2)), layout="constrained")
    panels = figure.subplots(math.ceil(len(tables) / 2), 2, squeeze=False).ravel()
    for panel in panels[len(tables) :]:
        panel.axis("off")
    for panel, asked in zip(panels, tables, strict=False):
        arms = _read_arms(_choose(rows, asked), asked)
        for place, (name, table) in enumerate(arms.items()):
            colour = "tab:gray" if name in RIVALS else "tab:red"
            scores = table["pixel_ap"] * 100
            panel.plot(scores, [place] * len(table), "o", color=colour, alpha=0.5, ms=4)
            panel.plot([scores.mean()] * 2, [place - 0.35, place + 0.35], color=colour, lw=2)
        panel.set_yticks(range(len(arms)), list(arms), fontsize=8)
        panel.invert_yaxis()
        panel.tick_params(axis="x", labelsize=8)
        panel.grid(axis="x", alpha=0.3)
        panel.set_title(f"{asked['data']}, {asked['budget']} real per class", fontsize=9)
    figure.supxlabel("pixel AP on held-out real images, percent", fontsize=9)
    return figure


if __name__ == "__main__":
    rows = pd.read_csv(MEASURED / "utility.csv", dtype={"budget": str})
    for page in (MEASURED / name for name in PAGES):
        page.write_text(write_tables(page.read_text(encoding="utf-8"), rows), encoding="utf-8")
    shown = "".join((MEASURED / name).read_text(encoding="utf-8") for name in PAGES[:2])
    draw_tables(shown, rows).savefig(HERE / "images" / "utility.png", dpi=110)
