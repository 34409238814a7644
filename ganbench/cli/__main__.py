"""``python -m ganbench.cli``: the command line where the script is not installed."""

import sys
from pathlib import Path

if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[2]:
    # It is the current folder: see ``ganbench.machine.processes``.
    del sys.path[0]

from . import main

main()
