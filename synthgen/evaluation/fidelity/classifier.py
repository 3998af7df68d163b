"""A small classifier of defect classes that has seen sketches only: does the painting obey?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from synthgen.progress import track
from synthgen.samples.arrays import Image

__all__ = ["Classifier", "train_classifier"]

BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """Names the class of a defect from a crop and the same crop of its source.

    ``names`` are the classes in the order of the network's outputs.
    """

    names: tuple[str, ...]
    network: nn.Module

    def classify(self, crops: Sequence[Image], sources: Sequence[Image]) -> list[str]:
        """Return the likeliest class of each crop, (S, S, 3) uint8; ``sources`` pair with them."""
        found: list[str] = []
        self.network.eval()
        with torch.no_grad():
            for at in range(0, len(crops), BATCH):
                pixels = _stack(crops[at : at + BATCH], sources[at : at + BATCH])
                found += [self.names[int(n)] for n in self.network(pixels).argmax(1)]
        return found


def _stack(crops: Sequence[Image], sources: Sequence[Image]) -> torch.Tensor:
    """Return (B, 6, S, S): the crop, and twice what changed in it."""
    now = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
    before = torch.from_numpy(np.stack(sources)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return torch.cat([now, 2 * (now - before)], dim=1)


class _Network(nn.Module):
    """Crop and change (B, 6, S, S) -> the logits of the classes (B, N)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widths = [6, 32, 64, 128, 192]
        for width_in, width in pairwise(widths):
            layers += [
                nn.Conv2d(width_in, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * widths[-1], classes))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = self.layers(pixels)
        pooled = torch.cat([features.amax((2, 3)), features.mean((2, 3))], dim=1)
        return torch.as_tensor(self.head(pooled))


def train_classifier(
    crops: Sequence[Image],
    sources: Sequence[Image],
    labels: Sequence[str],
    seed: int,
    epochs: int = 9,
) -> Classifier:
    """Train on crops of sketches, turned and mirrored at random.

    ``crops`` and ``sources`` are (S, S, 3) uint8, all of one size, ``labels`` their classes. Fewer
    crops than a batch of 64 train nothing. One seed gives one classifier; torch's global generator
    stays as it is.
    """
    names = tuple(sorted(set(labels)))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # weights and dropout take no generator
        network = _Network(len(names))
        rng = np.random.default_rng(seed)
        targets = torch.tensor([names.index(label) for label in labels])
        steps = epochs * (len(crops) // BATCH)
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=max(steps, 2))
        network.train()
        for _ in track(range(steps), "learning to tell sketches apart", unit="steps"):
            chosen = rng.integers(len(crops), size=BATCH)
            pixels = _stack([crops[n] for n in chosen], [sources[n] for n in chosen])
            pixels = torch.rot90(pixels, int(rng.integers(4)), (2, 3))
            pixels = pixels.flip(3) if rng.random() < 0.5 else pixels
            loss = F.cross_entropy(
                network(pixels), targets[torch.from_numpy(chosen)], label_smoothing=0.05
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return Classifier(names, network)
