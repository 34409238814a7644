"""What a Python has of what workers need. It is run there by its file, since ganbench itself may be missing."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys

CORE = ("msgspec", "numpy", "psutil", "threadpoolctl")  # all that a worker imports beside its framework
OLDEST = (3, 11)


def look() -> "dict[str, object]":
    """Return the version of Python, what of ``CORE`` it lacks, and which ganbench it has, if any."""
    lacks = [name for name in CORE if importlib.util.find_spec(name) is None]
    try:
        version = importlib.metadata.version("ganbench")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    code = code_of() if version and not lacks and sys.version_info >= OLDEST else ""
    return {"python": platform.python_version(), "lacks": lacks, "version": version, "code": code}


def code_of() -> str:
    """Return a hash of the code of this interpreter's ganbench."""
    hasher = hashlib.sha256()
    for package in ("ganbench", "ganbench.backends"):
        found = importlib.util.find_spec(package)
        folder = os.path.dirname((found and found.origin) or "")  # noqa: PTH120 (this runs on any Python)
        for place, _, files in sorted(os.walk(folder)) if folder else ():
            for name in sorted(name for name in files if name.endswith(".py")):
                path = os.path.join(place, name)  # noqa: PTH118
                with open(path, "rb") as file:  # noqa: PTH123
                    hasher.update(os.path.relpath(path, folder).encode() + hashlib.sha256(file.read()).digest())
    return hasher.hexdigest()[:16]


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # the folder of this file
    print(json.dumps(look()))
