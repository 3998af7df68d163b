"""What a backend paints with: checkpoints found and checked against each other, nothing loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthgen.backends.checkpoints.adapters import Adapter, find_adapter
from synthgen.backends.checkpoints.digests import file_digest
from synthgen.backends.checkpoints.families import Family, find_family
from synthgen.backends.checkpoints.find import Checkpoint, find_checkpoint, find_weights
from synthgen.backends.checkpoints.weights import read_config_json
from synthgen.backends.settings import ControlNet, ModelSettings
from synthgen.errors import ConfigError, ModelError

__all__ = ["Model", "select", "trained_px"]
LATENT_PX, USUAL_PX = 8, 1024  # pixels a side of a latent; the side where no config says it


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Everything that is loaded, found. ``controlnet``: the class that paints, None = without."""

    base: Checkpoint
    family: Family
    controlnet: str | None
    controlnets: Mapping[str, Checkpoint]
    loras: Mapping[str, tuple[Path, float]]  # file, weight
    reference: Path | None  # weights of the IP-Adapter
    adapter: Adapter | None = None  # what the base has learned of real defects
    keeps_safety_checker: bool = False

    def describe(self) -> str:
        """Return names and digests of all that changes what is painted."""
        parts = [self.base, *self.controlnets.values()]
        files = [path for path, _ in self.loras.values()]
        files += [self.reference] if self.reference else []
        files += [self.adapter.weights] if self.adapter else []
        named = [f"{part.name}@{part.digest}" for part in parts]
        return " + ".join([*named, *(f"{path.name}@{file_digest(path)[:16]}" for path in files)])


def trained_px(base: Checkpoint, family: Family) -> int:
    """Return the side, in pixels, of the images that a checkpoint was trained on.

    Its denoiser's config says that in latents of 8 px; 1024 where it does not.
    """
    latents = _read_denoiser(base, family).get("sample_size")
    return int(latents) * LATENT_PX if isinstance(latents, int) else USUAL_PX


def select(asked: ModelSettings) -> Model:
    """Find every part of a model and check each against the others.

    Reads configs and digests, and loads no weights. Raises ModelError for a part that is missing,
    damaged or unsafe, and ConfigError for parts that do not fit together.
    """
    offline, reference = asked.offline, asked.reference
    base = find_checkpoint(asked.checkpoint, revision=asked.revision, offline=offline)
    family = find_family(base.class_name, base.folder)
    found = {
        name: find_checkpoint(
            node.checkpoint,
            key=f"backend.model.controlnets.{name}.checkpoint",
            revision=node.revision,
            offline=offline,
            is_pipeline=False,
        )
        for name, node in asked.controlnets.items()
    }
    for name, part in found.items():
        _check_controlnet(name, asked.controlnets[name], part, base, family)
    config = base.folder / "controlnet" / "config.json"  # one that came with the checkpoint
    own = [str(read_config_json(config).get("_class_name"))] if config.is_file() else []
    classes = sorted({part.class_name for part in found.values()}) or own
    if classes and len(found) > (most := family.controlled[classes[0]].max_controlnets):
        raise ConfigError(
            f"backend.model.controlnets names {len(found)}; diffusers runs {family.title} with "
            f"{most}"
        )
    if len(classes) > 1:
        raise ConfigError(
            f"backend.model.controlnets: {' and '.join(classes)} cannot work together; "
            "give ControlNets of one kind"
        )
    loras: dict[str, tuple[Path, float]] = {}
    for name, lora in asked.loras.items():
        key = f"backend.model.loras.{name}.checkpoint"
        path = find_weights(lora.checkpoint, key, revision=lora.revision, offline=offline)
        loras[name] = (path, lora.weight)
    return Model(
        base,
        family,
        classes[0] if classes else None,
        found,
        loras,
        find_weights(reference.checkpoint, "backend.model.reference.checkpoint", offline=offline)
        if reference
        else None,
        find_adapter(asked.adapter, base) if asked.adapter else None,
        asked.safety_checker,
    )


def _check_controlnet(
    name: str, node: ControlNet, part: Checkpoint, base: Checkpoint, family: Family
) -> None:
    """Check a ControlNet against base and settings, by their configs.

    A union ControlNet must be told which kind of image it is given, any other must not. Raises
    ConfigError, ModelError.
    """
    key = f"backend.model.controlnets.{name}"
    if part.class_name not in family.controlled:
        takes = " or ".join(family.controlled) or "no ControlNet"
        raise ConfigError(
            f"{key}: {part.folder} is a {part.class_name}; {family.title} takes {takes}"
        )
    own, denoiser = read_config_json(part.folder / "config.json"), _read_denoiser(base, family)
    if family.denoiser == "unet" and own.get("in_channels", 4) != denoiser.get("out_channels", 4):
        raise ModelError(
            f"{key}: {part.folder} takes {own['in_channels']} channels, as if it were made from an "
            f"inpainting UNet; use one made from a UNet of {denoiser.get('out_channels', 4)}"
        )
    for setting in family.must_agree:
        if setting in own and setting in denoiser and own[setting] != denoiser[setting]:
            raise ModelError(
                f"{key}: {part.folder} is of another base than {base.folder}: its {setting} is "
                f"{own[setting]}, the checkpoint's is {denoiser[setting]}; use a ControlNet that "
                f"was trained for this checkpoint ({family.title})"
            )
    kinds = int(own.get("num_control_type") or own.get("num_mode") or 0)
    is_union = kinds > 0 and bool(family.controlled[part.class_name].mode)
    if is_union and (node.mode is None or not 0 <= node.mode < kinds):
        raise ConfigError(
            f"{key}.mode={node.mode}: {part.folder} takes {kinds} kinds of image; say which one "
            f"it is given, 0 to {kinds - 1} (see the card of the ControlNet)"
        )
    if not is_union and node.mode is not None:
        raise ConfigError(
            f"{key}.mode={node.mode}: {part.folder} takes one kind of image; set it to null"
        )


def _read_denoiser(base: Checkpoint, family: Family) -> Mapping[str, Any]:
    return read_config_json(base.folder / family.denoiser / "config.json")
