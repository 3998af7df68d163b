"""Loads a pipeline once and sets it up for the machine that it runs on."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shutil
from pathlib import Path
from typing import Any

from synthgen.backends.checkpoints.adapters import apply_adapter
from synthgen.backends.checkpoints.families import Call
from synthgen.backends.checkpoints.selection import Model
from synthgen.backends.diffusion.threads import tell_busy_cores
from synthgen.backends.settings import Hardware
from synthgen.errors import ConfigError, ModelError
from synthgen.progress import stage

__all__ = [
    "best_precision",
    "denoisers",
    "load_pipeline",
    "pick_device",
    "pick_dtype",
    "set_scheduler",
    "silence_loading",
    "switch_pipeline",
]

COMPILERS = ("g++", "clang++", "c++")


def load_pipeline(model: Model, call: Call, hardware: Hardware) -> Any:
    """Return the pipeline of a model on its device, with adapter and LoRAs in it.

    Raises ModelError where the checkpoint does not load, and ConfigError for what this machine or
    this model cannot do.
    """
    with stage(f"loading the model {model.base.name}"):
        return _load(model, call, hardware)


def silence_loading() -> None:
    """Switch off the bars that the libraries draw while they load weights."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _load(model: Model, call: Call, hardware: Hardware) -> Any:
    import torch

    silence_loading()
    device = pick_device(hardware.device)
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    elif device == "cpu" and torch.get_num_threads() > 1:  # as many as ever: pixels depend on it
        tell_busy_cores(torch.get_num_threads(), "backend.hardware.threads")
    dtype = getattr(torch, pick_dtype(hardware.dtype or model.family.dtype, device))
    folder = model.base.folder
    try:
        pipeline = _pipeline_class(model, call).from_pretrained(
            str(folder), **_load_options(model, call, hardware, dtype)
        )
        if model.adapter:
            apply_adapter(pipeline, model.adapter)
        _add_loras(pipeline, model)
        denoiser = getattr(pipeline, model.family.denoiser)
        for key, value in model.family.missing.items():  # that published configs lack
            if key not in denoiser.config:
                denoiser.register_to_config(**{key: value})
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelError(
            f"the checkpoint in {folder} does not load: {str(error).splitlines()[0]}"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    _save_vae_memory(pipeline, call.pipeline, hardware)
    for part in denoisers(pipeline, model):
        part.to(memory_format=torch.channels_last)  # what convolutions read fastest
    if hardware.compile:
        own = os.environ.get("CXX")
        if not any(shutil.which(name) for name in ([own] if own else COMPILERS)):
            raise ConfigError(
                "backend.hardware.compile=true needs a C++ compiler, and there is none "
                f"({own or ', '.join(COMPILERS)}); install one or set "
                "backend.hardware.compile=false"
            )
        for part in denoisers(pipeline, model):
            part.compile(dynamic=True)  # as it first runs; dynamic, as crops come in many sizes
    return _place(pipeline, device, hardware)


def _pipeline_class(model: Model, call: Call) -> Any:
    return getattr(importlib.import_module(model.family.module), call.pipeline)


def _load_options(model: Model, call: Call, hardware: Hardware, dtype: Any) -> dict[str, Any]:
    """Return the arguments of from_pretrained; the ControlNets among them are loaded for it."""
    import diffusers

    shared = {"dtype": dtype, "local_files_only": True, "use_safetensors": True}
    options: dict[str, Any] = dict(shared)
    if model.base.variant:
        options["variant"] = model.base.variant
    if hardware.device_map:
        options["device_map"] = hardware.device_map
    if (model.base.folder / "safety_checker").is_dir() and not model.keeps_safety_checker:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    by_folder: dict[Path, Any] = {}
    for part in model.controlnets.values():
        if part.folder not in by_folder:  # one union ControlNet may stand for several
            kind = getattr(diffusers, part.class_name)
            variant = {"variant": part.variant} if part.variant else {}
            by_folder[part.folder] = kind.from_pretrained(str(part.folder), **shared, **variant)
    nets = list(by_folder.values())
    if nets:
        is_list = len(nets) > 1 or (call.lists_one and len(model.controlnets) > 1)
        options["controlnet"] = nets if is_list else nets[0]
    return options


def _add_loras(pipeline: Any, model: Model) -> None:
    """Add the LoRAs with their weights; raises ConfigError where the pipeline takes none."""
    if not model.loras:
        return
    if not hasattr(pipeline, "load_lora_weights"):
        raise ConfigError(f"backend.model.loras: {model.family.title} takes none")
    for name, (path, _) in model.loras.items():
        pipeline.load_lora_weights(
            str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True
        )
    pipeline.set_adapters(list(model.loras), [weight for _, weight in model.loras.values()])


def switch_pipeline(pipeline: Any, model: Model, call: Call, hardware: Hardware) -> Any:
    """Return the pipeline of another call over the same loaded parts, none of them copied."""
    other = _pipeline_class(model, call).from_pipe(pipeline)
    other.set_progress_bar_config(disable=True)
    return _place(other, pick_device(hardware.device), hardware)


def denoisers(pipeline: Any, model: Model) -> list[Any]:
    """Return the networks that run at every step: the denoiser, and a ControlNet where one is."""
    parts = [getattr(pipeline, model.family.denoiser), getattr(pipeline, "controlnet", None)]
    return [part for part in parts if part is not None]


def _place(pipeline: Any, device: str, hardware: Hardware) -> Any:
    """Put the pipeline where it runs; raises ConfigError for an offload that gains nothing."""
    import torch

    if hardware.device_map:
        return pipeline  # it is placed already
    if device == "cuda":  # the one of this process, where several share a machine
        device = f"cuda:{torch.cuda.current_device()}"
    if hardware.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif hardware.offload == "sequential":
        if device == "cpu":  # accelerate 1.15 fails there, and nothing would be gained
            raise ConfigError(
                "backend.hardware.offload=sequential needs a GPU: on a CPU all weights are in main "
                "memory anyway; set it to null"
            )
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline


def set_scheduler(pipeline: Any, name: str) -> None:
    """Give a pipeline another scheduler, a class of diffusers; raises ConfigError."""
    import diffusers

    kind: Any = getattr(diffusers, name, None)
    is_scheduler = inspect.isclass(kind) and issubclass(kind, diffusers.SchedulerMixin)
    if not is_scheduler:
        raise ConfigError(f"backend.painting.scheduler={name!r} is not a scheduler of diffusers")
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)


def pick_device(device: str, key: str = "backend.hardware.device") -> str:
    """Return the device, with ``auto`` resolved: cuda where torch sees a GPU, else cpu.

    Raises ConfigError for an unknown name, and for a GPU that torch does not see. ``key``: the
    config key, for the error.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ConfigError(f"{key}={device!r} is unknown; choose auto, cpu, cuda or cuda:<number>")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"{key}={device!r}, but torch sees no CUDA GPU; use cpu or auto")
    count, number = torch.cuda.device_count(), device.partition(":")[2]
    if number and int(number) >= count:
        raise ConfigError(f"{key}={device!r}, but torch sees cuda:0 to cuda:{count - 1} alone")
    return device


def pick_dtype(dtype: str, device: str) -> str:
    """Return the type that ``auto`` stands for on a device, by the name that torch gives it.

    On a GPU that is bfloat16, or float16 where it has none, on a CPU float32.
    """
    import torch

    if dtype != "auto":
        return dtype
    if not device.startswith("cuda"):
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def best_precision(device: str = "cpu") -> str:
    """Return what to train in, "bf16" or "fp32".

    It is bf16 where the processor or GPU multiplies that in hardware; where it does not, fp32 is
    two to three times as fast.
    """
    import torch

    if device != "cpu":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if able.get("amx_bf16") or able.get("avx512_bf16") else "fp32"


def _save_vae_memory(pipeline: Any, class_name: str, hardware: Hardware) -> None:
    """Set up slicing and tiling of the VAE; raises ConfigError where the pipeline has none."""
    for key in ("vae_slicing", "vae_tiling"):
        if not getattr(hardware, key):
            continue
        if not hasattr(pipeline, "vae"):
            raise ConfigError(
                f"backend.hardware.{key}=true, but a {class_name} has no VAE; set it to false"
            )
        getattr(pipeline.vae, f"enable_{key.removeprefix('vae_')}")()
