"""The command that runs a module of this ganbench in a new process, whatever the current folder is."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the folder of the package
# With -P nothing is imported from the current folder, where a user's random.py would replace Python's. ROOT is added
# only if another ganbench, or none, would be found: at the front of sys.path it might hide Python's own modules.
START = """
import importlib.util, os, runpy, sys
root, module = sys.argv[1:3]
del sys.argv[1:3]
found = importlib.util.find_spec("ganbench")
if found is None or os.path.realpath(found.origin or "") != os.path.join(root, "ganbench", "__init__.py"):
    sys.path.insert(0, root)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs ``module`` of this ganbench."""
    return [sys.executable, "-P", "-c", START, str(ROOT), module, *arguments]
