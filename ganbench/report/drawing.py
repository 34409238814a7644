"""What every page is drawn with: its charts, and Vega, which draws them in a browser.

Both take seconds to make, and are then kept. A further process makes them while the results are read.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version

from ..errors import require
from ..launch import command, die_with
from ..results.row_cache import code_hash
from ..results.store import cache_folder, kept_text


def charts() -> str:
    """Return how each chart is drawn, without its rows, as JSON."""
    return kept_text(_charts(), _make_charts)


def vega() -> str:
    """Return the script that draws them."""
    import vl_convert

    return kept_text(_vega(), vl_convert.javascript_bundle)


def _charts() -> str:
    return f"charts-{version('altair')}-{code_hash().hexdigest()[:16]}.json"


def _vega() -> str:
    return f"vega-{version('vl-convert-python')}.js"


def _make_charts() -> str:
    from .charts import AS, BY_NAME

    return json.dumps(
        {"charts": {name: draw({"name": "rows"}).to_dict() for name, draw in BY_NAME.items()}, "decided": AS}
    )


def check() -> None:
    """Raise ``UnavailableError`` without the ``report`` extra."""
    require("report", "the page", "jinja2", "vl_convert", "altair")


def nothing() -> None:
    """Where nothing is begun, there is nothing to wait for."""


@contextlib.contextmanager
def begun() -> Iterator[Callable[[], object]]:
    """Inside this context a further process makes what is not kept; yield what waits for it.

    Raises ``UnavailableError`` as ``check`` does.
    """
    check()
    with contextlib.ExitStack() as ending:
        wait: Callable[[], object] = nothing
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody's home is known
            if not all((cache_folder() / name).exists() for name in (_charts(), _vega())):
                line, silent = command(__name__, str(os.getpid())), subprocess.DEVNULL
                process = ending.enter_context(subprocess.Popen(line, stdin=silent, stdout=silent, stderr=silent))
                ending.callback(process.kill)
                wait = process.wait
        yield wait


def main() -> None:
    """Make both for the process that began this one."""
    die_with(int(sys.argv[1]))
    vega()
    charts()


if __name__ == "__main__":
    main()
