"""``ganbench`` as a process of its own."""

import json
import subprocess
import sys

# The command line, but for the seconds in which a run measures what the hardware can do.
GANBENCH = (
    sys.executable,
    "-c",
    "from ganbench.measure.plan import make_plan; make_plan.__kwdefaults__['ceilings'] = False; "
    "from ganbench.cli import main; main()",
)
QUICK = ("--preset", "tiny", "--rounds", "1")


def cli(*arguments, env=None, cwd=None):
    """Run ``ganbench``; return the finished process."""
    return subprocess.run(
        [*GANBENCH, *arguments],
        capture_output=True,
        text=True,
        env=env,
        cwd=cwd,
        timeout=200,
    )


def compared(tmp_path, *arguments, env=None, code=0):
    """Run ``ganbench compare --format json``; return its rows by (operation, target)."""
    done = cli("compare", *QUICK, "--results", str(tmp_path), "--format", "json", *arguments, env=env)
    assert done.returncode == code, done.stderr
    return {(row["operation"], row["target"]): row for row in json.loads(done.stdout)}
