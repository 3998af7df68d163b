"""Loads a pipeline once and sets it up for the machine that it runs on."""

from __future__ import annotations

import importlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthgen.backends.families import Family
from synthgen.errors import ConfigError, ModelError

__all__ = ["Hardware", "load_pipeline", "pick_device", "pick_dtype", "set_scheduler"]

DTYPES = ("float32", "float16", "bfloat16", "auto")
COMPILERS = ("g++", "clang++", "c++")


@dataclass(frozen=True, slots=True)
class Hardware:
    """How a model runs, as far as that is no part of what it paints.

    ``dtype`` auto is float32 on a CPU, and on a GPU bfloat16, or float16 where it has none.
    ``vae_slicing`` and ``vae_tiling`` trade speed of the VAE for memory. Raises ConfigError.
    """

    device: str = "auto"
    dtype: str = "float32"
    threads: int | None = None
    compile: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"backend.dtype={self.dtype!r} must be one of {', '.join(DTYPES)}")


def load_pipeline(folder: Path, class_name: str, family: Family, hardware: Hardware) -> Any:
    """Return the pipeline of a diffusers folder on its device; raises ConfigError, ModelError."""
    import diffusers
    import torch
    import transformers

    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    device = pick_device(hardware.device)
    pipeline_class = getattr(importlib.import_module(family.module), class_name)
    dtype = getattr(torch, pick_dtype(hardware.dtype, device))
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": True}
    if family.has_safety_checker:  # it blacks out images of harmless surfaces
        options |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        pipeline = pipeline_class.from_pretrained(str(folder), **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"the checkpoint in {folder} does not load: {str(error).splitlines()[0]}"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    _save_vae_memory(pipeline, class_name, hardware)
    for part in (pipeline.unet, pipeline.controlnet):
        part.to(memory_format=torch.channels_last)  # what convolutions read fastest
    if hardware.compile:
        _compile(pipeline)
    return pipeline.to(device)


def set_scheduler(pipeline: Any, name: str) -> None:
    """Give a pipeline another scheduler, a class of diffusers; raises ConfigError."""
    import diffusers

    scheduler_class = getattr(diffusers, name, None)
    if scheduler_class is None:
        raise ConfigError(f"backend.scheduler={name!r} is no class of diffusers")
    pipeline.scheduler = scheduler_class.from_config(pipeline.scheduler.config)


def pick_device(device: str) -> str:
    """Return the device that ``auto`` stands for; raises ConfigError where there is no GPU."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"backend.device={device!r}, but torch sees no CUDA GPU; use cpu or auto")
    return device


def pick_dtype(dtype: str, device: str) -> str:
    """Return the type that ``auto`` stands for on a device."""
    import torch

    if dtype != "auto":
        return dtype
    if not device.startswith("cuda"):
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def _save_vae_memory(pipeline: Any, class_name: str, hardware: Hardware) -> None:
    for key in ("vae_slicing", "vae_tiling"):
        if not getattr(hardware, key):
            continue
        if not hasattr(pipeline, "vae"):
            raise ConfigError(f"backend.{key}=true, but a {class_name} has no VAE; set it to false")
        getattr(pipeline.vae, f"enable_{key.removeprefix('vae_')}")()


def _compile(pipeline: Any) -> None:
    """Have the denoiser compiled when it first runs; ``dynamic``, as crops come in many sizes."""
    own = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([own] if own else COMPILERS)):
        raise ConfigError(
            "backend.compile=true needs a C++ compiler, and there is none "
            f"({own or ', '.join(COMPILERS)}); install one or set backend.compile=false"
        )
    for part in (pipeline.unet, pipeline.controlnet):
        part.compile(dynamic=True)
