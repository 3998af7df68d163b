"""Teach a backend your own defects, from a few real ones with masks.

synthgen adapt out=adapters/mine real.path=photos real.masks=masks real.defect_class=scratch
synthgen adapt out=adapters/mine real.format=table real.path=parts.csv real.split=train \
  'adapt.words={blowhole: pit}'

Then: synthgen generate experiment=adapters/mine source=folder source.path=good. Takes minutes on a
CPU; the same command again continues. Look at held_back.png in the folder, and at bank/bank.html.
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:

    from synthgen.commands.adapt import run_adapt

    done = run_adapt(config)
    show(
        f"the adapter is in {done.folder} (step {done.step}, loss on held-back defects "
        f"{done.loss:.4f}, before {done.loss_before:.4f}); look at {done.sheet}"
    )
    show(
        f"how to paint is in {done.recipe}: {done.reason}",
        f"look at {done.bank}, then: synthgen generate experiment={done.folder} "
        "source=folder source.path=... run.folder=...",
    )
    for warning in done.warnings:
        show(f"warning: {warning}")


if __name__ == "__main__":
    run_pipeline("adapt", main)
