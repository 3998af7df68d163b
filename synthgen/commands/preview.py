"""synthgen preview: where defects will go and how large they will be, before a model paints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from synthgen.commands.call import Setting, compose_call, translate_errors
from synthgen.commands.notebook import show_preview
from synthgen.config.build import read_mode, set_up
from synthgen.config.objects import check_keys, check_value, read_text, to_plain
from synthgen.errors import ConfigError
from synthgen.progress import show_progress
from synthgen.report.preview import Preview, PreviewSettings, draw_preview, write_preview
from synthgen.runs.folder import check_run_folder
from synthgen.storage.places import StoredFile

__all__ = ["PreviewResult", "preview", "run_preview"]

NO_MODEL = {  # the sketch is the image, and no control image needs weights
    "backend": {"_target_": "synthgen.backends.backend.SketchBackend"},
    "control": {"mask": {"_target_": "synthgen.conditioning.control.dense.MaskControl"}},
}


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class PreviewResult:
    """Where defects will go. ``page``: preview.html. ``drawn``: what it says, with its pictures.

    In a notebook it shows the photos with the part and the defects outlined.
    """

    page: StoredFile
    drawn: Preview

    @property
    def sentences(self) -> list[str]:
        """What a person must know before painting, the most important first."""
        return self.drawn.sentences

    def __repr__(self) -> str:
        return f"<Preview {self.page}: {len(self.drawn.tiles)} of {self.drawn.planned} defects>"

    def _repr_html_(self) -> str:
        return show_preview(self.drawn)


def preview(
    *settings: Setting, quiet: bool = False, config_dir: Path | str | None = None
) -> PreviewResult:
    """Draw where defects will go, as ``synthgen preview`` does, without a model.

    ``settings``, ``quiet`` and ``config_dir`` as of ``synthgen.generate``, which paints the same
    defects at the same places. Raises SynthgenError.
    """
    with translate_errors(), show_progress(quiet):
        return run_preview(compose_call("preview", settings, config_dir))


def run_preview(config: DictConfig) -> PreviewResult:
    """Write the preview that a whole config describes."""
    plain = to_plain(config)
    settings = check_value(PreviewSettings, plain["preview"], "preview")
    if read_mode(plain) == "vary":
        raise ConfigError("mode=vary draws no defects; preview a run with mode=defects")
    folder = read_text(config, "run.folder")
    check_run_folder(folder)  # before the photos are looked at, which may take minutes
    for name in ("backend", "executor"):  # which are not made, as the control images
        check_keys(plain[name], name)
    for name, node in (plain["control"] or {}).items():
        check_keys(node, f"control.{name}")
    job = set_up(OmegaConf.create({**plain, **NO_MODEL}))
    drawn = draw_preview(
        job.specs, job.parts.stages.condition, settings.count, job.notes, job.skipped
    )
    return PreviewResult(page=write_preview(folder, drawn), drawn=drawn)
