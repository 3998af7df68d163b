"""What the command line says of a review."""

from __future__ import annotations

import sys

from rich import print as show
from rich.markup import escape

from synthgen.review.pull import PullResult
from synthgen.review.push import PushResult
from synthgen.review.service.server import warn_of_address
from synthgen.review.settings import ReviewSettings
from synthgen.samples.sample import ACCEPT, REJECT

__all__ = ["tell_address", "tell_pulled", "tell_pushed"]

MAX_CONFLICTS = 20  # told one by one


def tell_pushed(pushed: PushResult) -> None:
    """Say what FiftyOne shows now: how many samples and real defects, and how many are new."""
    real = f" and {pushed.real} real defects" if pushed.real else ""
    show(f"{pushed.total} samples{real} in FiftyOne as {escape(pushed.dataset)}, {pushed.new} new")


def tell_address(address: str, settings: ReviewSettings) -> None:
    """Say where the App is, who speaks, how to end; warn of an address that others reach."""
    if warning := warn_of_address(settings.address):
        print(f"synthgen: warning: {warning}", file=sys.stderr)
    show(f"open    {address}")
    show(f"as      {escape(settings.who)}; Ctrl-C ends the review and takes the verdicts home")


def tell_pulled(folder: str, pulled: PullResult) -> None:
    """Say what came home, what is judged now, and what comes next.

    The first ``MAX_CONFLICTS`` samples that reviewers disagree on are named.
    """
    show(
        f"{pulled.verdicts} verdicts and {pulled.edits} changed labels are new in {escape(folder)}"
    )
    rejected, conflicts = pulled.count(REJECT), pulled.conflicts
    show(f"{pulled.count(ACCEPT)} accepted, {rejected} rejected, {len(conflicts)} in conflict")
    for line in conflicts[:MAX_CONFLICTS]:
        show(f"conflict  {escape(line)}")
    if len(conflicts) > MAX_CONFLICTS:
        show(f"... and {len(conflicts) - MAX_CONFLICTS} more; the view conflicts has them all")
    if rejected:
        show("the same synthgen generate command paints the rejected ones again")
