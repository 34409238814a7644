"""Other Pythons that targets run in: a framework may be at home where ganbench is not."""

import functools
import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import version

from ..errors import UnavailableError, UsageError
from ..launch import ROOT, program
from . import look

PATIENCE_S = 60.0
EXAMPLE = "such as jax=/opt/jax/bin/python or torch@cuda=/opt/torch/bin/python"


def parse(texts: Sequence[str]) -> dict[str, str]:
    """Return which Python each ``BACKEND`` or ``BACKEND@DEVICE`` is to run in; raises ``UsageError``."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, python = (part.strip() for part in text.partition("="))
        if not (key and equals and python):
            raise UsageError(f"python '{text}' is not valid: BACKEND=PYTHON or BACKEND@DEVICE=PYTHON, {EXAMPLE}")
        if "." in key.partition("@")[0]:
            raise UsageError(f"python '{text}' is not valid: all modes of a backend run in one Python, {EXAMPLE}")
        if found.setdefault(key, python) != python:
            raise UsageError(f"two Pythons for {key}: {found[key]} and {python}")
    return found


def check_python(python: str) -> None:
    """Raise ``UsageError`` if there is no such program, but for '', the Python that runs ganbench."""
    if python and shutil.which(program(python)) is None:
        raise UsageError(f"no Python at '{python}': --python names a program, {EXAMPLE}")


@functools.cache
def require(python: str) -> str:
    """Return the version of a Python that can run workers; raises ``UnavailableError`` saying what it lacks."""
    try:
        command = [program(python), look.__file__]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S)
        said = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise UnavailableError(f"{python} does not work as a Python: {type(error).__name__}: {error}") from error
    if tuple(map(int, said["python"].split(".")[:2])) < look.OLDEST:
        raise UnavailableError(f"{python} is Python {said['python']}: ganbench needs {'.'.join(map(str, look.OLDEST))}")
    ours, editable = version("ganbench"), (ROOT / "pyproject.toml").exists()
    needs = list(said["lacks"])
    if not said["version"]:
        reason = f"lacks {', '.join(['ganbench', *needs])}"
    elif needs:
        reason = f"lacks {', '.join(needs)}"
    elif said["code"] != look.code_of():
        reason = f"has a ganbench ({said['version']}) whose code differs from this one ({ours})"
    else:
        return str(said["python"])
    source = ["--editable", str(ROOT)] if editable else [f"ganbench=={ours}"]
    install = shlex.join([python, "-m", "pip", "install", "--no-deps", *source, *needs])
    raise UnavailableError(f"{python} {reason}: {install}")
