"""How a command ends that cannot go on: what has happened in a line, and the exit code. The one place for it."""

import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..errors import GanbenchError, UsageError
from .terminal import discard_output, say


@contextmanager
def failures_leave(code: int = 1) -> Iterator[None]:
    """Leave with ``code`` where what is inside fails, unless by a wrong request (2) or an interrupt (130)."""
    try:
        yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except GanbenchError as error:
        say(str(error))
        sys.exit(2 if isinstance(error, UsageError) else code)
    except BrokenPipeError:  # whoever read the output has closed it
        discard_output()
        sys.exit(code)
    except OSError as error:  # such as a full disk behind stdout, or no folder for temporary files
        discard_output()
        where = f"{error.filename}: " if error.filename is not None else ""
        say(f"cannot go on: {where}{error.strerror or error}")
        sys.exit(code)
    except MemoryError as error:
        say(f"cannot go on: there is not enough memory: {error}".removesuffix(": "))
        sys.exit(code)
    except Exception as error:
        if hidden := _hidden():
            say(f"cannot go on: {hidden}; rename it, or take its folder out of PYTHONPATH ({error})")
            sys.exit(2)
        say(f"cannot go on, because of a bug in ganbench: {type(error).__name__}: {error}")
        say(f"please report it and attach {_traceback_of(error)}")
        sys.exit(code)


def _hidden() -> str:
    """Say which file has taken the place of one of Python's own modules, or ''."""
    own = sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["platstdlib"]
    for name in sys.modules.keys() & sys.stdlib_module_names:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and not file.startswith(own):
            return f"{file} takes the place of Python's own module '{name}'"
    return ""


def _traceback_of(error: Exception) -> str:
    """Write how an error came about into a file, and return where that is; or all of it, where that fails, too."""
    trace = "".join(traceback.format_exception(error))
    try:
        import tempfile
        from importlib.metadata import version

        about = f"ganbench {version('ganbench')}, Python {sys.version}, {sys.platform}\n{sys.argv}\n{trace}"
        with tempfile.NamedTemporaryFile("wb", prefix="ganbench-fault-", suffix=".txt", delete=False) as file:
            file.write(about.encode("utf-8", "backslashreplace"))
    except Exception:
        return f"this:\n{trace}"
    return f"the file {file.name}"
