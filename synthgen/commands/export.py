"""synthgen export: a run as datasets that other tools read."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.call import Setting, compose_call, translate_errors
from synthgen.config.objects import build, check_value, read_text, to_plain
from synthgen.exporting import write
from synthgen.exporting.gather import ExportSettings, gather, make_media
from synthgen.exporting.write import ExportResult
from synthgen.progress import show_progress

__all__ = ["export", "run_export"]


def export(
    *settings: Setting, quiet: bool = False, config_dir: Path | str | None = None
) -> ExportResult:
    """Write a finished run as datasets, as ``synthgen export`` does, and return what was written.

    ``settings``, ``quiet`` and ``config_dir`` as of ``synthgen.generate``. Raises SynthgenError
    where a setting is impossible, ``out`` exists, or the run is damaged.
    """
    with translate_errors(), show_progress(quiet):
        return run_export(compose_call("export", settings, config_dir))


def run_export(config: DictConfig) -> ExportResult:
    """Write the datasets that a whole config describes."""
    plain = dict(to_plain(config))
    nodes, run = plain.pop("format"), read_text(config, "run.folder")
    del plain["run"]
    settings = check_value(ExportSettings, plain, "")
    formats = {name: build(node, f"format.{name}", ("write",)) for name, node in nodes.items()}
    media, gathered = make_media(settings), gather(run, settings)
    return write.export(gathered.labels, formats, Path(settings.out), media, gathered.notes)
