"""Write the columns of a run's tables, the measures and former names into their pages.

python docs/tabulate_columns.py
"""

from __future__ import annotations

from pathlib import Path

from synthgen.quality.measures import MEASURES
from synthgen.runs.renamed import COLUMNS_NOW, RENAMED
from synthgen.runs.schema import columns_of

HERE = Path(__file__).parent / "reference"
START, END = "<!-- written by docs/tabulate_columns.py -->\n", "<!-- to here -->\n"


def tabulate_columns() -> str:
    """Return the columns of manifest, instances and tries as tables in Markdown."""
    lines = []
    for table in ("manifest", "instances", "tries"):
        lines += [
            f"### {table}.parquet",
            "",
            "| column | kind | since | what |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{one.name}` | {one.kind} | {one.since} | {one.meaning} |"
            for one in columns_of(table)
        ]
        lines.append("")
    return "\n".join(lines)


def tabulate_measures() -> str:
    """Return the measures as a table in Markdown."""
    rows = [f"| `{one.name}` | {one.unit} | {one.scope} | {one.meaning} |" for one in MEASURES]
    return "\n".join(["| measurement | unit | of | what |", "|---|---|---|---|", *rows, ""])


def tabulate_former_names() -> str:
    """Return the former names of keys and columns as a table in Markdown."""
    columns = {f"column `{former}`": f"`{now}`" for former, now in COLUMNS_NOW.items()}
    keys = {f"`{former}`": f"`{now}`" for former, now in RENAMED.items()}
    rows = [f"| {former} | {now} |" for former, now in (keys | columns).items()]
    return "\n".join(["| former | now |", "|---|---|", *rows, ""])


PAGES = {
    "run-folder.md": tabulate_columns,
    "quality.md": tabulate_measures,
    "names.md": tabulate_former_names,
}


def fill_in(page: str, tables: str) -> str:
    """Return a page with the tables of today between its marks."""
    before, rest = page.split(START)
    return f"{before}{START}\n{tables}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    for name, tabulate in PAGES.items():
        page = (HERE / name).read_text(encoding="utf-8")
        (HERE / name).write_text(fill_in(page, tabulate()), encoding="utf-8")
