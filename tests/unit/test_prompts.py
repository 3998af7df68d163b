from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import yaml

from synthgen.backends.checkpoints.families import FAMILIES
from synthgen.backends.diffusion.prompt_weights import encode_weighted, why_no_weights
from synthgen.backends.diffusion.tokens import explain_cuts, find_cuts
from synthgen.config.build import build_classes, build_prompts
from synthgen.config.objects import check_value
from synthgen.errors import ConfigError, ModelError
from synthgen.planning.plan import draw_plan
from synthgen.planning.prompts import (
    SYNONYMS,
    PromptSettings,
    PromptWriter,
    describe,
    read_prompt_table,
    vocabulary,
)
from synthgen.samples.sample import SampleSpec
from synthgen.sources import ProceduralSources
from synthgen.storage.files import find_shipped
from synthgen.training.embedded import build_tokenizer
from tests.families_transformer import save_flux, save_sd3
from tests.families_unet import save_sd15, save_sdxl
from tests.samples import draw_classes

pytestmark = pytest.mark.filterwarnings(
    "ignore:`FluxPosEmbed` is deprecated:FutureWarning"  # diffusers 0.42's own call
)
# A plan of the first release: id, seed, source, split, defects, severity.
KEPT = [
    ("abrasion-000000", 4079364925369750812, "cast-000013", "train", 1, 0.204086),
    ("pit-000001", 7130216195166098045, "wood-000010", "test", 1, 0.489812),
    ("scratch-000002", 7833856098354450256, "plastic-000006", "test", 1, 0.761956),
    ("scratch-000003", 4962265147830291140, "ground-000003", "test", 1, 0.209256),
    ("abrasion-000004", 4662949420733002840, "concrete-000014", "train", 1, 0.489419),
    ("pit-000005", 3720803537341916804, "speckled-000008", "train", 1, 0.668147),
    ("good-000006", 5069564695131231746, "leather-000016", "test", 0, 0.0),
    ("good-000007", 8900808206824778488, "plastic-000018", "val", 0, 0.0),
]
KEPT_PROMPTS = [
    "a faint abrasion on cast metal",
    "a pit on wood",
    "a strong scratch on moulded plastic",
    "a faint scratch on ground metal",
    "an abrasion on concrete",
    "a strong pit on speckled stone",
    "a clean leather",
    "a clean moulded plastic",
]
MANY = 40


def plan(
    count: int = 6, goods: int = 2, table: Path | None = None, **options: Any
) -> list[SampleSpec]:
    """Draw a plan of abrasions, pits and scratches; ``options`` are keys of ``prompt``."""
    sources = ProceduralSources(20, (64, 64), (), 1)
    classes = draw_classes("scratch", "pit", "abrasion", **options.pop("of_classes", {}))
    settings = options | {"table": str(table) if table else None}
    prompts = build_prompts(settings, classes)
    return draw_plan(
        sources, classes, count, goods, {"train": 0.6, "val": 0.2, "test": 0.2}, 1, prompts
    )


def drawn(specs: list[SampleSpec]) -> list[tuple]:
    return [
        (s.sample_id, s.seed, s.source_id, s.split, s.instances, round(s.severity, 6))
        for s in specs
    ]


def write_csv(folder: Path, *lines: str) -> Path:
    path = folder / "prompts.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_plan_is_what_it_was() -> None:
    specs = plan()
    assert drawn(specs) == KEPT
    assert [spec.prompt for spec in specs] == KEPT_PROMPTS


@pytest.mark.parametrize(
    "options",
    [
        {"synonym_fraction": 1.0},
        {"severity_words": [["weak", "pale"], ["strong", "deep", "wide"]]},
        {"template": "{noun}", "good": "{material}", "material": "steel", "negative": "blur"},
    ],
)
def test_words_shift_no_other_draw(options: dict) -> None:
    specs = plan(**options)
    assert drawn(specs) == KEPT
    assert [spec.prompt for spec in specs] != KEPT_PROMPTS


def test_a_table_shifts_no_other_draw(tmp_path: Path) -> None:
    table = write_csv(tmp_path, "defect_class,prompt", "pit,one", "pit,two", "good,clean")
    assert drawn(plan(table=table)) == KEPT


def test_fields_and_the_article() -> None:
    specs = plan(template="photo of {article} ({severity})1.4 {noun}, {material}", material="ash")
    assert [spec.prompt for spec in specs[:3]] == [
        "photo of a (faint)1.4 abrasion, ash",
        "photo of a ()1.4 pit, ash",
        "photo of a (strong)1.4 scratch, ash",
    ]
    assert plan(template="{article} ({noun})++")[0].prompt == "an (abrasion)++"
    assert plan(good="{article} {material}", material="oak plank")[-1].prompt == "an oak plank"


def test_a_class_has_its_own_words() -> None:
    own = {
        "template": "{severity} {noun}",
        "synonyms": ("nick",),
        "severity_words": (("thin",),),
        "negative": "paint",
    }
    specs = plan(count=MANY, goods=0, synonym_fraction=1, negative="blur", of_classes=own)
    assert {spec.negative_prompt for spec in specs} == {"paint"}
    nouns = {spec.prompt for spec in specs if spec.defect_class == "pit"}
    assert nouns == {"thin pit", "thin nick"}


def test_synonyms_are_drawn_as_often_as_asked() -> None:
    for fraction, others in ((0.0, 0), (1.0, 2 / 3)):
        specs = plan(count=600, goods=0, synonym_fraction=fraction)
        pits = [s.prompt for s in specs if s.defect_class == "pit"]
        found = sum(" pit " not in prompt for prompt in pits) / len(pits)
        assert found == pytest.approx(others, abs=0.1)
    assert {word for word in SYNONYMS["pit"] if any(word in prompt for prompt in pits)} == set(
        SYNONYMS["pit"]
    )


def test_another_noun_has_no_synonyms_of_the_old_one() -> None:
    classes = draw_classes("stain")
    writer = PromptWriter(PromptSettings(synonym_fraction=1.0))
    wording = classes["stain"].wording()._replace(noun="oil film")
    texts = [writer.write("stain", wording, 0.5, "steel", seed).prompt for seed in range(9)]
    assert set(texts) == {"an oil film on steel"}


def test_the_model_that_ships_knows_every_word_that_is_drawn() -> None:
    for path in sorted((find_shipped("conf") / "defect").glob("*.yaml")):
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        ((name, kind),) = build_classes(node).items()
        assert kind.wording().words() == SYNONYMS[name]
    reader = find_cuts(find_shipped("data") / "models" / "embedded", [])[0]
    assert reader.limit == 16
    tokenizer = build_tokenizer(vocabulary([]))
    for words in SYNONYMS.values():
        for word in words:
            assert len(tokenizer(word, add_special_tokens=False).input_ids) == len(word.split())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"template": "a {colour} {noun}"}, r"prompt\.template=.*{colour} is not a field.*{noun}"),
        ({"template": "{noun!r}"}, r"prompt\.template"),
        ({"template": "{noun"}, r"prompt\.template"),
        ({"template": "  "}, r"prompt\.template=.*empty"),
        ({"good": "no {noun}"}, r"prompt\.good=.*{noun} is not a field.*{article}, {material}$"),
        ({"synonym_fraction": 2}, r"prompt\.synonym_fraction=2"),
        ({"severity_words": []}, r"prompt\.severity_words"),
        ({"severity_words": [["faint"], []]}, r"prompt\.severity_words\.1"),
        ({"weights": True}, r"prompt\.weights"),
    ],
)
def test_impossible_settings_name_the_key(wrong: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_prompts(wrong, {})


def test_an_impossible_template_of_a_class_names_the_key() -> None:
    node = yaml.safe_load((find_shipped("conf") / "defect" / "pit.yaml").read_text("utf-8"))
    node["pit"]["template"] = "{size} pit"
    with pytest.raises(ConfigError, match=r"defect\.pit\.template=.*{size} is not a field"):
        build_classes(node)


def test_own_prompts_by_weight(tmp_path: Path) -> None:
    table = write_csv(
        tmp_path,
        "defect_class,prompt,negative_prompt,weight",
        "pit,{article} {severity} blowhole in {material},,3",
        'pit,"a pore, open",rust,',
        "",
        "good,{article} {material} sheet,,",
        "crack,never drawn: no class of this run,,",
    )
    specs = plan(count=600, goods=60, table=table, negative="blur", material="iron")
    pits = Counter(s.prompt for s in specs if s.defect_class == "pit")
    assert pits["a pore, open"] / pits.total() == pytest.approx(0.25, abs=0.08)
    assert set(pits) == {
        "a pore, open",
        "a faint blowhole in iron",
        "a blowhole in iron",
        "a strong blowhole in iron",
    }
    negatives = {s.prompt: s.negative_prompt for s in specs}
    assert negatives["a pore, open"] == "rust"
    assert negatives["a blowhole in iron"] == "blur"
    assert {s.prompt for s in specs if s.is_defect_free} == {"an iron sheet"}
    assert "a strong scratch on iron" in negatives  # a class without rows has its template


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["defect_class,text"], "line 1 has no column prompt"),
        (["defect_class,prompt,wieght"], "line 1 has a column 'wieght'"),
        (["defect_class,prompt"], "holds no prompt"),
        ([], "line 1 has no column defect_class"),
        (["defect_class,prompt", "pit,x", "pitt,x"], "line 3: defect_class 'pitt' is unknown"),
        (["defect_class,prompt", "pit, "], "line 2: prompt ' ' is not possible: it is empty"),
        (["defect_class,prompt", "pit"], "line 2: prompt '' is not possible"),
        (["defect_class,prompt", "pit,{hue}"], "line 2: .*{hue} is not a field"),
        (["defect_class,prompt", "good,{noun}"], "line 2: .*{noun} is not a field"),
        (["defect_class,prompt", "pit,a pit, deep"], "line 2: it has more cells"),
        (["defect_class,prompt,weight", "pit,a pit,0"], "line 2: weight '0' must be"),
        (["defect_class,prompt,weight", "pit,a pit,nan"], "line 2: weight 'nan' must be"),
        (["defect_class,prompt", 'pit,"a pit'], "cannot be read"),
    ],
)
def test_impossible_tables_name_the_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_prompt_table(str(write_csv(tmp_path, *lines)), ["pit"])


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"prompt\.table=.*cannot be read \(No such file"):
        read_prompt_table(str(tmp_path / "none.csv"), ["pit"])
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"cannot be read .*UTF-8"):
        read_prompt_table(str(binary), ["pit"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "sd": save_sd15(root / "sd").base,
        "sdxl": save_sdxl(root / "sdxl").base,
        "sd3": save_sd3(root / "sd3").base,
        "flux": save_flux(root / "flux").base,
    }


FAMILY = {family.name: family for family in FAMILIES}


def long_prompt(words: int, last: str) -> str:
    return "scratch metal " * (words // 2) + last


def test_lost_words_are_found_and_told(folders: dict[str, Path]) -> None:
    fits, longer = long_prompt(74, "scratch"), long_prompt(74, "metal deep stain")
    readers = find_cuts(folders["sd"], [fits, longer, fits, "pit"])
    assert [(reader.name, reader.limit) for reader in readers] == [("tokenizer", 77)]
    assert readers[0].cuts[longer].lost_words == "deep stain"
    assert readers[0].cuts[longer].lost_tokens == 5  # the letters of deep, which it does not know
    assert list(readers[0].cuts) == [longer]
    (said,) = explain_cuts(folders["sd"], readers, 3)
    assert said == (
        "1 of 3 prompts is longer than the 77 tokens that tokenizer reads; the first loses "
        "'deep stain': shorten it, or set backend.painting.prompt_weights=true"
    )


def test_a_word_that_is_cut_through_is_told_whole(folders: dict[str, Path]) -> None:
    (reader,) = find_cuts(folders["sd"], [long_prompt(72, "deep")])
    assert reader.cuts[long_prompt(72, "deep")] == (1, "deep")


def test_which_of_several_tokenizers_cuts(folders: dict[str, Path]) -> None:
    longer = long_prompt(100, "metal")
    said = {name: explain_cuts(f, find_cuts(f, [longer]), 1) for name, f in folders.items()}
    assert "that tokenizer and tokenizer_2 read; " in said["sdxl"][0]
    assert "77 tokens that tokenizer reads (tokenizer_2 reads 512); " in said["flux"][0]
    assert "tokenizer and tokenizer_2 read (tokenizer_3 reads 256); " in said["sd3"][0]
    assert "prompt_weights" in said["sdxl"][0]
    assert "prompt_weights" not in said["flux"][0] + said["sd3"][0]
    both = explain_cuts(folders["sd3"], find_cuts(folders["sd3"], [long_prompt(600, "a")]), 1)
    assert ["77 tokens" in both[0], "256 tokens that tokenizer_3" in both[1]] == [True, True]


def test_a_thousand_prompts_are_counted_fast(folders: dict[str, Path]) -> None:
    prompts = [f"{long_prompt(60, 'stain')} number {number}" for number in range(1000)]
    find_cuts(folders["sd"], prompts[:1])  # imports transformers
    begun = time.process_time()
    find_cuts(folders["sd"], prompts)
    assert time.process_time() - begun < 2


def test_a_folder_without_and_with_a_broken_tokenizer(tmp_path: Path) -> None:
    assert find_cuts(tmp_path, ["a pit"]) == []
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer.*does not load"):
        find_cuts(tmp_path, ["a pit"])


def load(folder: Path) -> Any:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        str(folder), local_files_only=True, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def pipelines(folders: dict[str, Path]) -> dict[str, Any]:
    return {name: load(folders[name]) for name in ("sd", "sdxl", "flux")}


def plain_states(name: str, pipeline: Any) -> dict[str, torch.Tensor]:
    """Encode as the pipeline itself does."""
    with torch.no_grad():
        if name == "flux":
            states = pipeline.encode_prompt("a scratch on metal", None, "cpu")[:2]
            return dict(zip(("prompt_embeds", "pooled_prompt_embeds"), states, strict=True))
        states = pipeline.encode_prompt(
            prompt="a scratch on metal",
            device="cpu",
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt="stain",
        )
    names = ("prompt_embeds", "negative_prompt_embeds")
    pooled = ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    return dict(zip((*names, *pooled)[: len(states)], states, strict=True))


@pytest.mark.parametrize("name", ["sd", "sdxl", "flux"])
def test_weights_change_what_is_read_and_weight_1_does_not(pipelines: dict, name: str) -> None:
    expected = plain_states(name, pipelines[name])
    for text in ("a scratch on metal", "a (scratch)1.0 on metal"):
        found = encode_weighted(pipelines[name], FAMILY[name], text, "stain")
        for key, states in expected.items():
            assert torch.allclose(found[key], states, atol=1e-4), key
    for text in ("a (scratch)1.5 on metal", "a scratch++ on metal", "a (scratch)0.5 on metal"):
        weighted = encode_weighted(pipelines[name], FAMILY[name], text, "stain")
        assert not torch.allclose(weighted["prompt_embeds"], found["prompt_embeds"], atol=1e-2)
        if "pooled_prompt_embeds" in weighted:  # of the text without its weights
            assert torch.equal(weighted["pooled_prompt_embeds"], found["pooled_prompt_embeds"])


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_a_long_prompt_is_read_to_its_end(pipelines: dict, name: str) -> None:
    ends = [
        encode_weighted(pipelines[name], FAMILY[name], long_prompt(100, end), "")
        for end in ("a", "stain")
    ]
    assert ends[0]["prompt_embeds"].shape[1] == 2 * 77
    assert ends[0]["negative_prompt_embeds"].shape == ends[0]["prompt_embeds"].shape
    assert not torch.allclose(ends[0]["prompt_embeds"], ends[1]["prompt_embeds"], atol=1e-2)


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_the_pipeline_paints_with_them(pipelines: dict, name: str) -> None:
    states = encode_weighted(pipelines[name], FAMILY[name], long_prompt(100, "(stain)1.3"), "metal")
    images = pipelines[name](
        **states, num_inference_steps=1, height=64, width=64, output_type="np"
    ).images
    assert images.shape == (1, 64, 64, 3)


def test_what_takes_no_weights_says_so(pipelines: dict) -> None:
    for name in ("sd3", "qwen_image", "flux2_klein"):
        assert "takes no weighted prompts" in (why_no_weights(FAMILY[name]) or "")
    for name in ("flux", "flux_fill", "embedded", "sd", "sdxl"):
        assert why_no_weights(FAMILY[name]) is None
    assert {name for name, family in FAMILY.items() if family.reads_long_prompts} == {"sd", "sdxl"}
    for text in ('a "scratch".swap(pit) on metal', '("a pit", "rust").blend(1)'):
        with pytest.raises(ConfigError, match="the prompt"):
            encode_weighted(pipelines["sd"], FAMILY["sd"], text, "")


def test_default_words_are_those_of_describe() -> None:
    for spec, prompt in zip(plan(), KEPT_PROMPTS, strict=True):
        if spec.defect_class:
            surface = prompt.partition(" on ")[2]
            assert describe(spec.defect_class, spec.severity, surface) == prompt


def test_the_prompt_node_may_be_missing_keys() -> None:
    assert check_value(PromptSettings, {"negative": None}, "prompt").table is None
