"""Generate labelled defect images from good ones.

synthgen generate run.folder=out run.count=200
synthgen generate run.folder=out source=folder source.path=photos/ defect=[scratch,crack] seed=7
synthgen generate -m seed=1,2,3 'run.folder=out/seed-${seed}'
synthgen generate debug=smoke run.folder=/tmp/smoke

The same command again continues a run that was stopped, and makes again what people rejected in a
review. Every key: synthgen generate --cfg job
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.commands.generate import run_generate
    from synthgen.runs.progress import summarise

    run = run_generate(config)
    summarise(run.root, run.manifest, run.report, run.duration_s)


if __name__ == "__main__":
    run_pipeline("generate", main)
