"""Write the pages of docs/reference/config from conf/: each key, its default, its sentence.

python docs/tabulate_config.py

The sentence of a key is the comment beside it in conf/, or that of the same key in another file,
since a preset repeats keys of the file that it starts from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

HERE = Path(__file__).parent
CONF = HERE.parent / "conf"
FOLDER = HERE / "reference" / "config"
COMMENT = re.compile(r"""^((?:[^#"']|"[^"]*"|'[^']*'|(?<!\s)#)*?)(?:^|\s+)#\s(.*)$""")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of one file: ``name`` has dots, ``sentence`` is empty where none stands beside it."""

    name: str
    default: str
    sentence: str


@dataclass(frozen=True, slots=True)
class File:
    """One file of conf/: what its first comment says, what it starts from, its keys."""

    path: str
    about: str
    target: str
    defaults: list[str]
    keys: list[Key]


def read_file(path: Path) -> File:
    """Read one file of conf/."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    name = path.relative_to(CONF).as_posix()
    package = re.match(r"# @package (\S+)", text)
    group = name.split("/")[0] if "/" in name else ""
    prefix = package[1].replace("_global_", "") if package else group
    if path.parent.name == "source":
        prefix = "source"  # also what an experiment changes of one kind of source
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    about = " ".join(line[2:] for line in lines[:first] if "@package" not in line)
    root = yaml.compose(text)
    keys = list(_walk(root, prefix, lines))
    top = yaml.safe_load(text)
    defaults = [_say_default(one) for one in top.get("defaults", []) if one != "_self_"]
    defaults = [one for one in defaults if "@" not in one]  # a recipe's changes of a source
    target = next((k.default for k in keys if k.name.endswith("_target_")), "")
    shown = [key for key in keys if not key.name.endswith("_target_")]
    return File(name, about, target, defaults, shown)


def _walk(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Key]:
    for name, value in node.value:
        if name.value == "defaults" and name.start_mark.column == 0:
            continue
        full = f"{prefix}.{name.value}".lstrip(".")
        if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            sentence = _comment(lines, name.start_mark.line, name.start_mark.line)
            if sentence:
                yield Key(full, "", sentence)
            yield from _walk(value, full, lines)
        else:
            end = value.start_mark.line if not _is_block(value) else name.start_mark.line
            yield Key(full, _say_value(value, lines), _comment(lines, name.start_mark.line, end))


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.SequenceNode) and not node.flow_style


def _say_value(node: yaml.Node, lines: list[str]) -> str:
    """Return a value as it is written; of a list over several lines, the names in it."""
    if _is_block(node):
        return ", ".join(
            re.findall(r"name: (\w+)", "\n".join(lines[node.start_mark.line : node.end_mark.line]))
        )
    if node.start_mark.line != node.end_mark.line:
        raise ValueError(f"a value over several lines: {lines[node.start_mark.line]!r}")
    return lines[node.start_mark.line][node.start_mark.column : node.end_mark.column]


def _comment(lines: list[str], start: int, end: int) -> str:
    """Return the comment of a key: on its line, and on the lines of nothing else after it."""
    found = COMMENT.match(lines[start])
    said = [found[2]] if found else []
    for line in lines[end + 1 :]:
        if not line.strip().startswith("# "):
            break
        said.append(line.strip()[2:])
    return " ".join(said)


def _say_default(one: str | Mapping[str, object]) -> str:
    if isinstance(one, str):
        return f"`{one}`"
    ((group, choice),) = one.items()
    chosen = ", ".join(choice) if isinstance(choice, list) else "null" if choice is None else choice
    return f"`{group}: {chosen}`"


PAGES = {
    "generate": (
        "generate and preview",
        [
            "generate.yaml",
            "preview.yaml",
            "experiment/*.yaml",
            "experiment/source/*.yaml",
            "debug/*.yaml",
            "debug/source/*.yaml",
        ],
    ),
    "sources": ("sources and real images", ["source/*.yaml", "real/*.yaml"]),
    "backend": ("backends", ["backend/embedded.yaml", "backend/diffusion.yaml", "backend/*.yaml"]),
    "defect": ("defect classes", ["defect/*.yaml"]),
    "control": ("control images and augmentation", ["control/*.yaml", "augment/*.yaml"]),
    "quality": ("quality limits", ["quality/default.yaml", "quality/*.yaml"]),
    "executor": ("executors", ["executor/*.yaml"]),
    "export": ("export and formats", ["export.yaml", "format/*.yaml"]),
    "after": (
        "what is done with a run",
        ["inspect.yaml", "report.yaml", "reproduce.yaml", "review/*.yaml", "review*.yaml"],
    ),
    "learn": ("bank, adapt and pretrain", ["bank.yaml", "adapt.yaml", "pretrain.yaml"]),
    "evaluate": ("evaluate", ["evaluate_*.yaml"]),
    "doctor": ("the machine and its models", ["doctor.yaml", "*.yaml"]),  # the last: what is left
}


def read_files() -> dict[str, list[File]]:
    """Return the files of conf/ by page, each once, in the order of ``PAGES``."""
    seen: set[Path] = set()
    pages: dict[str, list[File]] = {}
    for page, (_, patterns) in PAGES.items():
        paths = [path for pattern in patterns for path in sorted(CONF.glob(pattern))]
        paths = [path for path in dict.fromkeys(paths) if path not in seen]
        seen.update(paths)
        pages[page] = [read_file(path) for path in paths]
    left = {path for path in CONF.rglob("*.yaml") if path not in seen}
    if left:
        raise ValueError(f"no page of PAGES names {sorted(map(str, left))}")
    return _fill_in(pages)


def _fill_in(pages: Mapping[str, Sequence[File]]) -> dict[str, list[File]]:
    """Give each key without a sentence that of its name in another file; evaluate.real.x: real.x"""
    known: dict[str, str] = {}
    for key in (key for files in pages.values() for one in files for key in one.keys):
        if key.sentence:
            known.setdefault(key.name, key.sentence)
    filled = {}
    for page, files in pages.items():
        filled[page] = [
            replace(one, keys=[_explain(key, known) for key in one.keys]) for one in files
        ]
    return filled


def _explain(key: Key, known: Mapping[str, str]) -> Key:
    other = known.get(key.name) or known.get(key.name.removeprefix("evaluate."), "")
    return replace(key, sentence=key.sentence or other)


def _cell(text: str) -> str:
    """Return a text that Markdown shows as it is, also in a table."""
    for sign in "\\`*|[]":
        text = text.replace(sign, "\\" + sign)
    text = text.replace("<", "&lt;").replace("_", "\\_").strip()
    return re.sub(r"docs/([a-z-]+)/([a-z-]+)\.md", r"[\2](../../\1/\2.md)", text)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`" if text else ""


def _table(keys: list[Key]) -> list[str]:
    lines = ["| key | default | what it says |", "|---|---|---|"]
    lines += [f"| `{one.name}` | {_code(one.default)} | {_cell(one.sentence)} |" for one in keys]
    return [*lines, ""]


def _write_file(one: File) -> list[str]:
    lines = [f"## {one.path}", "", _cell(one.about), ""]
    if one.target:
        lines += [f"Builds `{one.target}`.", ""]
    if one.defaults:
        lines += [f"Starts from {', '.join(one.defaults)}.", ""]
    return lines + (_table(one.keys) if one.keys else [])


def _write_classes(files: list[File]) -> list[str]:
    """Return the page of defect classes: what all of them share once, then what each has."""
    tables = [{key.name.split(".", 2)[2]: key for key in one.keys} for one in files]
    shared = [name for name in tables[0] if not name.startswith("shape")]
    alike = {name for name in shared if len({own[name].default for own in tables}) == 1}
    lines = ["## Keys of every class", "", "Where no default stands here, classes differ.", ""]
    lines += _table(
        [
            Key(
                f"defect.<name>.{name}",
                tables[0][name].default if name in alike else "",
                tables[0][name].sentence.split(" (null = those")[0],
            )
            for name in shared
        ]
    )
    for one, table in zip(files, tables, strict=True):
        own = [key for name, key in table.items() if name not in alike]
        lines += [f"## {one.path}", "", _cell(one.about), "", *_table(own)]
    return lines


def write_pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    pages = {}
    for page, files in read_files().items():
        title = f"Keys: {PAGES[page][0]}"
        if page == "defect":
            body = _write_classes(files)
        else:
            body = [line for one in files for line in _write_file(one)]
        head = [f"# {title}", "", "<!-- written by docs/tabulate_config.py from conf/ -->", ""]
        pages[f"{page}.md"] = "\n".join([*head, *body]).rstrip() + "\n"
    return pages


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in write_pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
