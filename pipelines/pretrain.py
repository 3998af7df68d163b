"""Make the embedded model from nothing (hours on a CPU).

synthgen pretrain pretrain.folder=runs/pretrain pretrain.steps=12000
torchrun --nproc_per_node 2 -m synthgen pretrain pretrain.folder=runs/pretrain

torchrun shares a training out over GPUs, or over CPU cores with ACCELERATE_USE_CPU=true
OMP_NUM_THREADS=1 before it. The same command again continues. Look at
samples/ and log.csv in the folder meanwhile.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:

    from synthgen.config.objects import check_value, read_text, to_plain
    from synthgen.training.pretrain import PretrainSettings, pretrain

    options = dict(to_plain(config)["pretrain"])
    folder = Path(read_text(config, "pretrain.folder"))
    del options["folder"]
    settings = check_value(PretrainSettings, options, "pretrain")

    show(f"the model is in {pretrain(settings, folder)}; pictures in {folder / 'samples'}")


if __name__ == "__main__":
    run_pipeline("pretrain", main)
