"""Former names of keys of ``backend``: read until version 0.3, with a sentence of the new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["RENAMED", "find_former", "rename_config", "rename_overrides", "tell_renamed"]

UNTIL = "0.3"
TARGET = "synthgen.backends.diffusion.DiffusionBackend"  # another backend's keys are its own
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
    other classes keep their keys.
    """
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
