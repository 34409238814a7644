"""``python -m ganbench.cli``: the command line where the script is not installed."""

import sys
from pathlib import Path

from ..machine.launch import ROOT

if not sys.flags.safe_path and Path(sys.path[0]).resolve() != ROOT:  # the current folder: see ``launch``
    del sys.path[0]

from . import main

main()
