"""Teach the embedded model real defects: its own training, gone on with on crops of them.

Of DefectFill (Song et al. 2025, https://arxiv.org/abs/2503.13985) two of three losses are here in
another form. The masked-defect loss is the squared error of the change, three times as heavy on
the defect. The object loss keeps the surroundings: loose masks (boxes, hulls) are part of the
crops, and what is not a defect in the repaint mask has to stay as it is. Its attention loss is
left out: the mask goes into this model pixel by pixel, and its attention has cells of 8 px.
Noise on the prompts follows MAGIC (Kim et al. 2025, https://arxiv.org/abs/2507.02314).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from numpy.typing import NDArray

from synthgen.backends.checkpoints.adapters import add_words
from synthgen.backends.checkpoints.find import Checkpoint
from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.backends.diffusion.loading import (
    best_precision,
    pick_device,
    silence_loading,
)
from synthgen.backends.diffusion.patch_inpaint import PatchControlNetInpaintPipeline
from synthgen.backends.diffusion.threads import pick_threads
from synthgen.errors import ConfigError
from synthgen.planning.prompts import SYNONYMS
from synthgen.progress import stage
from synthgen.realdata.records import RealImage
from synthgen.references.clean import CleanPhotos
from synthgen.references.items import check_reference_splits
from synthgen.samples.seeds import stream
from synthgen.training.adaptation.crops import (
    Augmentation,
    RealCrops,
    RealExample,
    draw_judged,
    draw_real_crop,
    hold_back,
    make_examples,
    name_classes,
)
from synthgen.training.adaptation.folder import (
    Outcome,
    check_folder,
    draw_crop_sheet,
    find_changes,
    write_folder,
)
from synthgen.training.adaptation.loop import AdaptSettings, Trainer, identify
from synthgen.training.adaptation.recipe import Choose, Paint, plan_recipe
from synthgen.training.crops import Crop, draw_crops
from synthgen.training.learner import (
    PARTS,
    Learner,
    LossSettings,
    change_loss,
    stack_crops,
)
from synthgen.training.pretrain import paint_crops

__all__ = ["AdaptSettings", "adapt", "adapt_backend"]

STEPS = 4  # as the embedded backend paints
FLOOR = 1.0  # more than in pretraining: how these defects look must be known from noise alone
LORA_LAYERS = r".*(to_q|to_k|to_v|to_out\.0|net\.0\.proj|net\.2|conv1|conv2)"


def adapt_backend(
    images: Sequence[RealImage],
    backend: DiffusionBackend,
    settings: AdaptSettings,
    folder: Path,
    choose: Choose | None = None,
    photos: CleanPhotos | None = None,
) -> Outcome:
    """Adapt what a backend paints with: all of the embedded model, or low ranks of a UNet.

    ``choose`` is asked, at the end, how to paint with it best.

    Raises ConfigError for families that cannot be adapted here, and what ``adapt`` does.
    """
    family, base = backend.family, backend.model.base
    if family.adapts == "all":
        return adapt(images, base, settings, folder, choose, photos)
    if not family.adapts:
        raise ConfigError(
            f"adapt cannot teach {family.title}; use backend=embedded, or a Stable Diffusion 1.5 "
            "or SDXL checkpoint"
        )
    from synthgen.training.adaptation.lora import adapt_unet

    return adapt_unet(images, backend, settings, folder, choose, photos)


def adapt(
    images: Sequence[RealImage],
    base: Checkpoint,
    settings: AdaptSettings,
    folder: Path,
    choose: Choose | None = None,
    photos: CleanPhotos | None = None,
) -> Outcome:
    """Adapt a patch model to the defects of ``images``; write the adapter into ``folder``.

    The same call continues one that was stopped, and ends as an unbroken one does. Raises
    SourceError for images that cannot be read or may not be learned from, RunError for a folder of
    another adaptation, and ModelError.
    """
    check_reference_splits(images, settings.splits, "adapt.splits")
    check_folder(folder)
    torch.set_num_threads(pick_threads(settings.threads, "adapt.threads"))
    cv2.setNumThreads(1)
    nouns = name_classes(images, settings.words)
    examples, good = make_examples(images, nouns, settings.surface, photos)
    taught, held = hold_back(examples, settings.hold_back, settings.seed)
    with stage(f"loading the model {base.name}"):
        pipeline = load_base(base).to(pick_device(settings.device, "adapt.device"))
    plain = {n: p.detach().clone() for n, p in _parameters(pipeline).items()}
    with stage("looking for words that the model knows"):
        words = new_words(pipeline, examples, settings)
    add_words(pipeline, words)
    plain |= {n: p.detach().clone() for n, p in _parameters(pipeline).items() if "token_" in n}
    learner = prepare(pipeline, settings)
    own = PatchExamples(pipeline, learner, settings, taught, held, good)
    trainer = Trainer(learner, settings, own.lose, own.validate)
    started = time.monotonic()
    curve = trainer.run(folder, identify(images, base, settings))
    seconds = time.monotonic() - started
    recipe = plan_recipe(examples, "the defaults, as nothing was tried")
    if choose is not None:
        recipe = choose(taught, held, _painters(pipeline, plain), settings.seed)
    outcome = Outcome(
        base=base,
        settings=settings,
        nouns=nouns,
        words=words,
        taught=taught,
        held=held,
        curve=curve,
        seconds=seconds,
        recipe=recipe,
    )
    with stage("painting what is held back"):
        sheet = draw_crop_sheet(held, lambda c: paint_crops(pipeline, list(c), 1.0, 12, 1.0))
    write_folder(folder, outcome, find_changes(pipeline, plain), sheet)
    return outcome


def _painters(
    pipeline: PatchControlNetInpaintPipeline, plain: Mapping[str, torch.Tensor]
) -> dict[bool, Paint]:
    """Return how the model paints with what it has learned (True), and as it was (False)."""

    def paint(crops: Sequence[Crop], strength: float) -> list[NDArray[np.uint8]]:
        return paint_crops(pipeline, list(crops), strength, STEPS, 1.0, guidance=1.0)

    def paint_plain(crops: Sequence[Crop], strength: float) -> list[NDArray[np.uint8]]:
        learned = {n: p.detach().clone() for n, p in _parameters(pipeline).items()}
        _set_parameters(pipeline, plain)
        try:
            return paint(crops, strength)
        finally:
            _set_parameters(pipeline, learned)

    return {True: paint, False: paint_plain}


@torch.no_grad()
def _set_parameters(
    pipeline: PatchControlNetInpaintPipeline, values: Mapping[str, torch.Tensor]
) -> None:
    """Set all weights; low ranks that ``values`` lack are set to nothing."""
    for name, parameter in _parameters(pipeline).items():
        value = values.get(name, values.get(name.replace(".base_layer", "")))
        parameter.copy_(torch.zeros_like(parameter) if value is None else value)


def load_base(base: Checkpoint) -> PatchControlNetInpaintPipeline:
    """Load a patch model in float32 for training, without a progress bar of its own."""
    silence_loading()
    pipeline: PatchControlNetInpaintPipeline = PatchControlNetInpaintPipeline.from_pretrained(
        base.folder, local_files_only=True, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.set_attn_processor(AttnProcessor())  # its backward is 2x as fast on a CPU
    return pipeline


def new_words(
    pipeline: PatchControlNetInpaintPipeline,
    examples: Sequence[RealExample],
    settings: AdaptSettings,
) -> dict[str, str]:
    """Return the words that the model does not know, each with the noun to start from.

    That is the noun by which the model, as it is, paints this class best: of least loss on 12 crops
    of its examples.
    """
    known = pipeline.tokenizer.get_vocab()
    words: dict[str, str] = {}
    for name in sorted({example.defect_class for example in examples}):
        own = [example for example in examples if example.defect_class == name]
        missing = [w for w in own[0].noun.split() if w not in known and w not in words]
        if missing:
            nearest = _nearest_noun(pipeline, own, settings)
            words |= dict.fromkeys(missing, nearest)
    return words


@torch.no_grad()
def _nearest_noun(
    pipeline: PatchControlNetInpaintPipeline,
    examples: Sequence[RealExample],
    settings: AdaptSettings,
) -> str:
    learner, vary = Learner(pipeline, ()), Augmentation(transplant=0)
    rng = stream(settings.seed, "nearest noun", examples[0].defect_class)
    batch = stack_crops(
        [draw_real_crop(rng, examples[n % len(examples)], (), 64, vary) for n in range(12)]
    )
    losses = {}
    for noun in sorted(SYNONYMS):
        batch["prompts"] = [f"a {noun} on surface"] * 12
        draw = torch.Generator().manual_seed(0)
        loss = change_loss(
            learner,
            pipeline,
            batch,
            LossSettings(drop_prompt=0, drop_control=1),
            draw,
            pipeline.device,
        )
        losses[noun] = float(loss)
    return min(losses, key=losses.__getitem__)


def prepare(pipeline: PatchControlNetInpaintPipeline, settings: AdaptSettings) -> Learner:
    """Return the parts with what is to be trained switched on.

    ``full``: ``settings.parts``. ``lora``: low ranks of the UNet, drawn from the seed, and the
    embedding of the words.
    """
    if settings.method == "full":
        return Learner(pipeline, settings.parts)
    from peft import LoraConfig

    learner = Learner(pipeline, ())
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)  # peft takes no generator
        pipeline.unet.add_adapter(
            LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=LORA_LAYERS)
        )
    pipeline.text_encoder.get_input_embeddings().requires_grad_(True)
    return learner


def _parameters(pipeline: PatchControlNetInpaintPipeline) -> dict[str, torch.nn.Parameter]:
    """Return all weights by part and name."""
    return {
        f"{part}.{name}": parameter
        for part in PARTS
        for name, parameter in getattr(pipeline, part).named_parameters()
    }


class PatchExamples:
    """What a patch model is taught with and judged by.

    Crops of ``taught`` and of pretraining teach, fixed ones of ``held`` judge. ``good``: surfaces
    (H, W, 3) for transplants.
    """

    def __init__(
        self,
        pipeline: PatchControlNetInpaintPipeline,
        learner: Learner,
        settings: AdaptSettings,
        taught: Sequence[RealExample],
        held: Sequence[RealExample],
        good: Sequence[NDArray[np.uint8]],
    ) -> None:
        self.pipeline, self.learner, self.settings = pipeline, learner, settings
        asked = settings.mixed_precision
        precision = best_precision(pipeline.device.type) if asked == "auto" else asked
        self._is_half = precision == "bf16"
        self.crops = RealCrops(taught, good, settings)
        self.judged = [stack_crops(crops) for crops in draw_judged(held, settings.seed)]

    def lose(self, step: int) -> torch.Tensor:
        """Return the loss of a step, on real crops and on those of pretraining.

        The same step has the same crops, noise and levels, whatever came before.
        """
        s = self.settings
        size = s.crop_sizes_px[step % len(s.crop_sizes_px)]
        count = max(2, round(s.batch_size * (s.crop_sizes_px[0] / size) ** 2))
        prior = min(round(count * s.prior_fraction), count - 1)
        crops = draw_crops(s.seed, step, prior, size) + self.crops.draw(step, count - prior, size)
        draw = torch.Generator().manual_seed(s.seed + 7919 * step)
        losses = LossSettings(
            drop_prompt=s.drop_prompt,
            drop_control=s.drop_control,
            prompt_noise=s.prompt_noise,
            floor=FLOOR,
        )
        batch = stack_crops(crops)
        device = self.pipeline.device
        return change_loss(self.learner, self.pipeline, batch, losses, draw, device, self._autocast)

    @torch.no_grad()
    def validate(self) -> float:
        """Return the loss on what is held back: always the same crops, noise and levels."""
        losses = []
        for number, batch in enumerate(self.judged):
            draw = torch.Generator().manual_seed(number)
            rules, device = LossSettings(floor=FLOOR), self.pipeline.device
            with self._autocast():
                loss = change_loss(self.learner, self.pipeline, batch, rules, draw, device)
            losses.append(float(loss))
        return float(np.mean(losses))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.pipeline.device.type, torch.bfloat16, self._is_half)
