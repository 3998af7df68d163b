"""Generate labelled defect images from good ones.

synthgen generate run.folder=out run.count=200
synthgen generate run.folder=out source=folder source.path=photos/ defect=[scratch,crack] seed=7
synthgen generate -m seed=1,2,3 'run.folder=out/seed-${seed}'
synthgen generate debug=smoke run.folder=/tmp/smoke

The same command again continues a run that was stopped. Every key: synthgen generate --cfg job
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.config import to_plain
    from synthgen.generate import batched, generate
    from synthgen.report import write_report
    from synthgen.runs.folder import open_run
    from synthgen.runs.progress import RunProgress, summarise
    from synthgen.setup import collect_facts, set_up

    job = set_up(config)
    run = open_run(Path(config.run.folder), to_plain(config), job.specs, collect_facts(job))
    done = run.finished()
    specs = [spec for spec in job.specs if spec.sample_id not in done]
    with RunProgress(total=len(job.specs), done=len(done), skipped=job.skipped) as progress:
        for batch in batched(generate(specs, job.stages), job.stages.batch_size):
            run.write(batch, job.backend.name, job.backend.checkpoint)
            progress.add(batch)
    manifest = run.merge()
    summarise(run.root, manifest, write_report(run.root), progress.seconds)


if __name__ == "__main__":
    run_pipeline("generate", main)
