"""Write the report of a run again, or a page that compares runs.

synthgen report run.folder=out
synthgen report runs=[out,out2] out=comparison.html

Both are one file without network. synthgen generate and synthgen inspect write report.html, too.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:

    from synthgen.config.objects import check_value, find_text, read_text, to_plain
    from synthgen.errors import ConfigError
    from synthgen.report import write_comparison, write_report

    folder = find_text(config, "run.folder")
    runs = check_value(list[str], to_plain(config)["runs"] or [], "runs")
    if (folder is None) == (not runs):
        raise ConfigError(
            "give run.folder=... to write the report of a run, or runs=[a,b] to compare runs"
        )
    page = (
        write_comparison(runs, Path(read_text(config, "out")))
        if folder is None
        else write_report(folder)
    )
    show(f"open  {page}")


if __name__ == "__main__":
    run_pipeline("report", main)
