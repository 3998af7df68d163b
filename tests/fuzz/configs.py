"""Broken configs of every pipeline: keys and sections are given values that they cannot take."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from synthgen.config.compose import compose
from tests.fuzz.ground import SMALL, Ground, Tally, judge, real_masks

__all__ = ["PIPELINES", "fuzz_configs"]

Base = Callable[[Ground], list[str]]
EMBEDDED = "synthgen.backends.diffusion.backend.DiffusionBackend"


def _painting(*more: str) -> Base:
    return lambda ground: [*SMALL, "run.folder=out", "run.count=1", *more]


def _of_run(*more: str) -> Base:
    return lambda ground: [f"run.folder={ground.run}", *more]


def _real(ground: Ground) -> list[str]:
    return [f"real.path={ground.photos}", *real_masks(ground), "out=out"]


def _folder(ground: Ground) -> list[str]:
    photos = ["source=folder", f"source.path={ground.photos}"]
    return ["run.folder=out", "run.count=1", "run.retries=[]", "backend=sketch", *photos]


def _inspect(ground: Ground) -> list[str]:
    return ["run.folder=out"]


def _utility(ground: Ground) -> list[str]:
    real = [f"evaluate.real.path={ground.photos.parent / 'real.csv'}", "evaluate.folder=out"]
    return [*real, "evaluate.training.steps=1", "evaluate.seeds=[0]", "evaluate.draw_only=true"]


def _fidelity(ground: Ground) -> list[str]:
    return ["evaluate.folder=out", "evaluate.count=12", "evaluate.photo_count=0", "backend=sketch"]


def _labels(ground: Ground) -> list[str]:
    return ["evaluate.folder=out", "evaluate.count=4"]


def _realism(ground: Ground) -> list[str]:
    many = [f"evaluate.run={ground.many}", f"evaluate.real.path={ground.parts}"]
    return [*many, "evaluate.folder=out", "evaluate.count=20", "evaluate.sheet=4"]


def _hed(ground: Ground) -> list[str]:
    return ["out=out", f"file={ground.hed}"]


def _pretrain(ground: Ground) -> list[str]:
    return ["pretrain.folder=out", "pretrain.steps=1", "pretrain.batch_size=1"]


def _adapt(ground: Ground) -> list[str]:
    return [*_real(ground), "adapt.steps=1", "adapt.batch_size=2", "backend=sketch"]


PIPELINES: Sequence[tuple[str, Base, int]] = (  # words, what it needs, how often it is drawn
    ("generate", _painting(), 8),
    ("generate", _painting("augment=camera", "quality=strict"), 3),
    ("generate", _folder, 3),
    ("generate", _painting("executor=processes"), 1),
    ("generate", _painting("backend=embedded"), 4),
    ("generate", lambda ground: [*_painting()(ground), f"bank.path={ground.bank}"], 3),
    ("preview", _painting("backend=embedded"), 4),
    ("inspect", _inspect, 4),
    ("export", _of_run("out=out", "format=[coco,yolo,table,voc]"), 3),
    ("export", _of_run("out=out", "format=[label_studio,webdataset,mvtec,imagefolder,cvat]"), 2),
    ("report", lambda ground: [f"runs=[{ground.run},{ground.other_run}]", "out=out.html"], 1),
    ("reproduce", _of_run("sample_id=abrasion-000000", "out=out.png"), 1),
    ("bank", _real, 2),
    ("adapt", _adapt, 3),
    ("pretrain", _pretrain, 3),
    ("evaluate fidelity", _fidelity, 2),
    ("evaluate labels", _labels, 2),
    ("evaluate utility", _utility, 3),
    ("evaluate realism", _realism, 3),
    ("convert hed", _hed, 1),
    ("review", lambda ground: ["run.folder=gone"], 1),
    ("review push", lambda ground: ["run.folder=gone"], 1),
    ("review pull", lambda ground: ["run.folder=gone"], 1),
    ("doctor", lambda ground: ["out=out.json"], 1),
)
NEVER = ("nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "9" * 30)  # wrong wherever it is
NUMBERS = (*NEVER, "1e9", "1000000000", "-1000", "-1", "0", "-0.5", "1.5")
OTHERS = ("null", "true", "[]", "{}", "text", "''", "[[1]]", "{a: 1}", "[1,2,3]", "5", "[null]")
AWAY = "'../../away'"
TEXTS = (
    *("'{0.__class__}'", "'{article.x}'", "'{'", "'{}'", "'%s%n'", AWAY, "'/dev/null/x'"),
    *("'a b'", "'\\x01'", "'\\udcff'", "'" + "x" * 3000 + "'", "'http://127.0.0.1:9/x'"),
    *("'~nobody/x'", "'file:///dev/null/x'", "'s3:/x'", "'a::b'", "'(['", "'*'", "'é'"),
)
RANGES = ("[nan,1]", "[1,nan]", "[5,1]", "[1e308,1e308]", "[1]", "[1,2,3]", "[a,b]", "[null]")
RANGES += ("[-1,-1]", "[0,0]", "[[1,2],[3,4]]", "[inf,inf]", "[null,null]", "[true,false]")
PLACES = (
    "card",
    "evaluate.run",
    "folder",
    "path",
    "out",
    "cache",
    "images",
    "masks",
    "table",
    "adapter",
    "run.folder",
)
NESTED = "[" * 60 + "1" + "]" * 60


@dataclass(frozen=True)
class Break:
    """One override that breaks a config. ``names``: what a message about it may name."""

    override: str
    names: Sequence[str]
    is_wrong: bool


def fuzz_configs(ground: Ground, seed: int, count: int, tally: Tally) -> None:
    """Run ``count`` broken configs, drawn by ``seed``, over every pipeline."""
    draw = random.Random(seed)
    order = [place for place, (_, _, often) in enumerate(PIPELINES) for _ in range(often)]
    breaks: dict[int, Iterator[Break]] = {}
    for number in range(count):
        at = number % len(PIPELINES) if number < len(PIPELINES) else draw.choice(order)
        words, base, _ = PIPELINES[at]
        overrides = base(ground)
        if at not in breaks:
            tree = OmegaConf.to_container(compose(words.replace(" ", "_"), overrides))
            breaks[at] = _breaks(draw, tree, words)
        one = next(breaks[at])
        place = ground.begin()
        if words == "inspect":
            _copy_run(ground, place)
        arguments = [*words.split(), *overrides, one.override]
        judge(
            tally,
            ground,
            arguments,
            " ".join(arguments),
            [*one.names, "gone is not a run", "needs a diffusion backend", ground.hed.name],
            is_wrong=one.is_wrong,
            place=place,
        )


def _copy_run(ground: Ground, place: Any) -> None:
    import shutil

    shutil.copytree(ground.run, place / "out")


def _breaks(draw: random.Random, tree: Any, words: str) -> Iterator[Break]:
    """Yield breaks without end: of sections, of keys, of what is unknown."""
    sections, leaves = _list_keys(tree)
    while True:
        way = draw.random()
        if way < 0.12:
            if sections:
                yield _break_section(draw, draw.choice(sections))
        elif way < 0.17:
            key = draw.choice([*sections, *[name for name, _ in leaves]])
            yield Break(f"~{key}", _names(key), is_wrong=False)
        elif way < 0.25:
            yield _add_unknown(draw, sections)
        else:
            key, value = draw.choice(leaves)
            yield _break_leaf(draw, key, value)


def _list_keys(tree: Any, key: str = "") -> tuple[list[str], list[tuple[str, Any]]]:
    sections, leaves = [key] if key else [], []
    for name, value in tree.items():
        inner = f"{key}.{name}" if key else str(name)
        if isinstance(value, Mapping) and value:
            below = _list_keys(value, inner)
            sections += below[0]
            leaves += below[1]
        else:
            leaves.append((inner, value))
    return sections, leaves


def _break_section(draw: random.Random, key: str) -> Break:
    value = draw.choice(("5", "null", "text", "[1]", "true", "nan", NESTED, "{}"))
    sign = draw.choice(("", "++"))
    return Break(f"{sign}{key}={value}", _names(key), is_wrong=value not in ("null", "{}", "text"))


def _add_unknown(draw: random.Random, sections: Sequence[str]) -> Break:
    where = draw.choice(["", *sections])
    name = draw.choice(("nonsense", "xyz", "a_b_c"))
    key = f"{where}.{name}" if where else name
    value = draw.choice(("1", "null", "{a: 1}", "text"))
    is_open = where.endswith(("words", "arms", "photos", "loras", "controlnets", "classes"))
    is_open |= where in ("defect", "control", "format", "augment") or "transforms" in where
    return Break(f"++{key}={value}", _names(key), is_wrong=not is_open)


def _break_leaf(draw: random.Random, key: str, value: Any) -> Break:
    if isinstance(value, bool):
        given = draw.choice((*OTHERS, *NUMBERS, "maybe"))
        wrong = given in ("maybe", "text", "[[1]]", "{a: 1}", "[1,2,3]", "5", "-1", *NEVER)
    elif isinstance(value, int | float):
        given = draw.choice((*NUMBERS, *OTHERS, NESTED))
        wrong = given in ("text", "[[1]]", "{a: 1}", "[1,2,3]", NESTED, *NEVER)
    elif isinstance(value, list) and value and all(isinstance(one, int | float) for one in value):
        given = draw.choice((*RANGES, *OTHERS, *NUMBERS, NESTED))
        wrong = any(word in given for word in ("nan", "inf", "e308")) or given in (
            *("text", "[a,b]", "{a: 1}", "[[1,2],[3,4]]", NESTED),
            *NEVER,
        )
    else:
        texts = [text for text in TEXTS if text != AWAY or not key.endswith(PLACES)]
        given = draw.choice((*texts, *OTHERS, *NUMBERS, NESTED))  # one may write where one likes
        wrong = given in (NESTED, "nan", "inf", "-inf", "1e308", "-1e308", "9" * 30, "1e-320")
    wrong &= not key.endswith(("_target_", "function"))
    text = given.strip("'")
    is_place = key.endswith(PLACES) and text != ""
    return Break(
        f"{key}={given}",
        [*_names(key), *([text, text.replace("~nobody", "")] if is_place else [])],
        wrong,
    )


def _names(key: str) -> list[str]:
    return [key]
