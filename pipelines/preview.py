"""Show where defects will go and how large they will be, before a model paints.

synthgen preview run.folder=out source=folder source.path=photos/
synthgen preview run.folder=out source=folder source.path=photos/ defect=[crack] preview.count=12

The keys are those of synthgen generate, and so are the places: it paints the same defects there at
its first try. No model is loaded. The page is preview.html in run.folder: one file without network.
"""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from synthgen.commands.cli import run_pipeline

NO_MODEL = {  # the sketch is the image, and no control image needs weights
    "backend": {"_target_": "synthgen.backends.backend.SketchBackend"},
    "control": {"mask": {"_target_": "synthgen.conditioning.control.dense.MaskControl"}},
}


def main(config: DictConfig) -> None:
    from rich.console import Console

    from synthgen.config.build import read_mode, set_up
    from synthgen.config.objects import check_keys, check_value, read_text, to_plain
    from synthgen.errors import ConfigError
    from synthgen.report.preview import PreviewSettings, draw_preview, tabulate_sizes, write_preview

    plain = to_plain(config)
    settings = check_value(PreviewSettings, plain["preview"], "preview")
    if read_mode(plain) == "vary":
        raise ConfigError("mode=vary draws no defects; preview a run with mode=defects")
    for name in ("backend", "executor"):  # which are not made, as the control images
        check_keys(plain[name], name)
    for name, node in (plain["control"] or {}).items():
        check_keys(node, f"control.{name}")
    job = set_up(OmegaConf.create({**plain, **NO_MODEL}))
    preview = draw_preview(
        job.specs, job.parts.stages.condition, settings.count, job.notes, job.skipped
    )
    page = write_preview(read_text(config, "run.folder"), preview)
    console = Console()
    for sentence in preview.sentences:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    console.print(tabulate_sizes(preview))
    console.print(f"open  {page}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    run_pipeline("preview", main)
