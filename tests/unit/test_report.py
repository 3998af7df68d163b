"""What the page says of samples without an image, and that it repeats."""

from __future__ import annotations

import pandas as pd
import pytest

from synthgen.report import write_report
from synthgen.runs.decide import count_reasons
from tests.factories import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run").root


def test_the_same_run_gives_the_same_page(run) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_the_headline_says_how_many_were_asked_for(run) -> None:
    asked = len(pd.read_parquet(run / "plan.parquet"))
    assert f"<b>{asked}</b>asked" in write_report(run).read_text(encoding="utf-8")


def test_reasons_are_counted_by_the_limit_they_broke() -> None:
    manifest = pd.DataFrame(
        {
            "status": ["rejected", "rejected", "rejected", "accepted"],
            "image": ["images/a.png", "images/b.png", "", "images/d.png"],
            "reasons": [
                "leak_fraction 0.9 is above 0.3; area_px 3 is below 12",
                "leak_fraction 0.5 is above 0.3",
                "the photo x.png holds floats; save it as PNG",
                "",
            ],
        }
    )
    assert count_reasons(manifest) == {"leak_fraction": 2, "area_px": 1, "no image": 1}
