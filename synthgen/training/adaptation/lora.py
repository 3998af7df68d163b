"""Low ranks (LoRA) for the UNet of Stable Diffusion 1.5 and XL, taught as DefectFill does.

Three losses (Song et al. 2025, https://arxiv.org/abs/2503.13985, section 3): the noise inside the
defect's mask; the noise of the whole crop, where random boxes are to be painted and the defect
counts most; and the attention of the class's words, which is to lie on the mask.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch.utils.hooks import RemovableHandle

from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.backends.diffusion.threads import pick_threads
from synthgen.progress import stage
from synthgen.realdata.records import RealImage
from synthgen.references.clean import CleanPhotos
from synthgen.references.items import check_reference_splits
from synthgen.samples.sample import Condition, SampleSpec, SourceImage
from synthgen.samples.seeds import stream
from synthgen.training.adaptation.crops import (
    RealCrops,
    RealExample,
    draw_judged,
    hold_back,
    make_examples,
    name_classes,
)
from synthgen.training.adaptation.folder import Outcome, check_folder, draw_crop_sheet, write_folder
from synthgen.training.adaptation.loop import AdaptSettings, Trainer, identify
from synthgen.training.adaptation.recipe import Choose, plan_recipe
from synthgen.training.crops import Crop, draw_crops
from synthgen.training.learner import stack_crops

__all__ = ["Attention", "UnetExamples", "adapt_unet"]

DEFECT_WEIGHT, OBJECT_WEIGHT, ATTENTION_WEIGHT = 0.5, 0.2, 0.05
BACKGROUND = 0.3  # how much the rest counts beside the defect in the loss of the whole crop
BOXES = 30
LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]


def adapt_unet(
    images: Sequence[RealImage],
    backend: DiffusionBackend,
    settings: AdaptSettings,
    folder: Path,
    choose: Choose | None = None,
    photos: CleanPhotos | None = None,
) -> Outcome:
    """Teach a backend's UNet the defects of ``images``; write the adapter into ``folder``.

    The same call continues one that was stopped. Raises SourceError, RunError, ModelError.
    """
    from peft import LoraConfig, get_peft_model_state_dict

    check_reference_splits(images, settings.splits, "adapt.splits")
    check_folder(folder)
    torch.set_num_threads(pick_threads(settings.threads, "adapt.threads"))
    nouns = name_classes(images, settings.words)
    examples, good = make_examples(images, nouns, settings.surface, photos)
    taught, held = hold_back(examples, settings.hold_back, settings.seed)
    unet, base = backend.load().pipeline.unet, backend.model.base
    unet.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)  # peft takes no generator
        unet.add_adapter(
            LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=LAYERS)
        )
    own = UnetExamples(backend, settings, taught, held, good)
    started = time.monotonic()
    with own.attention:
        curve = Trainer(unet, settings, own.lose, own.validate).run(
            folder, identify(images, base, settings)
        )
    seconds = time.monotonic() - started
    outcome = Outcome(
        base=base,
        settings=settings,
        nouns=nouns,
        words={},
        taught=taught,
        held=held,
        curve=curve,
        seconds=seconds,
        backend=backend.name,
        recipe=choose(taught, held, {}, settings.seed)
        if choose
        else plan_recipe(examples, "the defaults, as nothing was tried"),
    )
    ranks = {f"unet.{name}": value for name, value in get_peft_model_state_dict(unet).items()}

    def paint(crops: Sequence[Crop]) -> list[NDArray[np.uint8]]:
        return backend.paint([_condition(crop, n, backend) for n, crop in enumerate(crops)])

    with stage("painting what is held back"):
        sheet = draw_crop_sheet(held, paint)
    write_folder(folder, outcome, ranks, sheet)
    return outcome


class UnetExamples:
    """What the UNet is taught with and judged by.

    Crops of real defects and drawn ones, at the size that the backend paints at.
    """

    def __init__(
        self,
        backend: DiffusionBackend,
        settings: AdaptSettings,
        taught: Sequence[RealExample],
        held: Sequence[RealExample],
        good: Sequence[NDArray[np.uint8]],
    ) -> None:
        from diffusers import DDPMScheduler

        self.pipeline, self.texts = backend.load().pipeline, backend.load().texts
        self.unet, self.settings = self.pipeline.unet, settings
        self.size_px = backend.crops.resolution_px
        self.crops = RealCrops(taught, good, settings)
        self.nouns = sorted({example.noun for example in taught}, key=len, reverse=True)
        self.held = draw_judged(held, settings.seed)
        self.schedule = DDPMScheduler.from_config(self.pipeline.scheduler.config)
        self.attention = Attention(self.unet)

    def lose(self, step: int) -> torch.Tensor:
        """Return the loss of a step, on real crops and on drawn ones.

        The same step has the same crops, noise and levels, whatever came before.
        """
        s = self.settings
        size = s.crop_sizes_px[step % len(s.crop_sizes_px)]
        prior = min(round(s.batch_size * s.prior_fraction), s.batch_size - 1)
        crops = draw_crops(s.seed, step, prior, size)
        crops += self.crops.draw(step, s.batch_size - prior, size)
        return self._loss(crops, torch.Generator().manual_seed(s.seed + 7919 * step))

    @torch.no_grad()
    def validate(self) -> float:
        """Return the loss on what is held back: always the same crops, noise and levels."""
        losses = [
            self._loss(crops, torch.Generator().manual_seed(number))
            for number, crops in enumerate(self.held)
        ]
        return float(torch.stack(losses).mean())

    def _loss(self, crops: Sequence[Crop], draw: torch.Generator) -> torch.Tensor:
        device, dtype = self.unet.device, self.unet.dtype
        batch = stack_crops(crops)
        real, mask = (self._fit(batch[k]).to(device) for k in ("defective", "repaint_mask"))
        defect = (self._fit(batch["defect_mask"]).to(device) > 0.5).float()
        latents = self._encode(real)
        noise = torch.randn(latents.shape, generator=draw).to(latents)
        levels = torch.randint(0, 1000, (len(latents),), generator=draw).to(device)
        noisy = self.schedule.add_noise(latents, noise, levels)
        wanted = noise
        if self.schedule.config.prediction_type == "v_prediction":
            wanted = self.schedule.get_velocity(latents, noise, levels)
        near = F.adaptive_max_pool2d(defect, latents.shape[-2:])
        texts = self._texts(crops, real.shape[-1])
        predicted = self._predict(noisy, levels, texts, real, (mask > 0.5).float())
        watched = self.attention.loss(near, self._positions(crops))
        error = (near * (predicted - wanted.to(dtype)) ** 2).sum() / (near.sum() * 4).clamp(min=1)
        if self.unet.config.in_channels > 4:  # only there a mask is read
            boxes = _draw_boxes(defect.shape, draw).to(device)
            predicted = self._predict(noisy, levels, texts, real, boxes)
        weight = near + BACKGROUND * (1 - near)
        whole = (weight * (predicted - wanted.to(dtype)) ** 2).mean()
        total: torch.Tensor = (
            DEFECT_WEIGHT * error + OBJECT_WEIGHT * whole + ATTENTION_WEIGHT * watched
        )
        return total.float()

    def _fit(self, images: torch.Tensor) -> torch.Tensor:
        """Return images at the size that the backend paints at."""
        return F.interpolate(images, self.size_px) if self.size_px else images

    @torch.no_grad()
    def _encode(self, images: torch.Tensor) -> torch.Tensor:
        vae = self.pipeline.vae
        latents = vae.encode(images.to(vae.dtype)).latent_dist.mode()
        scaled: torch.Tensor = latents * vae.config.scaling_factor
        return scaled

    def _texts(self, crops: Sequence[Crop], side_px: int) -> dict[str, Any]:
        states = self.texts([(crop.prompt, "") for crop in crops], False)
        given: dict[str, Any] = {"encoder_hidden_states": states["prompt_embeds"]}
        if "pooled_prompt_embeds" in states:  # SDXL; sizes: original, corner, target
            pooled = states["pooled_prompt_embeds"]
            sizes = torch.tensor([[side_px, side_px, 0, 0, side_px, side_px]])
            given["added_cond_kwargs"] = {
                "text_embeds": pooled,
                "time_ids": sizes.repeat(len(crops), 1).to(pooled),
            }
        return given

    def _predict(
        self,
        noisy: torch.Tensor,
        levels: torch.Tensor,
        texts: dict[str, Any],
        real: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        inputs = noisy
        if self.unet.config.in_channels > 4:
            small = F.interpolate(mask, noisy.shape[-2:])
            inputs = torch.cat([noisy, small.to(noisy), self._encode(real * (1 - mask))], dim=1)
        predicted: torch.Tensor = self.unet(inputs.to(self.unet.dtype), levels, **texts).sample
        return predicted

    def _positions(self, crops: Sequence[Crop]) -> list[list[int]]:
        """Return at which tokens each prompt names its class; none for classes of others."""
        tokenizer = self.pipeline.tokenizer
        found = []
        for crop in crops:
            noun = next((noun for noun in self.nouns if noun in crop.prompt), "")
            own = tokenizer(noun, add_special_tokens=False).input_ids
            ids = tokenizer(crop.prompt, truncation=True).input_ids
            starts = [n for n in range(len(ids)) if own and ids[n : n + len(own)] == own]
            found.append([start + n for start in starts[:1] for n in range(len(own))])
        return found


class Attention:
    """Reads how much each place looks at each word, in the upward half of a UNet.

    It does so within ``with``; behind it the UNet is as it was.
    """

    def __init__(self, unet: torch.nn.Module) -> None:
        self.seen: dict[str, dict[str, torch.Tensor]] = {}
        self.layers = {
            name: module
            for name, module in unet.named_modules()
            if name.startswith("up_blocks") and name.endswith("attn2")
        }
        self.handles: list[RemovableHandle] = []

    def __enter__(self) -> None:
        for name, layer in self.layers.items():
            for part in ("to_q", "to_k"):
                keep = partial(self._keep, name, part)
                self.handles.append(getattr(layer, part).register_forward_hook(keep))

    def __exit__(self, *_: object) -> None:
        while self.handles:
            self.handles.pop().remove()
        self.seen.clear()

    def _keep(self, name: str, part: str, _module: Any, _inputs: Any, output: torch.Tensor) -> None:
        self.seen.setdefault(name, {})[part] = output

    def loss(self, mask: torch.Tensor, positions: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the squared difference of the words' attention and the mask (B, 1, h, w).

        It is the mean over layers and crops, of what the UNet last saw. ``positions``: of each crop
        the tokens that name its class; a crop without any counts nothing. 0 where none has any.
        """
        total, count = mask.new_zeros(()), 0
        for name, layer in self.layers.items():
            weights = self._weights(name, int(layer.heads))
            side = round(weights.shape[1] ** 0.5)
            small = F.adaptive_max_pool2d(mask, (side, side))
            for number, words in enumerate(positions):
                if words:
                    own = weights[number, :, list(words)].mean(dim=1).reshape(side, side)
                    total = total + ((own - small[number, 0]) ** 2).mean()
                    count += 1
        return total / max(1, count)

    def _weights(self, name: str, heads: int) -> torch.Tensor:
        """Return the mean attention over heads, (B, places, words)."""
        query, key = (
            states.reshape(*states.shape[:2], heads, -1).transpose(1, 2)
            for states in (self.seen[name][part] for part in ("to_q", "to_k"))
        )
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        weights: torch.Tensor = scores.softmax(dim=-1).mean(dim=1)
        return weights


def _draw_boxes(shape: Sequence[int], draw: torch.Generator) -> torch.Tensor:
    """Return masks (B, 1, H, W) of random boxes."""
    masks = torch.zeros(tuple(shape))
    height, width = shape[-2:]
    for mask in masks[:, 0]:
        for top, left, high, wide in torch.rand(BOXES, 4, generator=draw).tolist():
            row, column = int(top * height), int(left * width)
            down, across = int(high * height / 4) + 1, int(wide * width / 4) + 1
            mask[row : row + down, column : column + across] = 1
    return masks


def _condition(crop: Crop, number: int, backend: DiffusionBackend) -> Condition:
    name = f"held-back-{number}"
    seed = int(stream(0, "sheet", number).integers(2**31))
    spec = SampleSpec(
        sample_id=name,
        index=number,
        seed=seed,
        defect_class="defect",
        class_id=1,
        source_id=name,
        group=name,
        split="",
        prompt=crop.prompt,
        negative_prompt="",
        instances=1,
        severity=0.5,
    )
    source = SourceImage(
        source_id=name,
        group=name,
        pixels=crop.source,
        window=(0.0, 255.0),
        path=None,
        surface="surface",
    )
    controls = dict.fromkeys(backend.reads or ("canny",), crop.control_image)
    return Condition(
        spec=spec,
        source=source,
        image=crop.source,
        defect_mask=crop.defect_mask,
        repaint_mask=crop.repaint_mask,
        instance_map=crop.defect_mask.astype(np.uint8),
        sketch=crop.sketch,
        controls=controls,
    )
