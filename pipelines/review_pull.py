"""Take verdicts and changed labels from FiftyOne into the run folder.

synthgen review pull run.folder=out
synthgen review pull run.folder=out review.overrules=true
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.config.objects import check_value, read_text, to_plain
    from synthgen.review.pull import pull
    from synthgen.review.settings import ReviewSettings
    from synthgen.review.summary import tell_pulled

    settings = check_value(ReviewSettings, to_plain(config)["review"], "review")
    folder = read_text(config, "run.folder")
    tell_pulled(folder, pull(folder, settings))


if __name__ == "__main__":
    run_pipeline("review_pull", main)
