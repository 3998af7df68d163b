from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

from synthgen.backends.checkpoints.find import describe_models, find_checkpoint
from synthgen.errors import RunError
from synthgen.imaging.images import read_image
from synthgen.runs.folder import FREE_TO_CHANGE, check_run_folder, open_run
from synthgen.runs.reader import read_run
from tests.factories import CASES, CONFIG, make_masks, make_run
from tests.families import TINY
from tests.specs import make_spec

FACTS = {"versions": {}, "backend": "test", "checkpoint": ""}


def test_every_row_has_its_files_and_its_numbers(tmp_path) -> None:
    make_run(tmp_path / "run")
    run = read_run(tmp_path / "run")
    rows = run.manifest.set_index("sample_id")
    assert set(rows.index) == {*CASES, "lost"}
    assert list(rows.index) == sorted(rows.index)
    assert rows.loc["lost", "status"] == "rejected"
    assert rows.loc["lost", "image"] == ""
    assert rows.loc["defect_free", "status"] == "good"
    for case in CASES:
        row = rows.loc[case]
        for column in ("image", "mask", "requested", "control", "source_path"):
            assert (run.root / row[column]).is_file()
        labels = read_image(run.root / row["mask"])
        assert ((labels > 0) == (make_masks(case) > 0)).all()
        assert set(labels.ravel()) <= {0, int(row["class_id"])}
        assert row["area_px"] == (make_masks(case) > 0).sum()
    assert rows.loc["touches_border", "instances"] == 2
    assert rows.loc["one_pixel_scratch", ["box_x", "box_y", "box_w", "box_h"]].tolist() == [
        5,
        20,
        35,
        1,
    ]
    assert len(run.instances) == 6
    assert run.classes == {"pit": 9, "scratch": 10, "stain": 12}


def test_the_same_config_continues_and_another_does_not(tmp_path) -> None:
    specs = [make_spec(sample_id=f"s{n}", index=n) for n in range(3)]
    open_run(tmp_path / "run", CONFIG, specs, FACTS)
    assert open_run(tmp_path / "run", CONFIG, specs, FACTS).revisions() == {}
    with pytest.raises(RunError, match=r"run\.count=6, now it is 7"):
        open_run(tmp_path / "run", {**CONFIG, "run": {"folder": "x", "count": 7}}, specs, FACTS)
    with pytest.raises(RunError, match="another plan"):
        open_run(tmp_path / "run", CONFIG, specs[:2], FACTS)
    moved = {**CONFIG, "run": {"folder": "elsewhere", "count": 6}}
    assert open_run(tmp_path / "run", moved, specs, FACTS).root == tmp_path / "run"


def test_the_page_of_the_run_folder_names_the_keys_that_may_change() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    page = (docs / "reference" / "run-folder.md").read_text("utf-8")
    told = re.search(r"These keys may\s+change: (.*?)\. ", page, re.DOTALL)
    assert told
    assert set(re.findall("`(.+?)`", told[1])) == set(FREE_TO_CHANGE)


@pytest.mark.parametrize(
    "changed", ["unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"]
)
def test_other_weights_under_the_same_name_do_not_continue_a_run(tmp_path, changed) -> None:
    models = tmp_path / "models"
    folder = TINY["sd15"](models).base
    specs = [make_spec()]

    def begin() -> None:
        found = {"checkpoint": find_checkpoint(str(folder))}
        open_run(tmp_path / "run", CONFIG, specs, FACTS | {"models": describe_models(found)})

    begin()
    begin()  # the same weights continue
    path = folder / changed
    content = path.read_bytes()
    is_weights = path.suffix == ".safetensors"
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if is_weights else content + b" ")
    named = changed if is_weights else "one of its settings files"
    with pytest.raises(RunError, match=f"holds a run with other weights: {named} of checkpoint="):
        begin()


def test_a_run_that_recorded_no_digests_is_continued(tmp_path) -> None:
    for models in ({"checkpoint": {"name": "x"}}, {"checkpoint": {"name": "x", "digest": "1"}}):
        open_run(tmp_path / "run", CONFIG, [make_spec()], FACTS | {"models": models})


def test_a_folder_of_something_else_is_left_alone(tmp_path) -> None:
    (tmp_path / "photo.png").write_text("mine")
    with pytest.raises(RunError, match="is not a run of synthgen"):
        open_run(tmp_path, CONFIG, [make_spec()], FACTS)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path) -> None:
    assert not check_run_folder(tmp_path / "new" / "run")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="Not a directory"):
        check_run_folder(tmp_path / "file" / "run")
    user = os.geteuid()
    with TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        os.seteuid(65534 if user == 0 else user)  # root may write everywhere
        try:
            with pytest.raises(RunError, match=rf"/run' cannot be written: {name} allows no new"):
                check_run_folder(Path(name, "run"))
        finally:
            os.seteuid(user)
            Path(name).chmod(0o755)


def test_finished_samples_are_known(tmp_path) -> None:
    assert set(make_run(tmp_path / "run").revisions()) == {*CASES, "lost"}


def test_an_unfinished_or_missing_run_says_so(tmp_path) -> None:
    with pytest.raises(RunError, match=r"no run\.yaml"):
        read_run(tmp_path)
    open_run(tmp_path / "run", CONFIG, [make_spec()], FACTS)
    with pytest.raises(RunError, match=r"manifest\.parquet is missing"):
        read_run(tmp_path / "run")


def test_tables_hold_no_clock(tmp_path) -> None:
    for name in ("a", "b"):
        make_run(tmp_path / name)
    one, other = (read_run(tmp_path / name) for name in ("a", "b"))
    pd.testing.assert_frame_equal(one.manifest, other.manifest)
    pd.testing.assert_frame_equal(one.instances, other.instances)
