"""What the page and the contact sheet say of a run, and that they repeat."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from synthgen.errors import ConfigError, RunError
from synthgen.imaging.images import read_image, write_png
from synthgen.references.items import BankItem, write_bank
from synthgen.report import write_comparison, write_contact_sheet, write_report
from synthgen.report.charts import Series, draw_distribution, draw_spark
from synthgen.report.facts import RunFacts, collect_run_facts
from synthgen.report.first.leads import collect_leads
from synthgen.report.first.next_steps import list_steps, write_override
from synthgen.report.measured import measure_quality
from synthgen.report.nearest import find_nearest_real
from synthgen.report.pictures import to_data_url
from synthgen.report.real import RunBank, read_run_bank
from synthgen.report.reviewed import collect_review
from synthgen.report.sheet import LABEL, PART, draw_views, mark_whole
from synthgen.runs.outlines import write_outline
from synthgen.runs.progress import describe_found_parts
from synthgen.runs.reader import RunTables, read_run
from synthgen.runs.reviews.decide import count_reasons
from synthgen.runs.reviews.verdicts import Verdict, add_verdicts
from synthgen.storage.places import LocalFolder
from tests.factories import make_run

RUN_FACTS = RunFacts(
    **{"name": "run", "folder": "run", "asked": 0, "accepted": 0, "rejected": 0, "good": 0},
    **{"first_try": 0, "tries": 0, "classes": [], "unused": [], "splits": {}, "seconds": {}},
    **{"images": 0, "sizes": [], "sources": 0, "groups": 0, "drawn": False, "about": {}},
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run").root


def test_the_same_run_gives_the_same_page(run) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_the_headline_says_how_many_were_asked_for(run) -> None:
    defects = (pd.read_parquet(run / "manifest.parquet")["defect_class"] != "").sum()
    page = write_report(run).read_bytes().decode()
    assert f'<dt>of {defects} defects accepted</dt><dd class="good">4</dd>' in page
    assert '<dt>rejected</dt><dd class="bad">2</dd>' in page


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


def test_the_report_of_a_damaged_run_says_what_is_missing(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "images" / "two_parts.png").unlink()
    with pytest.raises(RunError, match=r"two_parts\.png"):
        write_report(copy)


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attributes}))

    def handle_data(self, data) -> None:
        self.text += data

    def values(self, key: str, tag: str = "") -> list[str]:
        return [own[key] for name, own in self.tags if key in own and tag in ("", name)]


def read_report(folder) -> Page:
    return Page(write_report(folder).read_bytes().decode())


def test_a_manifest_without_rows_has_no_report(tmp_path) -> None:
    make_run(tmp_path)
    file = tmp_path / "manifest.parquet"
    pd.read_parquet(file).head(0).to_parquet(file)
    with pytest.raises(RunError, match=r"manifest\.parquet holds no samples"):
        write_report(tmp_path)


def test_the_report_is_one_file_and_says_what_the_manifest_says(run) -> None:
    html = write_report(run).read_bytes().decode()
    page = Page(html)
    assert all(link.startswith("data:image/") for link in page.values("src"))
    assert all(link.startswith("#") for link in page.values("href"))
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    for text in ("one_pixel_scratch", "two_parts", "rejected", "the photo x.png is broken"):
        assert text in page.text
    assert "leak_fraction 0.9 is above <b>0.3</b>" in page.text  # escaped, so it is text


def check_names(page: Page) -> None:
    """What a screen reader needs of every page: names, targets, levels of headings."""
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.values("href")} <= set(ids)
    assert set(page.values("aria-labelledby")) <= set(ids)
    assert page.values("alt") == [value for value in page.values("alt") if value]
    assert len(page.values("alt")) == len(page.values("src", "img")) > 0
    assert all("aria-label" in own for name, own in page.tags if name == "svg")
    assert {"header", "main", "nav"} <= {name for name, _ in page.tags}
    levels = [int(name[1]) for name, _ in page.tags if name in ("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def check_access(page: Page) -> None:
    """What a keyboard and a screen reader need of a page with samples."""
    check_names(page)
    assert page.values("aria-pressed") == ["true", *["false"] * 5]
    assert page.values("aria-keyshortcuts") == list("123456")


def test_the_report_can_be_used_without_eyes_and_mouse(run) -> None:
    check_access(read_report(run))


def test_a_run_without_an_accepted_defect_has_a_report(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    manifest = pd.read_parquet(copy / "manifest.parquet")
    manifest[manifest["status"] != "accepted"].to_parquet(copy / "manifest.parquet")
    page = read_report(copy)
    check_access(page)
    assert "No defect sample was accepted." in page.text
    assert "Nothing to draw." in page.text


def test_a_large_run_has_a_small_report(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    for name in ("manifest", "instances", "tries", "timings"):
        table = pd.read_parquet(copy / f"{name}.parquet")
        ids = table["sample_id"]
        parts = [table.assign(sample_id=ids + f"-{number}") for number in range(10_000 // 7 + 1)]
        pd.concat(parts, ignore_index=True).to_parquet(copy / f"{name}.parquet")
    page = write_report(copy).read_bytes()
    assert len(page) < 8e6
    assert '<dd class="good">5,716</dd>' in page.decode()


def test_measures_stand_beside_the_limits_in_force(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    limits = "{area_px: [20, null], classes: {pit: {area_px: [30, 900]}}}"
    (copy / "quality.yaml").write_text(limits)
    first, *others = measure_quality(read_run(copy))
    assert first.name == "area_px"
    assert first.limits == ["at least 20", "pit: 30 to 900"]
    areas = pd.read_parquet(copy / "manifest.parquet").query("area_px > 0")["area_px"]
    assert first.quantiles[1] == areas.median()
    assert {"fill_fraction", "contrast_delta_e"} <= {one.name for one in others}
    assert all(one.limits == ["none"] for one in others)


def test_the_most_alike_real_defect_is_found(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    crops = {name: read_image(copy / "images" / f"{name}.png") for name in ("hole", "two_parts")}
    items = [
        BankItem(
            *("pit", name, name, image, image, image[..., 0] > 200, 99, 9.0, 90.0, (0.5, 0.5)),
            item_id=f"real-{name}",
        )
        for name, image in crops.items()
    ]
    write_bank(tmp_path / "bank", items)
    record = yaml.safe_load((copy / "run.yaml").read_text())
    record["config"]["bank"] = {"path": str(tmp_path / "bank")}
    (copy / "run.yaml").write_text(yaml.safe_dump(record))
    manifest = pd.read_parquet(copy / "manifest.parquet")
    manifest.loc[manifest["sample_id"] == "hole", "real_bits"] = 0.0
    manifest.loc[manifest["sample_id"] == "two_parts", "real_bits"] = 3.0
    manifest.to_parquet(copy / "manifest.parquet")
    table = read_run(copy)
    found = find_nearest_real(table, read_run_bank(table), 12)
    assert found is not None
    assert [(pair.sample_id, pair.nearest_id, pair.bits) for pair in found.pairs] == [
        ("hole", "real-hole", "0"),
        ("two_parts", "real-two_parts", "3"),
    ]
    page = read_report(copy)
    check_access(page)
    assert "Nearest real defects" in page.text
    assert "differs from it in 0 of 64 bits (hole)" in page.text
    real = [text for text in page.values("alt") if text.startswith("real: real-")]
    assert real[:2] == ["real: real-hole", "real: real-two_parts"]
    assert "2 of 2 in the bank, median 99 px, contrast 9" in page.text
    shutil.rmtree(tmp_path / "bank")
    assert "The real defects cannot be shown" in read_report(copy).text


def test_what_people_said_is_counted(run, tmp_path) -> None:
    assert "What people said" not in read_report(run).text
    copy = shutil.copytree(run, tmp_path / "run")
    said = [
        ("hole", "accept", "", "ann"),
        ("two_parts", "reject", "too faint", "ann"),
        ("touches_border", "accept", "", "ann"),
        ("touches_border", "reject", "cut off", "bob"),
    ]
    when = "2026-01-31T12:00:00+00:00"
    add_verdicts(copy, [Verdict(name, 0, word, why, who, when) for name, word, why, who in said])
    review = collect_review(read_run(copy))
    assert review is not None
    assert (review.accepted, review.rejected, review.waiting) == (1, 1, 3)
    assert review.reviewers == {"ann": (2, 1), "bob": (0, 1)}
    assert review.reasons == {"too faint": 1}
    assert review.conflicts == [("touches_border", "ann: accept; bob: reject (cut off)")]
    page = read_report(copy)
    check_access(page)
    for text in ("What people said", "too faint 1", "accepted 2, rejected 1", "1 in conflict"):
        assert text in page.text


def change_run(run, folder, **columns):
    """Return a copy of a run whose manifest says something else."""
    copy = shutil.copytree(run, folder)
    pd.read_parquet(copy / "manifest.parquet").assign(**columns).to_parquet(
        copy / "manifest.parquet"
    )
    return copy


def test_the_report_leads_with_the_photos_whose_part_was_not_found(run, tmp_path) -> None:
    manifest = pd.read_parquet(run / "manifest.parquet")
    has_defect = (manifest["defect_class"] != "") & (manifest["image"] != "")
    is_lost = has_defect & (manifest["sample_id"] == "hole")
    part = np.zeros((48, 48), bool)
    part[:, :12] = True
    copy = change_run(
        run,
        tmp_path / "run",
        photo="/photos/" + manifest["source_id"] + ".png",
        part_finding=np.where(is_lost, "unsure", np.where(has_defect, "part", "")),
        part=np.where(has_defect & ~is_lost, write_outline(part), ""),
    )
    page = read_report(copy)
    check_access(page)
    photo = f"{manifest.loc[is_lost, 'source_id'].item()}.png"
    assert f"Part not found on 1 of 5 photos ({photo}): defects may go anywhere" in page.text
    assert "Part found on 4 of 5 photos, 25 % of the picture." in page.text
    found, not_found, counts = (
        page.text.index(words)
        for words in ("Part found on", "Part not found", "of 6 defects accepted")
    )
    assert not_found < found < counts


def test_the_report_says_in_words_what_does_not_belong(run, tmp_path) -> None:
    manifest = pd.read_parquet(run / "manifest.parquet")
    copy = change_run(
        run,
        tmp_path / "run",
        off_part_fraction=manifest["sample_id"].map({"hole": 0.9, "two_parts": 0.1}),
        edge_width_ratio=0.6,
        grain_ratio=1.5,
    )
    page = read_report(copy)
    assert "1 of 2 accepted labels lie on the background" in page.text
    assert "sharper than their photos: their edges are 0.6 times" in page.text
    assert "grainier than the surface around them: their grain is 1.5 times" in page.text
    assert "1 sample came to no image" in page.text


def test_a_class_with_few_accepted_samples_is_named_at_the_top(run, tmp_path) -> None:
    manifest = pd.read_parquet(run / "manifest.parquet")
    is_pit = (manifest["defect_class"] == "pit") & (manifest["image"] != "")
    copy = change_run(
        run,
        tmp_path / "run",
        status=manifest["status"].mask(is_pit, "rejected"),
        reasons=manifest["reasons"].mask(is_pit, "leak_fraction 0.9 is above 0.3"),
    )
    assert "Few samples were accepted of pit 0 of 4" in read_report(copy).text


def facts_of(folder):
    return collect_run_facts(read_run(folder))


def test_a_run_that_lacks_nothing_says_so(run, tmp_path) -> None:
    usual = dict.fromkeys(("edge_width_ratio", "grain_ratio", "size_ratio"), 1.0)
    copy = change_run(run, tmp_path / "run", contrast_delta_e=9.0, **usual)
    manifest = pd.read_parquet(copy / "manifest.parquet")
    manifest[manifest["status"] != "rejected"].to_parquet(copy / "manifest.parquet")
    page = read_report(copy)
    assert "Nothing stands out in the numbers." in page.text
    assert "synthgen inspect" not in page.text  # nothing is rejected


def test_each_lead_says_what_to_do_once(run, tmp_path) -> None:
    manifest = pd.read_parquet(run / "manifest.parquet")
    is_pit = (manifest["defect_class"] == "pit") & (manifest["image"] != "")
    copy = change_run(
        run,
        tmp_path / "run",
        status=manifest["status"].mask(is_pit, "rejected"),
        reasons=manifest["reasons"].mask(is_pit, "reference_delta_e 0 is below 1"),
    )
    leads = collect_leads(read_run(copy), facts_of(copy))
    assert [one.sentence.split(" ")[0] for one in leads if one.needs_attention] == [
        *("Few", "4", "1", "Some"),
    ]
    remedies = [one.remedy for one in leads if one.remedy]
    [paint_anew] = remedies
    assert "backend=embedded" in paint_anew


def test_sizes_and_contrasts_are_told_against_the_real_ones(run, tmp_path) -> None:
    manifest = pd.read_parquet(run / "manifest.parquet")
    accepted = manifest["defect_class"].ne("") & manifest["image"].ne("")
    copy = change_run(
        run,
        tmp_path / "run",
        status=np.where(accepted, "accepted", manifest["status"]),
        defect_class=np.where(accepted, "pit", manifest["defect_class"]),
        area_px=400.0,
        instances=2,
        contrast_delta_e=1.5,
    )
    image, mask = np.full((96, 96, 3), 90, np.uint8), np.zeros((96, 96), bool)
    mask[40:50, 40:50] = True
    items = [
        BankItem("pit", "a", "a", image, image, mask, 50, contrast, 0.0, (0.5, 0.5))
        for contrast in (4.0, 5.0, 6.0)
    ]
    told = collect_leads(read_run(copy), facts_of(copy), RunBank(items))
    sentences = " ".join(one.sentence for one in told if one.needs_attention)
    assert "Hardly to be seen, by their median contrast: pit 1.5." in sentences
    assert "Sizes are not those of the real defects, by the medians: pit 4 times" in sentences
    assert "(200 against 50 px)" in sentences
    assert "Contrasts are not those of the real defects, by the medians: pit 0.3 times" in sentences
    alike = [replace(item, area_px=220, contrast_delta_e=2.0) for item in items]
    told = collect_leads(read_run(copy), facts_of(copy), RunBank(alike))
    assert not any("of the real defects" in one.sentence for one in told)


def test_few_photos_behind_many_images_are_told() -> None:
    facts = replace(RUN_FACTS, accepted=50, sources=3, drawn=False)
    empty = pd.DataFrame({"status": [], "image": [], "defect_class": [], "reasons": []}, dtype=str)
    run = SimpleNamespace(manifest=empty)
    assert [one.sentence for one in collect_leads(run, facts)] == [
        "50 images come from 3 photos: a model may learn these by heart."
    ]
    assert collect_leads(run, replace(facts, sources=30)) == []
    assert collect_leads(run, replace(facts, drawn=True)) == []


def test_the_next_commands_are_those_of_this_run(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "my runs, 'all'")
    first, limit, last = list_steps(read_run(copy), facts_of(copy))
    for step in (first, limit, last):
        override = shlex.split(step.command)[-1 if step is first else 2]
        parsed = OverridesParser.create().parse_override(override)
        assert parsed.value() == str(copy)
    assert "'quality.leak_fraction=[null,null]'" in limit.command
    assert limit.words.startswith("1 rejected sample breaks no limit but leak_fraction.")


@pytest.mark.parametrize("value", ["a", 'a"b', "a\\", 'a\\"b', "c:\\d e", "ü{}[],=$"])
def test_an_override_is_read_back_as_it_was(value) -> None:
    [word] = shlex.split(write_override("out", value))
    assert OverridesParser.create().parse_override(word).value() == value


def test_a_run_from_before_says_nothing_of_parts(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    new = ["part_finding", "part", "off_part_fraction", "edge_width_ratio", "grain_ratio"]
    manifest = pd.read_parquet(copy / "manifest.parquet").drop(columns=new)
    manifest = manifest[manifest["image"] != ""]
    manifest.to_parquet(copy / "manifest.parquet")
    assert describe_found_parts(manifest) == []
    told = [one.sentence for one in collect_leads(read_run(copy), facts_of(copy))]
    assert told == [
        "1 of 5 defect samples were rejected in their last try, by limit: leak (leak_fraction) 1."
    ]


def test_the_whole_image_shows_where_the_part_was_found(tmp_path) -> None:
    flat, mask = np.full((200, 300, 3), 90, np.uint8), np.zeros((200, 300), np.uint8)
    names = {"image": flat, "source_path": flat, "control": flat, "mask": mask, "requested": mask}
    for name, pixels in names.items():
        write_png(tmp_path / f"{name}.png", pixels)
    part = np.zeros((200, 300), bool)
    part[50:150, 100:200] = True
    row = pd.Series({name: f"{name}.png" for name in names} | {"part": write_outline(part)})
    views = draw_views(RunTables(LocalFolder(tmp_path), {}), row, size_px=150)
    rows, columns = np.nonzero((views.whole == PART).all(axis=2))
    assert (rows.min(), rows.max()) == pytest.approx((25, 74), abs=2)
    assert (columns.min(), columns.max()) == pytest.approx((50, 99), abs=2)
    assert not (views.whole == LABEL).all(axis=2).any()  # there is no defect


@pytest.mark.parametrize("size_px", [2, 60])
def test_the_whole_image_shows_where_the_defect_is(size_px) -> None:
    defect = np.zeros((400, 600), bool)
    defect[100 : 100 + size_px, 300 : 300 + size_px] = True
    view = np.full((100, 150, 3), 90, np.uint8)
    mark_whole(view, None, defect)
    rows, columns = np.nonzero((view == LABEL).all(axis=2))
    assert columns.max() - columns.min() >= 15  # a small one has a ring around it
    middle = (100 + size_px / 2) / 4, (300 + size_px / 2) / 4
    assert (rows.mean(), columns.mean()) == pytest.approx(middle, abs=1)
    assert (view[round(middle[0]), round(middle[1])] == 90).all()  # it is not hidden


def test_a_defect_free_image_has_no_mark() -> None:
    view = np.full((100, 150, 3), 90, np.uint8)
    mark_whole(view, None, np.zeros((400, 600), bool))
    assert (view == 90).all()


def test_two_runs_are_compared(run, tmp_path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    manifest = pd.read_parquet(other / "manifest.parquet")
    manifest.loc[manifest["sample_id"] == "hole", ["status", "reasons"]] = "rejected", "seam 9 is"
    manifest.to_parquet(other / "manifest.parquet")
    record = yaml.safe_load((other / "run.yaml").read_text())
    record["config"]["seed"] = 7
    record["config"]["defect"].pop("stain")
    (other / "run.yaml").write_text(yaml.safe_dump(record))
    html = write_comparison([run, other], tmp_path / "deep" / "page.html").read_text()
    page = Page(html)
    check_access(page)
    rows = [" ".join(part.split()) for part in re.split(r"</tr>", re.sub("<td", " <td", html))]
    texts = [re.sub("<[^>]+>", "", row).strip() for row in rows]
    assert "accepted 4 3 −1" in texts
    assert "of the defects accepted 67 % 50 % −17 points" in texts
    assert "seed 0 7" in texts
    assert "defect.stain set –" in texts
    assert not any(text.startswith("run.folder") for text in texts)
    shown = [text for text in page.values("alt") if text.startswith("result of hole")]
    assert shown == []  # only one of the two accepted it


def test_runs_that_cannot_be_compared(run) -> None:
    for runs in ([run], [run, run], [run] * 7):
        with pytest.raises(ConfigError, match="give 2 to 6 different finished runs"):
            write_comparison(runs, run / "page.html")


def test_a_noisy_picture_is_no_large_one() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
    smooth = np.full((160, 160, 3), 90, np.uint8)
    assert len(to_data_url(smooth)) < 2_000 < len(to_data_url(noise)) < 16_000


def test_a_chart_counts_every_number() -> None:
    series = [Series.of("pit", [1, 2, 2, 9, np.nan, 4], "red"), Series.of("dent", [5], "blue")]
    svg = draw_distribution(series, "area")
    ElementTree.fromstring(svg)
    titles = re.findall(r"<title>(\w+): (\d+), ", svg)
    assert sum(int(count) for name, count in titles if name == "pit") == 5
    assert sum(int(count) for name, count in titles if name == "dent") == 1
    spark = draw_spark([1, 2, 3, 40], None, 3, "leak")
    ElementTree.fromstring(spark)
    counted = re.findall(r"<title>(\d+) (within|outside)", spark)
    assert sum(int(count) for count, kind in counted if kind == "outside") == 1
    assert sum(int(count) for count, kind in counted if kind == "within") == 3
    assert "limit 3" in spark


@pytest.mark.parametrize("values", [[], [3.0], [0.0, 0.0], [-1.0, 2.0]])
@pytest.mark.parametrize("is_log", [False, True])
def test_a_chart_of_few_numbers_is_drawn(values, is_log) -> None:
    svg = draw_distribution([Series.of("pit", values, "red")], "area", is_log=is_log)
    ElementTree.fromstring(svg)
    assert "nan" not in svg


def test_the_contact_sheet_is_a_picture(run, tmp_path) -> None:
    sheet = read_image(write_contact_sheet(run, tmp_path / "sheet.png", columns=2, size_px=96))
    assert sheet.shape[0] == 2 * 98
    assert sheet.std() > 20


def test_thin_outlines_are_seen_when_a_view_is_shrunk(tmp_path) -> None:
    label = np.zeros((800, 800), np.uint8)
    label[400, 20:780] = 10
    flat = np.full((800, 800, 3), 90, np.uint8)
    names = {"image": flat, "source_path": flat, "control": flat, "mask": label, "requested": label}
    for name, pixels in names.items():
        write_png(tmp_path / f"{name}.png", pixels)
    row = pd.Series({name: f"{name}.png" for name in names})
    views = draw_views(RunTables(LocalFolder(tmp_path), {}), row)
    assert np.any(views.label != views.result, axis=2).sum() > 100


def test_rejected_images_of_a_run_without_defects_are_told(run, tmp_path) -> None:
    copy = change_run(run, tmp_path / "run", defect_class="")
    manifest = pd.read_parquet(copy / "manifest.parquet")
    has_image = manifest["image"] != ""
    manifest["status"] = np.where(manifest["status"] == "accepted", "good", manifest["status"])
    manifest[has_image].to_parquet(copy / "manifest.parquet")
    page = read_report(copy)
    assert "1 of 6 varied images were rejected in their last try, by limit: leak" in page.text
    assert "defects accepted" not in page.text
