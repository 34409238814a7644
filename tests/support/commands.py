"""``ganbench`` as a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

from msgspec.structs import replace
from patience import LIMIT_S

from ganbench.measure.plan import RIGORS, make_plan


def hurry(ceilings=False):
    """Have runs of this process make the fewest visits, and measure nothing of what the hardware can do."""
    make_plan.__kwdefaults__["ceilings"] = ceilings
    RIGORS["quick"] = replace(RIGORS["quick"], case_s=0.01)


def hurried(ceilings=False):
    """Return the command ``ganbench`` that hurries so."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import commands; "
        f"commands.hurry({ceilings}); from ganbench.cli import main; main()"
    )
    return sys.executable, "-c", code


GANBENCH = hurried()
QUICK = ("--preset", "tiny", "--rounds", "1")


def cli(*arguments, env=None, cwd=None):
    """Run ``ganbench``; return the finished process."""
    return subprocess.run(
        [*GANBENCH, *arguments],
        capture_output=True,
        text=True,
        env=env,
        cwd=cwd,
        timeout=LIMIT_S,
    )


def compared(tmp_path, *arguments, env=None, code=0):
    """Run ``ganbench compare --format json``; return its rows by (operation, target)."""
    quick = QUICK[2:] if "--model" in arguments else QUICK
    done = cli("compare", *quick, "--results", str(tmp_path), "--format", "json", *arguments, env=env)
    assert done.returncode == code, done.stderr
    return {(row["operation"], row["target"]): row for row in json.loads(done.stdout)}


def shown(out):
    """Return the option, value and origin of each line of --show-config."""
    head, *lines = out.splitlines()
    starts = [head.index(word) for word in ("option", "value", "from")]
    cut = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in lines]
    return {option: (value, origin) for option, value, origin in cut}
