"""What a review is asked for."""

from __future__ import annotations

import getpass
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

__all__ = ["ReviewSettings"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class ReviewSettings:
    """The ``review`` part of the config.

    ``name``: of the dataset in FiftyOne; None = after the run folder. ``reviewer``: whose verdicts
    they are; None = the login's name. ``cache``: where copies go of what the App cannot show where
    it lies. ``overrules``: the verdicts pulled now count more than what others said.
    """

    name: str | None = None
    reviewer: str | None = None
    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 5151
    browser: bool = True
    overrules: bool = False
    cache: str = "~/.cache/synthgen/review"

    @property
    def who(self) -> str:
        """The reviewer's name."""
        return self.reviewer or getpass.getuser()
