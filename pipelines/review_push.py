"""Put a run, finished or not, into FiftyOne's database; only what is new or changed.

synthgen review push run.folder=out
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.config.objects import check_value, read_text, to_plain
    from synthgen.review.push import push
    from synthgen.review.settings import ReviewSettings
    from synthgen.review.summary import tell_pushed

    settings = check_value(ReviewSettings, to_plain(config)["review"], "review")
    tell_pushed(push(read_text(config, "run.folder"), settings))


if __name__ == "__main__":
    run_pipeline("review_push", main)
