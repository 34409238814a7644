"""The studies as scripts, and made-up rounds for their verdicts."""

import functools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "benchmarks" / "studies"
NAMES = (
    "aa_verdicts", "interval_coverage", "repeatability", "sensitivity", "loop_overhead", "torch_timer",
)  # fmt: skip
UNPICTURED = ("gate_cost", "large_report", "limit", "recurrence")


# As ``python STUDY.py ...``, but a run that it makes has the fewest visits, and no ceilings that nobody asked for.
HURRIED = (
    "import runpy, sys; del sys.argv[0]; "
    f"sys.path[:1] = [{str(STUDIES)!r}, {str(Path(__file__).parent)!r}]; "
    "import commands; commands.hurry(); runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run(name, *arguments, cwd):
    command = [sys.executable, "-c", HURRIED, str(STUDIES / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def rounds(rng, copies=7, n=6, sigma=0.02, shift=0.0):
    """Rounds of six visits each, of copies in an A/A run, the last of them slower by ``shift``."""
    names = ["baseline", "control", *(f"numpy_{letter}" for letter in "abcdefgh")][:copies]
    drawn = {name: np.exp(sigma * 6**0.5 * rng.standard_normal((n, 6))) for name in names}
    drawn[names[-1]] *= math.exp(shift)
    return {name: [dict(enumerate(visits)) for visits in drawn[name].tolist()] for name in names}


def aa_runs(runs=10, shift=0.0, **settings):
    rng = np.random.default_rng(3)
    operations = ("matmul", "matmul_grad", "batch_norm", "adam_step", "gan_iteration")
    return [
        {
            "type": "piece",
            "framework": "numpy",
            "visits": {name: rounds(rng, shift=shift, **settings) for name in operations},
        }
        for _ in range(runs)
    ]


@functools.cache
def short(name, folder):
    """Run a study in its short mode, once; return the finished process and the file it should have left."""
    path = folder / name / f"{name}.jsonl"
    path.parent.mkdir()
    return run(name, "--short", "--output", path, cwd=path.parent), path


def repeated(rng, sigma, between=0.0, runs=20, n=20):
    pieces, still = [], [{0: 1.0}] * n
    for _ in range(runs):
        target = np.exp(sigma * rng.standard_normal(n) + between * rng.standard_normal())
        pieces.append(
            {
                "visits": {"matmul": {"baseline": still, "control": still, "torch": [{0: t} for t in target]}},
                "seconds": 100,
            }
        )
    return pieces
