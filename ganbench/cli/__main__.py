"""``python -m ganbench.cli``: the same as ``python -m ganbench``."""

from . import main

main()
