"""Teach a backend your own defects, from a few real ones with masks.

synthgen adapt out=adapters/mine real.path=photos real.masks=masks real.defect_class=scratch
synthgen adapt out=adapters/mine real.format=table real.path=parts.csv real.split=train \
  'adapt.words={blowhole: pit}'

Then: synthgen generate backend.model.adapter=adapters/mine. Takes minutes on a CPU; the same
command again continues. Look at held_back.png in the folder.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from rich import print as show

    from synthgen.backends.diffusion.backend import need_diffusion
    from synthgen.config.objects import build, check_value, read_text, to_plain
    from synthgen.realdata.read import load_real
    from synthgen.training.adaptation.adapt import AdaptProgress, AdaptSettings, adapt_backend

    plain = to_plain(config)
    folder = Path(read_text(config, "out"))
    settings = check_value(AdaptSettings, plain["adapt"], "adapt")
    real, backend = (
        load_real(plain["real"]),
        need_diffusion(build(config.backend, "backend", ("paint", "describe")), "adapt"),
    )
    for note in real.notes:
        show(f"note: {note}")

    def report(at: AdaptProgress) -> None:
        show(
            f"step {at.step}/{settings.steps}  loss {at.loss:.4f}  held back {at.held_back:.4f}, "
            f"best {at.best:.4f}  {at.seconds_left / 60:.1f} min left at most"
        )

    done = adapt_backend(real.images, backend, settings, folder, report)
    step, _, loss = done.best
    show(
        f"the adapter is in {folder} (step {step}, loss on held-back defects {loss:.4f}, before "
        f"{done.curve[0][2]:.4f}); look at {folder / 'held_back.png'}, then generate with "
        f"backend.model.adapter={folder}"
    )
    for warning in done.warnings:
        show(f"warning: {warning}")


if __name__ == "__main__":
    run_pipeline("adapt", main)
