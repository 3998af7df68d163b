"""Joint variation of images and their masks, by albumentations or torchvision, from config."""

from __future__ import annotations

import difflib
import inspect
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from synthgen.errors import ConfigError, ShapeError, SourceError
from synthgen.imaging.images import Pixels
from synthgen.samples.seeds import seeded_torch

__all__ = [
    "AlbumentationsAugment",
    "Augment",
    "TorchvisionAugment",
    "full_scale",
]

Array = NDArray[Any]
Moved = tuple[list[Array], list[Array]]
Run = Callable[[int, list[Array], list[Array]], Moved]  # seed, images, masks
TAKES_TURNS = threading.Lock()  # a transform of albumentations keeps its random state


class Augment(Protocol):
    """Varies pictures. Same generator, same result; nothing else decides, nothing else changes.

    Images are (H, W) or (H, W, 3) RGB, uint8 or uint16, and keep their kind; masks are bool or
    uint8, (H, W) or (H, W, 3), and are moved, by nearest neighbour, but never changed otherwise.
    """

    def __call__(
        self, rng: np.random.Generator, images: Sequence[Array], masks: Sequence[Array]
    ) -> Moved:
        """Return all of them after one and the same transform. Raises as ``check``."""
        ...

    def check(self, pixels: Pixels) -> None:
        """Raise SourceError for a kind of picture that a transform cannot take, whatever is drawn.

        16 bit pictures are refused where a transform would cut them to 8 bit.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Step:
    """One transform of a config: its class, and the arguments it is made with."""

    name: str
    kind: type
    options: Mapping[str, Any]
    key: str  # where it stands, e.g. transforms[0]

    def make(self, **changes: Any) -> Any:
        """Construct it; raises ConfigError that names the argument."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # of arguments that are left unused
                return self.kind(**(dict(self.options) | changes))
        except (TypeError, ValueError, UserWarning) as error:
            cause = error.__cause__
            if not isinstance(cause, ValidationError):
                reason = " ".join(str(error).split())
                raise ConfigError(f"{self.key} ({self.name}) is not possible: {reason}") from error
            first = cause.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "?"
            reason = str(first["msg"]).removeprefix("Value error, ")
            raise ConfigError(
                f"{self.key}.{name}={self.options.get(name)!r} of {self.name} is not possible: "
                f"{reason}"
            ) from error


def _read_steps(
    transforms: Sequence[Mapping[str, Any]], module: Any, base: type, added: set[str]
) -> list[_Step]:
    """Return the transforms of a config by their names in ``module``; ``added``: further arguments.

    Raises ConfigError that names the key.
    """
    if not transforms:
        raise ConfigError("transforms is empty; name at least one, as {name: GaussNoise, p: 0.5}")
    steps = []
    for number, node in enumerate(transforms):
        key = f"transforms[{number}]"
        if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
            raise ConfigError(f"{key}={node!r} must have a name, as {{name: GaussNoise, p: 0.5}}")
        options = {str(option): value for option, value in node.items()}
        name = options.pop("name")
        kind = getattr(module, name, None)
        if not inspect.isclass(kind) or not issubclass(kind, base) or name.startswith("_"):
            classes = {n: k for n, k in vars(module).items() if inspect.isclass(k)}
            known = [n for n, k in classes.items() if issubclass(k, base)]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{key}.name={name} is not a transform of {module.__name__}{hint}")
        arguments = set(inspect.signature(kind).parameters) | added
        for option in options:
            if option not in arguments:
                raise ConfigError(
                    f"{key}.{option} is not an argument of {name}; choose from "
                    f"{', '.join(sorted(arguments - {'self'}))}"
                )
        steps.append(_Step(name, kind, options, key))
    return steps


class AlbumentationsAugment:
    """A chain of transforms of albumentations: ``[{name: GaussNoise, std_range: [0, 0.05]}, ...]``.

    Names and arguments are those of the library, checked here; raises ConfigError.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]]) -> None:
        # Else albumentations asks a server for its version as it is imported.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        try:
            import albumentations as library
        except ImportError as error:
            raise ConfigError(
                "albumentations is not installed: pip install 'synthgen-inspection[augment]'"
            ) from error
        steps = _read_steps(transforms, library, library.BasicTransform, set())
        self._chain = _AlbumentationsChain([step.make() for step in steps])
        always = {step.name: _AlbumentationsChain([step.make(p=1.0)]) for step in steps}
        self._refusals = _Refusals(always)

    def check(self, pixels: Pixels) -> None:
        """Raise SourceError for a kind of picture that one of the transforms cannot take."""
        self._refusals.check(pixels)

    def __call__(
        self, rng: np.random.Generator, images: Sequence[Array], masks: Sequence[Array]
    ) -> Moved:
        """Return images and masks after one draw of the chain; raises SourceError, ShapeError."""
        return _vary(self._chain, self._refusals, rng, images, masks)


class TorchvisionAugment:
    """A chain of transforms of torchvision v2: ``[{name: ColorJitter, brightness: 0.2}, ...]``.

    ``p``, the share of pictures that a transform is applied to, may be given for each of them.
    Names and arguments are those of the library, checked here; raises ConfigError.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]]) -> None:
        try:
            from torchvision.transforms import v2 as library
        except ImportError as error:
            raise ConfigError(
                "torchvision is not installed: pip install 'synthgen-inspection[augment]'"
            ) from error
        steps = _read_steps(transforms, library, library.Transform, {"p"})
        self._chain = _TorchvisionChain([_make_torched(library, step) for step in steps])
        always = {
            step.name: _TorchvisionChain([_make_torched(library, step, 1.0)]) for step in steps
        }
        self._refusals = _Refusals(always)

    def check(self, pixels: Pixels) -> None:
        """Raise SourceError for a kind of picture that one of the transforms cannot take."""
        self._refusals.check(pixels)

    def __call__(
        self, rng: np.random.Generator, images: Sequence[Array], masks: Sequence[Array]
    ) -> Moved:
        """Return images and masks after one draw of the chain; raises SourceError, ShapeError."""
        return _vary(self._chain, self._refusals, rng, images, masks)


def _make_torched(library: Any, step: _Step, p: float | None = None) -> Any:
    """Make a transform that happens with ``p``; most of torchvision's have no such argument."""
    if "p" in inspect.signature(step.kind).parameters:
        return step.make(**({} if p is None else {"p": p}))
    options = dict(step.options)
    own = options.pop("p", 1.0)
    made = replace(step, options=options).make()
    if not isinstance(own, int | float) or not 0 <= own <= 1:
        raise ConfigError(f"{step.key}.p={own!r} must lie between 0 and 1")
    return made if 1.0 in (p, own) else library.RandomApply([made], p=own)


@dataclass(frozen=True)
class _AlbumentationsChain:
    """Runs a chain of albumentations with random numbers of its own."""

    transforms: Sequence[Any]

    def __call__(self, seed: int, images: list[Array], masks: list[Array]) -> Moved:
        import albumentations

        pictures = {f"image{n}" if n else "image": each for n, each in enumerate(images)}
        moving = {f"mask{n}": each for n, each in enumerate(masks)}
        targets = dict.fromkeys(pictures, "image") | dict.fromkeys(moving, "mask")
        del targets["image"]
        with TAKES_TURNS:
            chain = albumentations.Compose(
                self.transforms,
                additional_targets=targets,
                mask_interpolation=cv2.INTER_NEAREST,
                seed=seed,
            )
            done = chain(**pictures, **moving)
        return [done[name] for name in pictures], [done[name] for name in moving]


@dataclass(frozen=True)
class _TorchvisionChain:
    """Runs a chain of torchvision; torch's global generator is put back as it was."""

    transforms: Sequence[Any]

    def __call__(self, seed: int, images: list[Array], masks: list[Array]) -> Moved:
        import torch
        from torchvision import tv_tensors

        def to_tensor(array: Array) -> Any:
            planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
            return torch.from_numpy(planes.copy())

        pictures: list[Array] = []
        moved: list[Array] = []
        for picture in images:  # one by one: noise would be drawn again for the second
            rest = [] if pictures else masks
            planes = [tv_tensors.Image(to_tensor(picture))]
            planes += [tv_tensors.Mask(to_tensor(mask)) for mask in rest]
            with seeded_torch(seed):
                for transform in self.transforms:
                    planes = transform(planes)
            first, *others = [
                each.numpy()[0] if array.ndim == 2 else np.moveaxis(each.numpy(), 0, 2)
                for each, array in zip(planes, [picture, *rest], strict=True)
            ]
            pictures.append(first)
            moved += others
        return pictures, moved


class _Refusals:
    """Finds out, once per kind of picture, which transforms cannot take it: it tries them all.

    What a transform is not drawn for today it is drawn for tomorrow, so ``p`` plays no role.
    """

    def __init__(self, always: Mapping[str, Run]) -> None:
        self._always = always
        self._sentences: dict[tuple[Any, int], str] = {}

    def check(self, pixels: Pixels) -> None:
        kind = (pixels.dtype, pixels.ndim)
        if kind not in self._sentences:
            bits = 8 if pixels.dtype == np.uint8 else 16
            what = f"{bits} bit {'grey' if pixels.ndim == 2 else 'colour'} pictures"
            why = (_why_refused(name, run, pixels) for name, run in self._always.items())
            first = next((reason for reason in why if reason), "")
            self._sentences[kind] = first and f"the augmentation cannot take {what}: {first}"
        if sentence := self._sentences[kind]:
            raise SourceError(sentence)


def _why_refused(name: str, run: Run, pixels: Pixels) -> str:
    """Return why a transform cannot take pictures like this one, or '' where it can."""
    is_deep = pixels.dtype != np.uint8
    ramp = np.linspace(0, 1, pixels.size, dtype=np.float32).reshape(pixels.shape)
    image = ramp if is_deep else (ramp * 255).astype(np.uint8)
    mask = np.zeros(pixels.shape[:2], np.uint8)
    try:
        (varied,), _ = run(0, [image], [mask])
    except Exception as error:  # any, as these are other people's hundred transforms
        return f"{name} fails ({' '.join(str(error).split())[:200]}); leave it out"
    if not isinstance(varied, np.ndarray) or varied.dtype != image.dtype:
        return f"{name} returns another kind of picture; leave it out"
    if varied.shape[2:] != image.shape[2:] or varied.ndim != image.ndim:
        return f"{name} changes the number of colours; leave it out"
    # A 16 bit ramp that was cut to 8 bit comes back in whole 255ths.
    steps = varied * 255
    if is_deep and np.abs(steps - np.rint(steps)).max() < 1e-3:
        return f"{name} knows 8 bit only and would cut them; leave it out, or give 8 bit pictures"
    return ""


def _vary(
    chain: Run,
    refusals: _Refusals,
    rng: np.random.Generator,
    images: Sequence[Array],
    masks: Sequence[Array],
) -> Moved:
    """Run a chain on arrays as the flow has them: 16 bit pictures as floats, bool masks as 0, 1."""
    for image in images:
        refusals.check(image)
    top = full_scale(images)
    shown = [image.copy() if top == 255 else image.astype(np.float32) / top for image in images]
    numbers = [mask.astype(np.uint8) for mask in masks]
    seed = int(rng.integers(2**32))
    try:
        varied, moved = chain(seed, shown, numbers)
    except Exception as error:  # of other people's code; a crop that is larger than the picture
        raise SourceError(f"the augmentation fails: {' '.join(str(error).split())}") from error
    if top != 255:
        varied = [np.rint(image.clip(0, 1) * top).astype(np.uint16) for image in varied]
    return (
        [np.ascontiguousarray(image) for image in varied],
        [np.ascontiguousarray(m.astype(mask.dtype)) for m, mask in zip(moved, masks, strict=True)],
    )


def full_scale(images: Sequence[Array]) -> int:
    """Return the level that a transform takes for white: 255, or the top of a 16 bit camera.

    That is 2^n - 1, the lowest that no pixel exceeds: a 12 bit camera's pictures end at 4095.

    >>> full_scale([np.array([[700, 3200]], np.uint16)])
    4095
    """
    if all(image.dtype == np.uint8 for image in images):
        return 255
    if any(image.dtype != np.uint16 for image in images):
        raise ShapeError("images that are varied together must all be uint8 or all be uint16")
    highest = max(int(image.max()) for image in images)
    return int(max(1 << highest.bit_length(), 512) - 1)
