"""Virtual environments, made without pip in a moment."""

import sys
import sysconfig
import venv
from pathlib import Path


def made(folder):
    """Return the Python of a new virtual environment, and where its packages lie."""
    venv.create(folder, with_pip=False)
    paths = {name: sysconfig.get_path(name, "venv", {"base": str(folder)}) for name in ("scripts", "purelib")}
    return Path(paths["scripts"], Path(sys.executable).name), Path(paths["purelib"])
