"""Former names of keys and classes in configs, and of columns: read until version 0.3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "COLUMNS_NOW",
    "FORMER_COLUMNS",
    "RENAMED",
    "find_former",
    "find_moved",
    "former_names",
    "rename_config",
    "rename_overrides",
    "rename_row",
    "tell_renamed",
]

UNTIL = "0.3"
TARGET = "synthgen.backends.diffusion.backend.DiffusionBackend"  # other backends have own keys
FORMATS = (
    *("coco", "cvat", "fiftyone_dataset", "hugging_face", "label_studio", "mvtec", "semantic"),
    *("table", "voc", "web_dataset", "yolo"),
)
MOVED: Mapping[str, str] = {  # modules whose classes a config may name: former, now
    "synthgen.augment": "synthgen.conditioning.augment",
    "synthgen.backends.diffusion": "synthgen.backends.diffusion.backend",
    "synthgen.control": "synthgen.conditioning.control",
    "synthgen.runs.cluster": "synthgen.generation.executors.ray_cluster",
    "synthgen.runs.executor": "synthgen.generation.executors.executor",
    "synthgen.runs.processes": "synthgen.generation.executors.processes",
    **{f"synthgen.export.{name}": f"synthgen.exporting.formats.{name}" for name in FORMATS},
}
PARTS: Mapping[str, Sequence[str]] = {
    "model": (
        *("checkpoint", "revision", "offline", "controlnets", "loras", "reference", "adapter"),
        "safety_checker",
    ),
    "painting": (
        *("init", "strength", "vary_strength", "steps", "guidance", "control_scale"),
        *("prompt_weights", "scheduler", "match_optics"),
    ),
    "crops": ("context_px", "resolution_px", "feather_px"),
    "hardware": (
        *("device", "dtype", "threads", "compile", "paint_batch"),
        *("vae_slicing", "vae_tiling", "offload", "device_map"),
    ),
}
SHAPES = ("bright", "broken", "dark", "rim", "splashed", "tint")
RENAMED: Mapping[str, str] = {  # whole keys: former, now; * is any name
    **{f"backend.{key}": f"backend.{part}.{key}" for part, keys in PARTS.items() for key in keys},
    "backend.least_crop_px": "backend.crops.min_px",
    "backend.most_crop_px": "backend.crops.max_px",
    "backend.most_image_px": "backend.crops.max_image_px",
    **{f"defect.*.shape.{name}_share": f"defect.*.shape.{name}_fraction" for name in SHAPES},
    "prompt.synonym_share": "prompt.synonym_fraction",
    "gaps.share": "missed.fraction",
    "gaps": "missed",
    "bank.share": "bank.fraction",
    "bank.donors": "bank.splits",
    "bank.least_visible": "bank.min_visible_fraction",
    "bank.least_area_px": "bank.min_area_px",
    "adapt.donors": "adapt.splits",
    "adapt.prior_share": "adapt.prior_fraction",
    "pretrain.look_every_s": "pretrain.sheet_every_s",
    "pretrain.look_crops": "pretrain.sheet_crops",
    "evaluate.lessons": "evaluate.examples",
    "evaluate.training.defect_share": "evaluate.training.defect_fraction",
    "evaluate.training.synthetic_share": "evaluate.training.synthetic_fraction",
    "quality.twin_bits": "quality.near_duplicate_bits",
    "quality.donor_delta_e": "quality.reference_delta_e",
    "quality.classes.*.twin_bits": "quality.classes.*.near_duplicate_bits",
    "quality.classes.*.donor_delta_e": "quality.classes.*.reference_delta_e",
}
COLUMNS_NOW: Mapping[str, str] = {  # of a run's tables: former, now
    "donor": "reference",
    "donor_group": "reference_group",
    "donor_delta_e": "reference_delta_e",
    "look": "perceptual_hash",
    "twin_id": "near_duplicate_id",
    "twin_bits": "near_duplicate_bits",
}
FORMER_COLUMNS: Mapping[str, str] = {now: former for former, now in COLUMNS_NOW.items()}

Key = tuple[Any, ...]
PATTERNS: Sequence[tuple[Key, Key]] = [
    (tuple(former.split(".")), tuple(now.split("."))) for former, now in RENAMED.items()
]


def rename_overrides(overrides: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return overrides with the new names of keys, and the former keys that were among them.

    >>> rename_overrides(["backend.steps=8", "~backend.controlnets.canny", "seed=1"])[0]
    ['backend.painting.steps=8', '~backend.model.controlnets.canny', 'seed=1']
    """
    renamed: list[str] = []
    former: dict[str, str] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        mark = key[: len(key) - len(key.lstrip("+~"))]
        now, found = _rename(tuple(key[len(mark) :].split(".")))
        renamed.append(mark + ".".join(now) + equals + value)
        former |= found
    return renamed, former


def rename_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config, as of an older run or a file of one's own, with the new names of its keys.

    What stands under a former name counts more than what stands under the new one. Backends of
    other classes keep their keys. Classes of synthgen are called as they are now.
    """
    config = _rename_targets(config)
    leaves = [(*_rename(key), value) for key, value in _leaves(config)]
    if not any(former for _, former, _ in leaves):
        return dict(config)
    renamed: dict[Any, Any] = {}
    for key, _, value in sorted(leaves, key=lambda leaf: bool(leaf[1])):
        inner = renamed
        for name in key[:-1]:
            if not isinstance(inner.get(name), dict):
                inner[name] = {}
            inner = inner[name]
        inner[key[-1]] = value
    return renamed


def find_former(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the former keys in a config, each with its name now."""
    found: dict[str, str] = {}
    for key, _ in _leaves(config):
        found |= _rename(key)[1]
    return found


def _rename(key: Key) -> tuple[Key, dict[str, str]]:
    """Return a key as it is called now, and the former names in it, each with its name now."""
    for pattern, now in PATTERNS:
        if pattern[0] != key[0] or len(pattern) > len(key):
            continue
        pairs = list(zip(pattern, key, strict=False))
        if all(asked in ("*", name) for asked, name in pairs):
            names = iter([name for asked, name in pairs if asked == "*"])
            new = tuple(next(names) if name == "*" else name for name in now)
            whole, others = _rename(new + key[len(pattern) :])
            return whole, {_dotted(key[: len(pattern)]): _dotted(new)} | others
    return key, {}


def _dotted(key: Key) -> str:
    return ".".join(map(str, key))


def _leaves(config: Mapping[Any, Any], key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield the values of a config by their keys; a backend of one's own is one value."""
    for name, value in config.items():
        is_whole = not isinstance(value, Mapping) or not value
        if not key and name == "backend" and not is_whole:
            is_whole = value.get("_target_", TARGET) != TARGET
        if is_whole:
            yield (*key, name), value
        else:
            yield from _leaves(value, (*key, name))


def rename_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a run's table by the names of today."""
    return {COLUMNS_NOW.get(name, name): value for name, value in row.items()}


def find_moved(config: Any) -> dict[str, str]:
    """Return the former names of classes in a config, at any depth, and their names now."""
    if isinstance(config, list | tuple):
        config = dict(enumerate(config))
    if not isinstance(config, Mapping):
        return {}
    found: dict[str, str] = {}
    for key, value in config.items():
        if key == "_target_" and isinstance(value, str) and (now := _name_now(value)) != value:
            found[value] = now
        else:
            found |= find_moved(value)
    return found


def former_names(name: str) -> list[str]:
    """Return what a class of synthgen was called before, in configs.

    >>> former_names("synthgen.conditioning.control.dense.MaskControl")
    ['synthgen.control.dense.MaskControl']
    """
    return [
        name.replace(now, former, 1)
        for former, now in MOVED.items()
        if name.startswith(f"{now}.") and _name_now(name.replace(now, former, 1)) == name
    ]


def _name_now(target: str) -> str:
    if any(target.startswith(f"{now}.") for now in MOVED.values()):
        return target
    for former, now in MOVED.items():
        if target.startswith(f"{former}."):
            return now + target[len(former) :]
    return target


def _rename_targets(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {
            key: _name_now(value)
            if key == "_target_" and isinstance(value, str)
            else _rename_targets(value)
            for key, value in config.items()
        }
    return [_rename_targets(one) for one in config] if isinstance(config, list) else config


def tell_renamed(former: Mapping[str, str]) -> list[str]:
    """Return a sentence for each former name, of keys or of classes.

    >>> tell_renamed({"gaps": "missed"})
    ['gaps is now missed; the former name is read until version 0.3']
    """
    return [
        f"{name} is now {now}; the former name is read until version {UNTIL}"
        for name, now in former.items()
    ]
