"""What is shown before a model paints: the parts that are found, places, sizes, and that they are
those of the run."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from synthgen.config.build import set_up
from synthgen.config.compose import compose
from synthgen.errors import RunError, SourceError
from synthgen.imaging.images import decode_image, read_image, write_png
from synthgen.report.preview import choose_specs, draw_preview, write_preview
from synthgen.runs.reader import read_run
from synthgen.samples.sample import Part, SourceImage
from synthgen.sources import SourceEntry
from synthgen.sources.findings import describe_parts
from tests.cli import run_here, run_well
from tests.specs import make_spec
from tests.unit.test_report import Page, check_names

SIZE_HW = (160, 208)
FEW = ("preview.count=4", "run.count=8", "defect=[pit,stain]")


def draw_photo(number: int, has_part: bool) -> np.ndarray:
    """Return a bright plate that lies a little turned on an even dark table, or surface only."""
    rng = np.random.default_rng(number)
    light = np.full(SIZE_HW, 150.0)
    if has_part:
        turn = ((104 + 3 * number, 80), (110, 70), 8.0 * number)
        plate = cv2.boxPoints(turn).astype(np.int32)
        light = cv2.fillPoly(np.full(SIZE_HW, 40.0), [plate], 170.0)
    noisy = cv2.GaussianBlur(light, (0, 0), 0.8) + rng.normal(0, 3, SIZE_HW)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write_photos(folder: Path, has_part: bool, count: int = 4) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        write_png(folder / f"{number}.png", draw_photo(number, has_part))
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp("parts") / "photos", has_part=True)


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp("surfaces") / "photos", has_part=False)


def preview(folder: Path, *arguments: str) -> tuple[str, Page]:
    """Return what the command said, and its page."""
    said = run_well("preview", *FEW, *arguments, "run.folder=out", cwd=folder)
    html = (folder / "out" / "preview.html").read_text()
    assert "url(" not in html
    assert not re.search(r"https?:", html)
    page = Page(html)
    assert all(link.startswith("data:image/") for link in page.values("src"))
    check_names(page)
    return said, page


def whole_photos(page: Page) -> list[np.ndarray]:
    links = [own["src"] for name, own in page.tags if own.get("alt", "").startswith("whole")]
    return [decode_image(base64.b64decode(link.split(",")[1]), "page") for link in links]


def count_green(photo: np.ndarray) -> int:
    """Return the pixels that are of the part's outline; a JPEG changes them a little."""
    red, green, blue = np.moveaxis(photo.astype(int), 2, 0)
    return int(((green - red > 60) & (green - blue > 40)).sum())


def test_drawn_surfaces_have_a_page_that_says_nothing_of_parts(tmp_path) -> None:
    said, page = preview(tmp_path, "source.size_hw=[96,96]", "source.kinds=[concrete]")
    assert "4 of 8 planned images with defects are drawn here" in page.text
    assert "photos" not in said
    assert len(whole_photos(page)) == 4
    assert all(count_green(photo) == 0 for photo in whole_photos(page))
    assert [line.split() for line in said.splitlines()[-1:]] == [["open", "out/preview.html"]]
    for name in ("pit", "stain"):
        assert re.search(rf"{name}\W+2 of 4", said)
    assert not re.search(r"\b(undefined|nan|None|NaN)\b", page.text)


def test_a_part_that_is_found_is_told_and_outlined(tmp_path, parts) -> None:
    said, page = preview(tmp_path, "source=folder", f"source.path={parts}")
    sentence = re.search(r"Part found on 4 of 4 photos, (\d+) % of the picture\.", said)
    assert sentence is not None
    assert abs(int(sentence[1]) - 23) <= 3
    assert sentence[0] in page.text
    assert len(whole_photos(page)) == 4
    assert all(count_green(photo) > 100 for photo in whole_photos(page))


def test_photos_without_a_background_are_told(tmp_path, surfaces) -> None:
    said, page = preview(tmp_path, "source=folder", f"source.path={surfaces}")
    sentence = "No background seen on 4 of 4 photos: defects may go anywhere."
    assert sentence in said
    assert sentence in page.text
    assert len(whole_photos(page)) == 4
    assert all(count_green(photo) == 0 for photo in whole_photos(page))


def test_the_places_are_those_that_generate_paints_at_the_first_try(tmp_path, surfaces) -> None:
    photos = ("source=folder", f"source.path={surfaces}", "run.count=12", "backend=sketch")
    run_well("generate", *photos, "run.folder=out", "run.retries=[]", cwd=tmp_path)
    job = set_up(compose("preview", [*photos, "run.folder=out"]))
    asked = {}

    def remember(spec):
        asked[spec.sample_id] = job.parts.stages.condition(spec)
        return asked[spec.sample_id]

    shown = draw_preview(job.specs, remember, 6)
    assert len(shown.tiles) == 6
    run = read_run(tmp_path / "out")
    for sample_id, condition in asked.items():
        row = run.manifest.set_index("sample_id").loc[sample_id]
        requested = read_image(tmp_path / "out" / row["requested"]) > 0
        assert np.array_equal(requested, condition.defect_mask)
    areas = [span for row in shown.rows for span in row.spans["area_px"] if np.isfinite(span)]
    assert set(areas) <= {float(c.defect_mask.sum()) for c in asked.values()}


def test_the_repaint_grid_of_a_backend_does_not_move_a_defect(tmp_path, surfaces) -> None:
    photos = ["source=folder", f"source.path={surfaces}", "run.count=2", "run.folder=out"]
    job = set_up(compose("generate", [*photos, "backend=sketch"]))
    condition = job.parts.stages.condition
    for spec in job.specs[:2]:
        condition.cell_px = 1
        fine = condition(spec)
        condition.cell_px = 8
        coarse = condition(spec)
        assert np.array_equal(fine.defect_mask, coarse.defect_mask)
        assert fine.repaint_mask.sum() < coarse.repaint_mask.sum()


def test_no_checkpoint_is_needed_and_the_run_follows_in_the_same_folder(tmp_path) -> None:
    source = ("source.size_hw=[96,96]", "seed=3")
    preview(tmp_path, *source, "backend=diffusion", "backend.model.checkpoint=/nowhere")
    run_well("generate", *FEW, *source, "backend=sketch", "run.folder=out", cwd=tmp_path)
    assert {"preview.html", "report.html"} <= {file.name for file in (tmp_path / "out").iterdir()}
    preview(tmp_path, *source)  # and beside a finished run


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mode=vary"], "mode=vary draws no defects"),
        (["preview.count=0"], "preview.count=0 is not possible"),
        (["preview.counts=3"], "preview.counts is not a key of preview"),
        (["source=folder", "source.path=nowhere"], "source.path='nowhere' does not exist"),
        (["run.folder=taken"], "run.folder='taken' exists and is not a run of synthgen"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(tmp_path, arguments, sentence) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("dear")
    small = ("run.count=2", "source.size_hw=[96,96]")
    small = small[:1] if "source=folder" in arguments else small
    done = run_here("preview", *small, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("synthgen: ")
    assert sentence in done.stderr
    assert done.stderr.count("synthgen: ") == 1
    assert "Traceback" not in done.stderr
    assert "drawing" not in done.stderr  # nothing is drawn before it is refused


@pytest.mark.parametrize("command", ["preview", "generate"])
def test_a_taken_folder_is_refused_before_the_photos_are_looked_at(tmp_path, command) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("dear")
    where = ("run.folder=taken", "source=folder", "source.path=nowhere")
    done = run_here(command, *where, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("synthgen: run.folder='taken' exists and is not a run")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["letter.txt"]


def test_generate_takes_the_command_line_of_a_preview(tmp_path) -> None:
    line = (*FEW[1:], "source.size_hw=[96,96]", "backend=sketch", "preview.count=1")
    run_well("preview", *line, "run.folder=out", cwd=tmp_path)
    run_well("generate", *line, "run.folder=out", cwd=tmp_path)
    assert "preview" not in (tmp_path / "out" / "run.yaml").read_text()
    shown = run_well("generate", *line, "run.folder=out", "--cfg", "job", cwd=tmp_path)
    assert "size_hw" in shown
    assert "preview" not in shown
    done = run_here("generate", *line, "preview.cuont=3", cwd=tmp_path)
    assert done.returncode == 2
    assert "preview.cuont is not a key of preview; did you mean preview.count?" in done.stderr
    done = run_here("generate", *line, "adapt.steps=3", cwd=tmp_path)
    assert "adapt.steps is not a key of generate; it is one of adapt; see" in done.stderr


def test_a_defect_without_room_is_told(tmp_path, surfaces) -> None:
    mask = np.zeros(SIZE_HW, np.uint8)
    mask[:3, :3] = 255
    for number in range(4):
        write_png(tmp_path / "legal" / f"{number}.png", mask)
    legal = ("source=folder", f"source.path={surfaces}", "source.legal=legal")
    said = run_well("preview", *FEW, "defect=[stain]", *legal, "run.folder=out", cwd=tmp_path)
    assert "find no room on their part at the first try (stain-0000" in said
    assert "Part given by a mask on 4 of 4 photos, 0.03 % of the picture." in said


class FewSources:
    """Photos of which each third has no part and one cannot be read."""

    skipped = ()

    def __init__(self, count: int) -> None:
        names = [f"{number:03d}" for number in range(count)]
        self.entries = [SourceEntry(name, name, f"/photos/{name}.png", "metal") for name in names]
        self.looked_at: list[str] = []

    def read(self, source_id: str) -> SourceImage:
        if source_id == "000":
            raise SourceError("the photo is broken")
        pixels = np.zeros((8, 8, 3), np.uint8)
        return SourceImage(
            source_id=source_id,
            group=source_id,
            pixels=pixels,
            window=(0, 255),
            path=f"/photos/{source_id}.png",
            surface="",
        )

    def part(self, source: SourceImage) -> Part:
        self.looked_at.append(source.source_id)
        mask = np.zeros((8, 8), bool)
        mask[:, : 1 + len(self.looked_at) % 4] = True
        if int(source.source_id) % 3 == 0:
            return Part(finding="unsure")
        return Part(finding="part", mask=mask)


def test_the_sentences_are_exact_about_what_was_looked_at() -> None:
    sources = FewSources(500)
    sentences = describe_parts(sources)
    lost = sum(int(name) % 3 == 0 for name in sources.looked_at)
    assert len(sources.looked_at) == 39
    assert sentences[0].startswith(f"Part not found on {lost} of 39 photos looked at, of 500 (")
    assert f".png and {lost - 3} more): defects may go anywhere there" in sentences[0]
    found = f"Part found on {39 - lost} of 39 photos looked at, of 500; it is 12 to 50 % of the"
    assert sentences[1] == f"{found} picture."
    assert describe_parts(FewSources(0)) == []


def test_specs_are_chosen_evenly_over_classes_and_photos() -> None:
    specs = [
        make_spec(sample_id=f"{n}", index=n, defect_class=("pit", "dent")[n % 2], source_id=f"{s}")
        for n, s in enumerate([0, 0, 0, 0, 1, 1, 2, 2])
    ]
    chosen = choose_specs(specs, 6)
    assert [spec.defect_class for spec in chosen] == ["dent", "pit"] * 3
    assert sorted(spec.source_id for spec in chosen) == ["0", "0", "1", "1", "2", "2"]
    assert len(choose_specs(specs, 100)) == 8


def test_a_page_is_not_written_among_other_files(tmp_path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    shown = draw_preview([], lambda spec: None, 3)
    with pytest.raises(RunError, match="give a new or an empty folder"):
        write_preview(tmp_path, shown)
    assert (
        "No defect could be drawn."
        in Page(write_preview(tmp_path / "new", shown).read_bytes().decode()).text
    )


def test_defects_on_grey_photos_are_drawn_grey(surfaces) -> None:
    keys = ["source=folder", f"source.path={surfaces}", "defect=[burn,corrosion]", "run.count=8"]
    job = set_up(compose("preview", [*keys, "run.folder=unused"]))
    tiles = draw_preview(job.specs, job.parts.stages.condition, 4).tiles
    for tile in tiles:
        for link in (tile.drawn, tile.source):
            pixels = decode_image(base64.b64decode(link.partition(",")[2]), tile.sample_id)
            spread = np.ptp(pixels.astype(int), axis=2) if pixels.ndim == 3 else np.zeros(1)
            assert spread.max() <= 3  # of JPEG


def test_a_page_of_many_photos_is_bounded(tmp_path, surfaces) -> None:
    photos = ["source=folder", f"source.path={surfaces}", "run.count=900"]
    job = set_up(compose("preview", [*photos, "run.folder=out"]))
    drawn = job.parts.stages.condition(job.specs[0])
    few, many = (draw_preview(job.specs, lambda spec: drawn, count) for count in (4, 500))
    assert len(many.tiles) == 500
    widths = [
        decode_image(base64.b64decode(page.tiles[0].drawn.split(",")[1]), "page").shape[1]
        for page in (few, many)
    ]
    assert widths == [280, 140]
    assert len(write_preview(tmp_path / "out", many).read_bytes()) < 16e6
