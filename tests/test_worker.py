"""What a worker does before its first operation: what it loads, and what it counts as the framework's import."""

import os
import subprocess
import sys

from ganbench import registry
from ganbench.gan import preset
from ganbench.measure import worker
from ganbench.measure.protocol import Job

HEAVY = ("numpy", "pandas", "torch", "jax", "scipy")


def test_a_worker_loads_nothing_heavy_before_its_clock_runs():
    code = f"import sys, ganbench.measure.worker; print(*[name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_the_search_for_plugins_is_not_part_of_an_import(monkeypatch):
    now, load = [0.0], registry.load

    def slow_search(name):
        now[0] += 1000
        return load(name)

    monkeypatch.setattr(worker.registry, "load", slow_search)
    monkeypatch.setattr(worker.time, "perf_counter", lambda: now[0])
    job = Job(
        target=registry.Target("numpy", "plain", "cpu", "numpy"), spec=preset("tiny"), dtype="float32",
        precision="ieee", folder="", parent=os.getppid(),
    )  # fmt: skip
    assert worker.TargetWorker(job).ready.import_s == 0
    assert now[0] >= 1000
