"""A reference image whose look is passed on: IP-Adapter (Ye et al. 2023, arXiv:2308.06721)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from synthgen.backends.settings import ReferenceImage
from synthgen.errors import ConfigError, ModelError
from synthgen.imaging.images import grey_window, read_image, to_rgb8

__all__ = ["add_reference"]


def add_reference(
    pipeline: Any, reference: ReferenceImage, weights: Path
) -> Callable[[int, bool], dict[str, Any]]:
    """Load an IP-Adapter into a pipeline; return a function that gives the pipeline's arguments.

    The function takes the number of images and whether guidance runs the model twice. The image is
    encoded once for each of the two. Raises ConfigError where the pipeline takes no IP-Adapter, and
    ModelError where the weights do not fit.
    """
    if not hasattr(pipeline, "load_ip_adapter"):
        raise ConfigError(
            f"backend.model.reference: a {type(pipeline).__name__} takes no IP-Adapter; set it to "
            "null"
        )
    pixels = read_image(Path(reference.image).expanduser())
    image = Image.fromarray(to_rgb8(pixels, grey_window(pixels)))
    try:
        pipeline.load_ip_adapter(
            str(weights.parent),
            subfolder="",
            weight_name=weights.name,
            image_encoder_folder=str(Path(reference.encoder).expanduser().resolve()),
            local_files_only=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"backend.model.reference: {weights} does not load into a {type(pipeline).__name__}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    pipeline.set_ip_adapter_scale(reference.scale)

    @lru_cache(2)
    def embed(is_guided: bool) -> Any:
        import torch

        with torch.no_grad():
            return pipeline.prepare_ip_adapter_image_embeds(
                [image], None, pipeline._execution_device, 1, is_guided
            )[0]

    def refer(count: int, is_guided: bool) -> dict[str, Any]:
        import torch

        sides = embed(is_guided).chunk(2 if is_guided else 1)  # the negative first
        repeated = torch.cat([side.repeat(count, 1, 1) for side in sides])
        return {"ip_adapter_image_embeds": [repeated]}

    return refer
