"""``python -m synthgen`` is ``synthgen``."""

from synthgen.commands.cli import main

main()
