"""Make one image of a run again from its row, and compare.

synthgen reproduce run.folder=out sample_id=scratch-000003
synthgen reproduce run.folder=out sample_id=scratch-000003 out=compare.png
synthgen reproduce run.folder=out sample_id=gouge-000001 'allow=[line2.Gouge]'
"""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:
    import numpy as np

    from synthgen.config.objects import check_value, find_text, read_text, to_plain
    from synthgen.config.reproduce import reproduce
    from synthgen.imaging.images import write_png

    allow = check_value(list[str], to_plain(config)["allow"], "allow")
    out = find_text(config, "out")
    made = reproduce(read_text(config, "run.folder"), read_text(config, "sample_id"), allow)
    if out is not None:
        difference = np.abs(made.now.astype(np.int16) - made.before).astype(np.uint8)
        write_png(Path(out), np.hstack([made.before, made.now, difference]))
        show(f"before | now | difference: {out}")
    show(
        f"{made.sample_id}: pixels differ by {made.worst_levels} grey levels at most, "
        f"the label in {made.other_label_px} pixels"
    )
    if not made.is_equal:
        sys.exit(1)


if __name__ == "__main__":
    run_pipeline("reproduce", main)
