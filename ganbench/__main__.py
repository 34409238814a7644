"""``python -m ganbench``: the command line, as ``python -m ganbench.cli``."""

from .cli import __main__ as __main__
