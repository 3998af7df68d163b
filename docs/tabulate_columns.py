"""Write the columns of a run's tables into run-folder.md: python docs/tabulate_columns.py"""

from __future__ import annotations

from pathlib import Path

from synthgen.samples.schema import columns_of

PAGE = Path(__file__).parent / "run-folder.md"
START, END = "<!-- written by docs/tabulate_columns.py -->\n", "<!-- to here -->\n"


def tabulate() -> str:
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


def fill_in(page: str) -> str:
    """Return the page with the tables of today between its marks."""
    before, rest = page.split(START)
    return f"{before}{START}\n{tabulate()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(fill_in(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
