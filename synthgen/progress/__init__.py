"""What a person sees while a command works: its stages, how far they are, and the time left.

Any room names its stages with ``stage`` and ``track``, and says a sentence with ``tell``. A command
is wrapped in ``show_progress``, which shows them on stderr: bars on a terminal, a text that changes
in a notebook, and elsewhere a line when a stage begins and then at most one a minute. Outside of
``show_progress``, and in other processes, nothing is shown.
"""

from __future__ import annotations

from synthgen.progress.show import show_progress, stage, tell, track

__all__ = ["show_progress", "stage", "tell", "track"]
