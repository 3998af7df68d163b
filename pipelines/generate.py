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
    from contextlib import closing
    from functools import partial

    from synthgen.config.build import RunWorker, collect_facts, make_worker, set_up
    from synthgen.config.defaults import find_default
    from synthgen.config.environment import to_stored
    from synthgen.config.objects import build, read_text, to_plain
    from synthgen.generation.generate import batched
    from synthgen.generation.stop import Stop
    from synthgen.report import write_report
    from synthgen.runs.folder import open_run
    from synthgen.runs.lock import hold_run
    from synthgen.runs.progress import RunProgress, summarise
    from synthgen.runs.reviews.revisions import find_work
    from synthgen.sources import SourceIndex

    executor = build(config.executor, "executor", ("run",))
    job, plain = set_up(config), to_plain(config)
    folder = read_text(config, "run.folder")
    with hold_run(folder) as lease, Stop() as stop:
        known = partial(find_default, plain)
        run = open_run(folder, to_stored(config), job.specs, collect_facts(job), known)
        work, total = find_work(run, job.specs, job.is_varied), len(job.specs)
        batches = stop.until(batched(work.specs, job.batch_size))
        notes = [*job.notes, *work.notes]
        with RunProgress(total, total - len(work.specs), job.skipped, notes) as progress:
            here = RunWorker(config, folder, job.parts)
            elsewhere = partial(make_worker, plain, folder, SourceIndex(job.parts.sources))
            with closing(executor.run(batches, here, elsewhere)) as made:
                for number, statuses in enumerate(made, start=1):
                    progress.add(statuses)
                    lease.check()
                    if number % 200 == 0:
                        run.compact()
        run.remove_leftovers()
        stop.check()
        manifest = run.merge()
        summarise(run.root, manifest, write_report(run.root), progress.seconds)


if __name__ == "__main__":
    run_pipeline("generate", main)
