"""``python -m ganbench``: the command line where the script is not installed."""

from .cli import main

main()
