"""The embedded model's pipeline: inpainting with a ControlNet, no VAE.

It is called like diffusers' ``StableDiffusionControlNetInpaintPipeline``, and differs in two ways:

* *Patches instead of a VAE.* A picture becomes 4x4 pixel blocks in luma and chroma
  (pixel-unshuffle, 48 channels). That is lossless, so thin lines and grain survive, and the mask
  keeps its pixels.
* *It paints the change, not the picture.* The latents are the difference between the finished image
  and the source, and the UNet sees the source beside them. What the defect leaves alone keeps the
  source's grain, and nothing has to be invented at the border of the mask.

The UNet predicts the clean latents (``prediction_type: sample``; Salimans and Ho 2022,
https://arxiv.org/abs/2202.00512, section 4), so a few steps are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ControlNetModel, DiffusionPipeline, ImagePipelineOutput, UNet2DConditionModel
from diffusers.image_processor import PipelineImageInput, VaeImageProcessor
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

__all__ = ["PatchControlNetInpaintPipeline", "decode_patches", "encode_patches", "unshuffle"]

# ITU-R BT.601 luma and chroma, chroma doubled: colour is weak in photographs of surfaces.
_TO_LUMA_CHROMA = (
    (0.299, 0.587, 0.114),
    (-0.3374, -0.6626, 1.0),
    (1.0, -0.8374, -0.1626),
)
_GAIN = 2.0  # brings a defect's latents to about unit variance


def unshuffle(images: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Fold (B, C, H, W) into (B, C * patch_size**2, H / patch_size, W / patch_size)."""
    return F.pixel_unshuffle(images, patch_size)


def encode_patches(images: torch.Tensor, patch_size: int = 4) -> torch.Tensor:
    """Turn RGB (B, 3, H, W) in -1..1 into latents (B, 3 * patch_size**2, ...); linear, lossless."""
    matrix = torch.tensor(_TO_LUMA_CHROMA, dtype=images.dtype, device=images.device)
    return unshuffle(torch.einsum("ij,bjhw->bihw", matrix, images), patch_size) * _GAIN


def decode_patches(latents: torch.Tensor, patch_size: int = 4) -> torch.Tensor:
    """Undo ``encode_patches``."""
    matrix = torch.linalg.inv(torch.tensor(_TO_LUMA_CHROMA)).to(latents.device, latents.dtype)
    return torch.einsum("ij,bjhw->bihw", matrix, F.pixel_shuffle(latents / _GAIN, patch_size))


class PatchControlNetInpaintPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Inpaints small images with an edge map; see the module's page for what it is."""

    model_cpu_offload_seq = "text_encoder->unet"

    def __init__(
        self,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        scheduler: SchedulerMixin,
        patch_size: int = 4,
    ) -> None:
        super().__init__()
        self.register_modules(
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            controlnet=controlnet,
            scheduler=scheduler,
        )
        self.register_to_config(patch_size=patch_size)
        self.size_multiple = patch_size * 2 ** (len(unet.config.block_out_channels) - 1)
        self._image = VaeImageProcessor(vae_scale_factor=patch_size, do_resize=False)
        self._raw = VaeImageProcessor(
            vae_scale_factor=patch_size, do_resize=False, do_normalize=False
        )

    def encode_prompt(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return the text states (B, tokens, width) of prompts; longer ones are cut off."""
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        states = self.text_encoder(tokens.input_ids.to(self.text_encoder.device))
        return states.last_hidden_state  # type: ignore[no-any-return]

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        image: PipelineImageInput,
        mask_image: PipelineImageInput,
        control_image: PipelineImageInput,
        init_image: PipelineImageInput | None = None,
        strength: float = 1.0,
        num_inference_steps: int = 20,
        guidance_scale: float = 1.5,
        negative_prompt: str | list[str] | None = None,
        controlnet_conditioning_scale: float = 1.0,
        control_guidance_start: float = 0.0,
        control_guidance_end: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Paint inside the masks; pixels outside come back as they were.

        ``image``, ``mask_image`` (white = repaint) and ``control_image`` are equally long lists of
        equal size, or single pictures. ``init_image`` (default: ``image``) is what denoising starts
        from where ``strength`` < 1; it is how a sketch gets in. ``output_type``: pil, np or pt.
        Raises ValueError for sizes that the UNet cannot halve and for 0 steps.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        device, dtype = self._execution_device, self.unet.dtype
        source = self._image.preprocess(image).to(device, dtype)
        mask = self._prepare_mask(mask_image).to(device, dtype)
        control = self._raw.preprocess(control_image).to(device, dtype)
        self._check(prompts, source, mask, control)
        start = source if init_image is None else self._image.preprocess(init_image).to(source)

        guided = guidance_scale > 1.0
        states = self.encode_prompt(prompts)
        if guided:
            negative = negative_prompt or ""
            negatives = [negative] * len(prompts) if isinstance(negative, str) else negative
            states = torch.cat([self.encode_prompt(negatives), states])

        timesteps = self._timesteps(num_inference_steps, strength, device)
        latents, known, latent_mask = self._prepare_latents(
            source, start, mask, timesteps, strength, generator
        )
        hint = unshuffle(control, self.config.patch_size)
        with self.progress_bar(total=len(timesteps)) as bar:
            for number, timestep in enumerate(timesteps):
                done = number / len(timesteps)
                is_controlled = control_guidance_start <= done <= control_guidance_end
                predicted = self._predict(
                    latents * latent_mask,
                    timestep,
                    known,
                    mask,
                    hint,
                    states,
                    guidance_scale,
                    float(controlnet_conditioning_scale) if is_controlled else 0.0,
                )
                latents = self.scheduler.step(
                    predicted * latent_mask, timestep, latents, return_dict=False
                )[0]
                bar.update()
        change = decode_patches((latents * latent_mask).float(), self.config.patch_size)
        painted = (source.float() + change * mask.float()).clamp(-1, 1)
        images = self._image.postprocess(painted, output_type=output_type)
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _prepare_mask(self, mask: PipelineImageInput) -> torch.Tensor:
        if isinstance(mask, Image.Image):
            mask = [mask]
        if isinstance(mask, list) and isinstance(mask[0], Image.Image):
            stack = np.stack([np.asarray(m.convert("L")) for m in mask])
            mask = torch.from_numpy(stack.astype(np.float32) / 255)[:, None]
        tensor = torch.as_tensor(mask)
        if tensor.ndim == 3:
            tensor = tensor[:, None]
        return (tensor >= 0.5).float()

    def _check(
        self, prompts: list[str], source: torch.Tensor, mask: torch.Tensor, control: torch.Tensor
    ) -> None:
        height, width = source.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(
                f"the image is {height} x {width} (height, width); "
                f"both must be multiples of {self.size_multiple}"
            )
        for name, tensor in (("mask_image", mask), ("control_image", control)):
            if tensor.shape[-2:] != source.shape[-2:] or len(tensor) != len(source):
                raise ValueError(
                    f"{name} is {tuple(tensor.shape)} but the image is {tuple(source.shape)}"
                )
        if len(prompts) != len(source):
            raise ValueError(f"{len(prompts)} prompts came with {len(source)} images")

    def _timesteps(self, steps: int, strength: float, device: torch.device) -> torch.Tensor:
        run = min(int(steps * strength), steps)
        if run < 1:
            raise ValueError(
                f"strength {strength:g} of {steps} steps leaves none to run; raise one of the two"
            )
        self.scheduler.set_timesteps(steps, device=device)
        first = steps - run
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(first * self.scheduler.order)
        timesteps: torch.Tensor = self.scheduler.timesteps[first * self.scheduler.order :]
        return timesteps

    def _prepare_latents(
        self,
        source: torch.Tensor,
        start: torch.Tensor,
        mask: torch.Tensor,
        timesteps: torch.Tensor,
        strength: float,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        patch = self.config.patch_size
        known = encode_patches(source, patch)
        latent_mask = unshuffle(mask.expand(-1, 3, -1, -1), patch)
        noise = randn_tensor(
            known.shape, generator=generator, device=known.device, dtype=torch.float32
        ).to(known)
        if strength >= 1.0:
            return noise * self.scheduler.init_noise_sigma, known, latent_mask
        change = (encode_patches(start, patch) - known) * latent_mask
        first = timesteps[:1].repeat(len(known))
        return self.scheduler.add_noise(change, noise, first), known, latent_mask

    def _predict(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        known: torch.Tensor,
        mask: torch.Tensor,
        hint: torch.Tensor,
        states: torch.Tensor,
        guidance_scale: float,
        control_scale: float,
    ) -> torch.Tensor:
        latents = self.scheduler.scale_model_input(latents, timestep)
        shape = unshuffle(mask, self.config.patch_size)
        sides = 2 if guidance_scale > 1.0 else 1
        both = latents.repeat(sides, 1, 1, 1)
        inputs = torch.cat([latents, shape, known], dim=1).repeat(sides, 1, 1, 1)
        down, middle = None, None
        if control_scale:
            down, middle = self.controlnet(
                both,
                timestep,
                encoder_hidden_states=states,
                controlnet_cond=hint.repeat(sides, 1, 1, 1),
                conditioning_scale=control_scale,
                return_dict=False,
            )
        predicted: torch.Tensor = self.unet(
            inputs,
            timestep,
            encoder_hidden_states=states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        if sides == 1:
            return predicted
        without, towards = predicted.chunk(2)
        return torch.lerp(without, towards, guidance_scale)
