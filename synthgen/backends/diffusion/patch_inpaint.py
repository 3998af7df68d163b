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
    """Fold (B, C, H, W) into (B, C * patch_size**2, H / patch_size, W / patch_size).

    Both sides must be multiples of ``patch_size``. Nothing is lost: a pixel becomes a channel.
    """
    return F.pixel_unshuffle(images, patch_size)


def encode_patches(images: torch.Tensor, patch_size: int = 4) -> torch.Tensor:
    """Turn RGB (B, 3, H, W) in -1..1 into latents (B, 3 * patch_size**2, ...); linear, lossless.

    As it is linear, the latents of a difference are the difference of the latents.
    """
    matrix = torch.tensor(_TO_LUMA_CHROMA, dtype=images.dtype, device=images.device)
    return unshuffle(torch.einsum("ij,bjhw->bihw", matrix, images), patch_size) * _GAIN


def decode_patches(latents: torch.Tensor, patch_size: int = 4) -> torch.Tensor:
    """Undo ``encode_patches``: return RGB (B, 3, H, W), in -1..1 for latents of a picture."""
    matrix = torch.linalg.inv(torch.tensor(_TO_LUMA_CHROMA)).to(latents.device, latents.dtype)
    return torch.einsum("ij,bjhw->bihw", matrix, F.pixel_shuffle(latents / _GAIN, patch_size))


class PatchControlNetInpaintPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Inpaints small images with an edge map; see the module's page for what it is.

    ``patch_size``: pixels a side of a block. Both sides of an image must be multiples of
    ``size_multiple``: of a block, halved by each level of the UNet but one.
    """

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
        kinds = (*controlnet.config.down_block_types, controlnet.config.mid_block_type)
        self._control_reads_text = any("CrossAttn" in kind for kind in kinds)
        self._image = VaeImageProcessor(vae_scale_factor=patch_size, do_resize=False)
        self._raw = VaeImageProcessor(
            vae_scale_factor=patch_size, do_resize=False, do_normalize=False
        )

    def encode_prompt(
        self,
        prompt: str | Sequence[str],
        device: torch.device | str | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = False,
        negative_prompt: str | Sequence[str] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the text states (B, tokens, width) of prompts and, with guidance, of negatives.

        Longer texts are cut off. It is called like the method of diffusers' pipelines.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        states = self._encode(prompts, device, num_images_per_prompt)
        if not do_classifier_free_guidance:
            return states, None
        negative = negative_prompt or ""
        negatives = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
        return states, self._encode(negatives, device, num_images_per_prompt)

    def _encode(
        self, texts: Sequence[str], device: torch.device | str | None, copies: int
    ) -> torch.Tensor:
        """Return the states (B * copies, tokens, width); a text's copies lie beside each other."""
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        states = self.text_encoder(tokens.input_ids.to(device or self.text_encoder.device))
        repeated: torch.Tensor = states.last_hidden_state.repeat_interleave(copies, dim=0)
        return repeated

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        image: PipelineImageInput = None,
        mask_image: PipelineImageInput = None,
        control_image: PipelineImageInput = None,
        init_image: PipelineImageInput | None = None,
        strength: float = 1.0,
        num_inference_steps: int = 20,
        guidance_scale: float = 1.5,
        negative_prompt: str | list[str] | None = None,
        controlnet_conditioning_scale: float = 1.0,
        control_guidance_start: float = 0.0,
        control_guidance_end: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Paint inside the masks; pixels outside come back as they were.

        ``image``, ``mask_image`` (white = repaint) and ``control_image`` are equally long lists of
        equal size, or single pictures. ``init_image`` (default: ``image``) is what denoising starts
        from where ``strength`` < 1; it is how a sketch gets in. ``prompt_embeds`` replaces texts,
        with guidance ``negative_prompt_embeds`` too (see ``encode_prompt``). ``output_type``: pil,
        np or pt. Raises ValueError for sizes that the UNet cannot halve and for 0 steps.
        """
        device, dtype = self._execution_device, self.unet.dtype
        source = self._image.preprocess(image).to(device, dtype)
        mask = self._prepare_mask(mask_image).to(device, dtype)
        control = self._raw.preprocess(control_image).to(device, dtype)
        start = source if init_image is None else self._image.preprocess(init_image).to(source)

        guided = guidance_scale > 1.0
        states = self._text_states(
            prompt, negative_prompt, prompt_embeds, negative_prompt_embeds, guided
        ).to(device, dtype)
        self._check(len(states) // (2 if guided else 1), source, mask, control)
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

    def _text_states(
        self,
        prompt: str | list[str] | None,
        negative_prompt: str | list[str] | None,
        states: torch.Tensor | None,
        negative_states: torch.Tensor | None,
        guided: bool,
    ) -> torch.Tensor:
        """Return one row per image, behind as many of the negative prompts with guidance."""
        if states is None:
            if prompt is None:
                raise ValueError("give prompt or prompt_embeds")
            states, negative_states = self.encode_prompt(prompt, None, 1, guided, negative_prompt)
        if not guided:
            return states
        if negative_states is None:
            raise ValueError(
                "guidance_scale over 1 needs negative_prompt_embeds beside prompt_embeds"
            )
        return torch.cat([negative_states, states])

    def _prepare_mask(self, mask: PipelineImageInput) -> torch.Tensor:
        """Return masks as (B, 1, H, W), 0 or 1; what is half white or more is repainted."""
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
        self, prompts: int, source: torch.Tensor, mask: torch.Tensor, control: torch.Tensor
    ) -> None:
        """Raise ValueError where sizes or counts do not agree, or the UNet cannot halve a side."""
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
        if prompts != len(source):
            raise ValueError(f"{prompts} prompts came with {len(source)} images")

    def _timesteps(self, steps: int, strength: float, device: torch.device) -> torch.Tensor:
        """Return the last ``int(steps * strength)`` timesteps, as diffusers' img2img does."""
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
        """Return the noisy change to start from, the latents of the source, and those of the mask.

        At strength 1 the start is noise alone, else what ``start`` changes of the source, with as
        much noise as belongs to the first timestep.
        """
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
        """Return the clean change that the UNet predicts, (B, C, h, w), with guidance applied.

        Classifier-free guidance (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598): both
        sides go through the UNet as one batch, that of the negative prompt first. ``control_scale``
        0 leaves the ControlNet out.
        """
        latents = self.scheduler.scale_model_input(latents, timestep)
        shape = unshuffle(mask, self.config.patch_size)
        sides = 2 if guidance_scale > 1.0 else 1
        inputs = torch.cat([latents, shape, known], dim=1).repeat(sides, 1, 1, 1)
        down, middle = None, None
        if control_scale:
            down, middle = self._control(latents, timestep, hint, states, sides, control_scale)
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

    def _control(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        hint: torch.Tensor,
        states: torch.Tensor,
        sides: int,
        control_scale: float,
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the ControlNet's residuals for ``sides`` times the rows of ``latents``.

        Both sides of the guidance differ in text alone: one that reads none runs for one of them.
        """
        runs = sides if self._control_reads_text else 1
        down, middle = self.controlnet(
            latents.repeat(runs, 1, 1, 1),
            timestep,
            encoder_hidden_states=states[: runs * len(latents)],
            controlnet_cond=hint.repeat(runs, 1, 1, 1),
            conditioning_scale=control_scale,
            return_dict=False,
        )
        if runs == sides:
            return down, middle
        return [part.repeat(sides, 1, 1, 1) for part in down], middle.repeat(sides, 1, 1, 1)
