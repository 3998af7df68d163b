"""``python -m synthgen`` is ``synthgen``."""

from synthgen.cli import main

main()
