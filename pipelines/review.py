"""Look through a run in FiftyOne: accept, reject, relabel; take it home at the end.

synthgen review run.folder=out
synthgen review run.folder=out review.reviewer=ann review.port=6001

Shows the run at http://127.0.0.1:5151 until Ctrl-C, then takes verdicts and changed labels home;
synthgen generate then paints the rejected ones again. Needs pip install
'synthgen-inspection[review]'.
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.config.objects import check_value, read_text, to_plain
    from synthgen.review.pull import pull
    from synthgen.review.push import push
    from synthgen.review.service.server import serve, wait
    from synthgen.review.settings import ReviewSettings
    from synthgen.review.summary import tell_address, tell_pulled, tell_pushed

    folder = read_text(config, "run.folder")
    settings = check_value(ReviewSettings, to_plain(config)["review"], "review")
    pushed = push(folder, settings)
    tell_pushed(pushed)
    with serve(pushed.dataset, settings) as address:
        tell_address(address, settings)
        wait()
    tell_pulled(folder, pull(folder, settings))


if __name__ == "__main__":
    run_pipeline("review", main)
