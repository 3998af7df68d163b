"""Make one image of a run again, from its row, and compare."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from synthgen.config.build import build_parts
from synthgen.config.foreign import check_buildable
from synthgen.errors import ConfigError, RunError
from synthgen.generation.generate import generate
from synthgen.imaging.images import IGNORED, read_image, to_rgb8
from synthgen.progress import stage
from synthgen.runs.manifest import file_stem
from synthgen.runs.planned import read_spec
from synthgen.runs.reader import read_run
from synthgen.samples.sample import Sample
from synthgen.samples.seeds import revise

__all__ = ["Reproduction", "reproduce"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reproduction:
    """A sample made again, beside what the run holds. Images (H, W, 3) uint8, 8-bit views.

    ``worst_levels``: the largest difference of any pixel, in grey levels of the file's own depth;
    1 may come from another batch size or thread count. ``other_label_px``: pixels whose class
    differs, those that the run ignores left out.
    """

    sample_id: str
    worst_levels: int
    other_label_px: int
    before: NDArray[np.uint8]
    now: NDArray[np.uint8]

    @property
    def is_equal(self) -> bool:
        """Whether no pixel is off by more than one grey level, and all labels are the same."""
        return self.worst_levels <= 1 and self.other_label_px == 0


def reproduce(run_folder: str, sample_id: str, allow: Collection[str] = ()) -> Reproduction:
    """Make the sample again by the run's own config, with all its tries.

    The run may be anybody's: nothing is built but what ships with synthgen and what ``allow`` names
    (``module.Class``, ``module:function``), and nothing is downloaded. Raises RunError where the
    config names other code, there is no such sample, it came to no image, or the checkpoint is
    another one than the run's.
    """
    run = read_run(run_folder)
    rows = run.manifest[run.manifest["sample_id"] == sample_id]
    if rows.empty:
        raise RunError(
            f"sample_id: {run_folder} has no sample {sample_id!r}; it has {len(run.manifest)}"
            f"{''.join(f', e.g. {name!r}' for name in run.manifest['sample_id'][:1])}"
        )
    row = rows.iloc[0]
    if not row["image"]:
        raise RunError(f"{sample_id} came to no image: {row['reasons']}")
    check_buildable(run.record.get("config"), allow, str(run.root))
    config = _stay_offline(run.record["config"])
    try:
        parts = build_parts(OmegaConf.create(config))
    except ConfigError as error:
        raise RunError(f"{run.root}/run.yaml: {error}") from error
    if row["checkpoint"] and parts.info.checkpoint != row["checkpoint"]:
        raise RunError(
            f"{sample_id} was painted by {row['checkpoint']}, here is {parts.info.checkpoint}"
        )
    spec = revise(read_spec(run.storage, sample_id), int(row["revision"]))
    with stage(f"painting {sample_id} again"):
        outcome = next(generate([spec], parts.stages))
    if not isinstance(outcome, Sample):
        raise RunError(f"{sample_id} comes to no image now: {outcome.reason}")
    before, now = read_image(run.stored(row["image"])), outcome.candidate.pixels
    if before.shape != now.shape or before.dtype != now.dtype:
        raise RunError(f"the source of {sample_id} is not what it was: {row['source_path']}")
    painted = f"masks/{file_stem(sample_id, spec.revision)}.png"  # no label that people drew
    kept = read_image(run.stored(painted))
    if kept.shape != now.shape[:2]:
        raise RunError(f"{run.stored(painted)} is {kept.shape} px but its image {now.shape[:2]}")
    window = outcome.candidate.condition.source.window
    return Reproduction(
        sample_id=sample_id,
        worst_levels=int(np.abs(before.astype(np.int64) - now).max()),
        other_label_px=int(((kept != outcome.class_map()) & (kept != IGNORED)).sum()),
        before=to_rgb8(before, window),
        now=outcome.candidate.image,
    )


def _stay_offline(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config that takes its checkpoint from this disk alone."""
    backend = config.get("backend")
    model = backend.get("model") if isinstance(backend, Mapping) else None
    if not isinstance(backend, Mapping) or not isinstance(model, Mapping):
        return dict(config)
    if "offline" not in model:
        return dict(config)
    return {**config, "backend": {**backend, "model": {**model, "offline": True}}}
