"""Former names of keys and classes in configs: read until version 0.3, with a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "RENAMED",
    "find_former",
    "find_moved",
    "former_names",
    "rename_config",
    "rename_overrides",
    "tell_moved",
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
    **{f"synthgen.export.{name}": f"synthgen.export.formats.{name}" for name in FORMATS},
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
RENAMED: Mapping[str, str] = {  # below backend: former key -> part.key
    **{key: f"{part}.{key}" for part, keys in PARTS.items() for key in keys},
    "least_crop_px": "crops.min_px",
    "most_crop_px": "crops.max_px",
    "most_image_px": "crops.max_image_px",
}


def rename_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return overrides with the new names of keys, and the former keys that were among them.

    >>> rename_overrides(["backend.steps=8", "~backend.controlnets.canny", "seed=1"])[0]
    ['backend.painting.steps=8', '~backend.model.controlnets.canny', 'seed=1']
    """
    renamed, former = [], []
    for text in overrides:
        key, equals, value = text.partition("=")
        mark = key[: len(key) - len(key.lstrip("+~"))]
        parts = key[len(mark) :].split(".")
        if parts[0] == "backend" and len(parts) > 1 and parts[1] in RENAMED:
            former.append(parts[1])
            key = ".".join([f"{mark}backend", RENAMED[parts[1]], *parts[2:]])
        renamed.append(key + equals + value)
    return renamed, former


def rename_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config, as of an older run or a file of one's own, with the new names of its keys.

    What stands under a former name counts more than what stands under the new one. Backends of
    other classes keep their keys. Classes of synthgen are called as they are now.
    """
    config = _rename_targets(config)
    backend = config.get("backend")
    if not find_former(config):
        return dict(config)
    assert isinstance(backend, Mapping)
    moved: dict[str, Any] = {key: value for key, value in backend.items() if key not in RENAMED}
    for former, value in backend.items():
        if former in RENAMED:
            part, _, key = RENAMED[former].partition(".")
            moved[part] = _merge(moved.get(part) or {}, {key: value})
    return {**config, "backend": moved}


def find_former(config: Mapping[str, Any]) -> list[str]:
    """Return the former keys in the ``backend`` of a config."""
    backend = config.get("backend")
    if not isinstance(backend, Mapping) or backend.get("_target_", TARGET) != TARGET:
        return []
    return [str(key) for key in backend if key in RENAMED]


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


def tell_moved(moved: Mapping[str, str]) -> list[str]:
    """Return a sentence for each former name of a class."""
    return [
        f"{former} is now {now}; the former name is read until version {UNTIL}"
        for former, now in moved.items()
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


def tell_renamed(former: Sequence[str]) -> list[str]:
    """Return a sentence for each former key.

    >>> tell_renamed(["steps"])
    ['backend.steps is now backend.painting.steps; the former name is read until version 0.3']
    """
    return [
        f"backend.{key} is now backend.{RENAMED[key]}; the former name is read until version "
        f"{UNTIL}"
        for key in dict.fromkeys(former)
    ]


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        before = merged.get(key)
        is_both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(before, value) if is_both else value  # type: ignore[arg-type]
    return merged
