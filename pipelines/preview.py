"""Show where defects will go and how large they will be, before a model paints.

synthgen preview run.folder=out source=folder source.path=photos/
synthgen preview run.folder=out source=folder source.path=photos/ defect=[crack] preview.count=12

The keys are those of synthgen generate, and so are the places: it paints the same defects there at
its first try. No model is loaded. The page is preview.html in run.folder: one file without network.
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from rich.console import Console

    from synthgen.commands.preview import run_preview
    from synthgen.report.preview import tabulate_sizes

    done = run_preview(config)
    console = Console()
    for sentence in done.sentences:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    console.print(tabulate_sizes(done.drawn))
    console.print(f"open  {done.page}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    run_pipeline("preview", main)
