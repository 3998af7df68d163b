"""What a diffusion backend is told, in four parts, and what a family's advice makes of it.

The defaults stand here, and where a family's makers advise a number, in the table of families: None
takes that. conf/backend/ shows them; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic import dataclasses as checked

from synthgen.backends.checkpoints.families import Call, Family
from synthgen.errors import ConfigError

__all__ = [
    "ControlNet",
    "CropSettings",
    "Crops",
    "Hardware",
    "Lora",
    "ModelSettings",
    "Painting",
    "PaintingSettings",
    "ReferenceImage",
    "resolve_crops",
    "resolve_painting",
]

STRICT = ConfigDict(extra="forbid")
STARTS = ("sketch", "source", "noise")
OFFLOADS = (None, "model", "sequential")
DTYPES = ("float32", "float16", "bfloat16", "auto")
NO_NODES = BeforeValidator(lambda nodes: {} if nodes is None else nodes)  # null in a config
MAX_PX = 16384  # of a crop
Fraction = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=0, le=100)]


@checked.dataclass(frozen=True, config=STRICT, kw_only=True)
class ControlNet:
    """A ControlNet. ``scale`` None = painting.control_scale; ``start`` and ``end`` in shares of
    the steps. ``mode``: which kind of image it is given, a number of a union ControlNet's card."""

    checkpoint: str
    scale: Scale | None = None
    start: Fraction = 0.0
    end: Fraction = 1.0
    mode: int | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"start {self.start:g} must be less than end {self.end:g}")


@checked.dataclass(frozen=True, config=STRICT)
class Lora:
    """Low-rank weights that are added to a checkpoint's: a .safetensors file, or its folder."""

    checkpoint: str
    weight: Annotated[float, Field(ge=-100, le=100)] = 1.0
    revision: str | None = None


@checked.dataclass(frozen=True, config=STRICT)
class ReferenceImage:
    """An IP-Adapter and the image whose look it passes on. ``checkpoint`` is its .safetensors
    file; ``encoder`` the folder of its image encoder."""

    checkpoint: str
    encoder: str
    image: str
    scale: Scale = 0.6


@checked.dataclass(frozen=True, config=STRICT, kw_only=True)
class ModelSettings:
    """Which weights paint: ``embedded``, a diffusers folder or a hub id, and what is added to them.

    ``controlnets`` have the names of the control images that they read. ``loras`` are added by
    their weights, ``adapter`` is a folder of synthgen adapt; ``reference`` is an image whose look
    an IP-Adapter passes on. ``safety_checker`` keeps that of the checkpoint, which blacks out
    images of harmless surfaces.
    """

    checkpoint: str
    revision: str | None = None
    offline: bool = True
    controlnets: Annotated[dict[str, ControlNet], NO_NODES] = Field(default_factory=dict)
    loras: Annotated[dict[str, Lora], NO_NODES] = Field(default_factory=dict)
    reference: ReferenceImage | None = None
    adapter: str | None = None
    safety_checker: bool = False


@checked.dataclass(frozen=True, config=STRICT, kw_only=True)
class PaintingSettings:
    """How a model paints; None takes what the family's makers recommend.

    ``int(steps * strength)`` denoising steps run (``strength`` 0..1), from what ``init`` says: the
    sketch, the source, or pure noise (then ``strength`` is 1). ``vary_strength`` is that of whole
    images. ``guidance`` and ``control_scale`` are guidance_scale and controlnet_conditioning_scale
    of diffusers. ``scheduler`` is a class name of diffusers, None keeps the checkpoint's.
    ``match_optics`` gives what was painted the sharpness, levels and grain of its photo.
    """

    init: str = "sketch"
    strength: float | None = None
    vary_strength: Annotated[float, Field(gt=0, le=1)] = 0.5
    steps: Annotated[int, Field(ge=1, le=10_000)] | None = None
    guidance: Annotated[float, Field(ge=0, le=1000)] | None = None
    control_scale: Scale | None = None
    prompt_weights: bool = False
    scheduler: str | None = None
    match_optics: bool = True

    def __post_init__(self) -> None:
        if self.init not in STARTS:
            raise ConfigError(
                f"backend.painting.init={self.init!r} must be sketch, source or noise"
            )


@checked.dataclass(frozen=True, config=STRICT, kw_only=True)
class CropSettings:
    """What of an image a model sees, in pixels; None takes what suits the family.

    ``context_px`` of surface is seen around each defect. A crop is ``min_px`` a side at least;
    over ``max_px`` (a whole image over ``max_image_px``) it is painted smaller. ``resolution_px``
    is a side that all crops are painted at, None their own; auto that which the checkpoint was
    trained at, or their own where it was trained at many. ``feather_px`` softens the
    border, inward.
    """

    context_px: int | None = Field(default=None, ge=0, le=MAX_PX)
    min_px: int = Field(default=64, ge=1, le=MAX_PX)
    max_px: int = Field(default=512, le=MAX_PX)
    max_image_px: int = Field(default=1024, ge=64, le=MAX_PX)
    resolution_px: int | Literal["auto"] | None = "auto"
    feather_px: float | None = Field(default=None, ge=0, le=MAX_PX)


@checked.dataclass(frozen=True, config=STRICT, kw_only=True)
class Hardware:
    """How a model runs, as far as that is hardly a part of what it paints.

    ``dtype`` auto is float32 on a CPU, and on a GPU bfloat16, or float16 where it has none; None
    takes what suits the family. ``paint_batch`` is the most crops in one call of the pipeline.
    ``vae_slicing`` and ``vae_tiling`` trade speed of the VAE for memory. ``offload`` keeps parts in
    main memory while they do not run: whole models, or (sequential, slow) layer by layer.
    ``device_map`` spreads the parts over GPUs ("balanced"). Raises ConfigError.
    """

    device: str = "auto"
    dtype: str | None = None
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    compile: bool = False
    paint_batch: Annotated[int, Field(le=4096)] = 16
    vae_slicing: bool = False
    vae_tiling: bool = False
    offload: str | None = None
    device_map: str | None = None

    def __post_init__(self) -> None:
        key = "backend.hardware"
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ConfigError(f"{key}.dtype={self.dtype!r} must be one of {', '.join(DTYPES)}")
        if self.paint_batch < 1:
            raise ConfigError(f"{key}.paint_batch={self.paint_batch} must be 1 or more")
        if self.offload not in OFFLOADS:
            raise ConfigError(f"{key}.offload={self.offload!r} must be null, model or sequential")
        if self.offload and self.device_map:
            raise ConfigError(f"{key}.offload and {key}.device_map exclude each other; set one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Painting:
    """The numbers that a model paints by; see ``PaintingSettings``."""

    init: str
    strength: float
    vary_strength: float
    steps: int
    guidance: float
    control_scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """The sizes that crops are cut by; see ``CropSettings``."""

    context_px: int
    min_px: int
    max_px: int
    max_image_px: int
    resolution_px: int | None
    feather_px: float


def resolve_painting(asked: PaintingSettings, family: Family, call: Call) -> Painting:
    """Return the numbers that a family paints by; raises ConfigError where no step would run."""
    if not call.strength and asked.strength not in (None, 1):
        raise ConfigError(
            f"backend.painting.strength={asked.strength:g}: {call.pipeline} always starts from "
            "noise; set it to null"
        )
    chosen = family.strength if asked.strength is None else asked.strength
    strength = 1.0 if asked.init == "noise" or not call.strength else float(chosen)
    steps = family.steps if asked.steps is None else asked.steps
    if not 0 < strength <= 1 or int(steps * strength) < 1:
        raise ConfigError(
            f"backend.painting.strength={chosen:g} with backend.painting.steps={steps} leaves no "
            "step to run; strength must lie in 0..1 and int(steps * strength) be at least 1"
        )
    return Painting(
        init=asked.init,
        strength=strength,
        vary_strength=asked.vary_strength,
        steps=steps,
        guidance=float(family.guidance if asked.guidance is None else asked.guidance),
        control_scale=float(
            family.control_scale if asked.control_scale is None else asked.control_scale
        ),
    )


def resolve_crops(asked: CropSettings, family: Family, trained_px: int) -> Crops:
    """Return the sizes that a family's crops are cut by; raises ConfigError for impossible ones."""
    own_size = None if family.is_native else trained_px
    resolution_px = own_size if asked.resolution_px == "auto" else asked.resolution_px
    for key, size_px in (("resolution_px", resolution_px), ("max_px", asked.max_px)):
        step = family.size_multiple
        if size_px is not None and (size_px < 64 or size_px % step):
            raise ConfigError(
                f"backend.crops.{key}={size_px} must be 64 or more and a multiple of {step}, "
                f"which {family.title} needs"
            )
    return Crops(
        context_px=family.context_px if asked.context_px is None else asked.context_px,
        min_px=asked.min_px,
        max_px=asked.max_px,
        max_image_px=asked.max_image_px,
        resolution_px=resolution_px,
        feather_px=family.feather_px if asked.feather_px is None else asked.feather_px,
    )
