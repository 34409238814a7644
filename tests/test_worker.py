"""What a worker does before its first operation: what it loads, and what it counts as the framework's import."""

import os
import subprocess
import sys

import numpy as np
import pytest
from ganbench.backends.numpy_backend import NumpyBackend

import ganbench
from ganbench import registry
from ganbench.backend import BoundProgram
from ganbench.gan import preset
from ganbench.measure import worker
from ganbench.measure.protocol import Job, Prepare
from ganbench.results.records import WorkerRecord
from ganbench.verification.answers import IMAGES

HEAVY = ("numpy", "pandas", "torch", "jax", "scipy")


def job(folder=""):
    target = registry.Target("numpy", "plain", "cpu", "numpy")
    return Job(
        target=target, spec=preset("tiny"), dtype="float32", precision="ieee", folder=str(folder), parent=os.getppid()
    )


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
    assert worker.TargetWorker(job()).ready.import_s == 0
    assert now[0] >= 1000


def test_what_only_a_second_call_compiles_is_compiled_before_any_visit(tmp_path, monkeypatch):
    calls = []

    class Counted(BoundProgram):
        def __call__(self):
            calls.append(self)
            super().__call__()

    monkeypatch.setattr(NumpyBackend, "prepare", lambda *about: Counted(*about))
    np.save(tmp_path / IMAGES, np.empty(0, np.float32))
    worker.TargetWorker(job(tmp_path)).answer(Prepare("matmul", 0, str(tmp_path / "outputs")))
    assert len(calls) == 2


@pytest.mark.workers
def test_only_the_first_worker_of_a_case_is_described_and_warmed_up():
    run = ganbench.compare("numpy,jax", preset="tiny", ops=["matmul"], rounds=3, results=None)
    told = {(one.round, bool(one.denormals), bool(one.blas)) for one in run.all(WorkerRecord)}
    assert told == {(1, True, True), (2, False, False), (3, False, False)}
    warmed = {(one.round, one.steady is not None, one.host_peak_bytes is not None) for one in run.measurements}
    assert warmed == {(1, True, True), (2, False, False), (3, False, False)}
    jax = run.to_pandas().set_index("target").loc["jax"]
    assert jax["denormals"] == "flushed"
    assert jax["host_peak_bytes"] > 0
