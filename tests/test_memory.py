"""What a case takes of memory: measured in its own process, kept, read again, shown."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from commands import GANBENCH

import ganbench
from ganbench.machine import memory
from ganbench.report.start import memory_table
from ganbench.results.store import read_run

pytestmark = pytest.mark.workers

NUMPY_LEAST = 1e6  # what importing NumPy takes at the very least
HUNGER = 200_000_000  # 200 MiB are taken; Linux counts pages in batches, some hundred kB to a core


class Device:
    """A device that holds some bytes, had a peak once, and may be able to forget it."""

    def __init__(self, held, peak):
        self.held, self.peak = held, peak

    def forget_device_peak(self):
        return self.held

    def device_peak(self):
        return self.peak


@pytest.fixture
def process(monkeypatch):
    """A process whose resident memory and peak are what a test says."""

    class Process:
        now, peak, resets = 100, 1000, True

        def take(self, now, peak):
            self.now, self.peak = now, max(peak, self.peak)

        def forget(self):
            if self.resets:
                self.peak = self.now
            return self.resets

    made = Process()
    monkeypatch.setattr(memory, "resident", lambda: made.now)
    monkeypatch.setattr(memory, "peak", lambda: made.peak)
    monkeypatch.setattr(memory, "forget_peak", made.forget)
    return made


def case(process, prepared, gate, warm):
    found = memory.CaseMemory(Device(5, 12))
    process.take(*prepared)
    found.prepared()
    process.take(*gate)
    found.warming()
    process.take(*warm)
    return found.peaks()


def test_the_peak_is_above_what_was_held_and_the_gate_does_not_count(process):
    # 20 stay once it is prepared, 70 at most; then the gate keeps 300 of its own; 90 on top while it is warmed up
    assert case(process, (120, 170), (420, 5000), (420, 510)) == (110, 7)
    assert case(process, (430, 590), (430, 430), (430, 440)) == (170, 7)


def test_a_peak_that_cannot_be_reset_gives_a_lower_bound(process):
    process.resets = False
    assert case(process, (120, 170), (120, 170), (125, 510)) == (25, 7)
    assert case(process, (120, 1070), (120, 170), (125, 510)) == (1070 - 125, 7)


def test_where_no_peak_is_known_none_is_told(process):
    process.peak, process.resets = None, False
    process.take = lambda now, peak: None
    assert case(process, (120, 170), (120, 170), (125, 510)) == (None, 7)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a peak cannot be reset")
def test_linux_forgets_a_peak_that_is_over():
    assert memory.forget_peak()
    first = memory.Stage()
    np.ones(200 * 2**20 // 8)
    assert first.rise() > HUNGER
    second = memory.Stage()
    assert second.rise() < 0.5 * HUNGER


def test_a_backend_that_takes_200_mb_while_it_works_shows_them(tmp_path, outside):
    done = subprocess.run(
        [*GANBENCH, "compare", "--preset", "tiny", "--rounds", "1", "--backends",
         "numpy,outside.hungry", "--ops", "matmul,adam_step", "--details", "--results", str(tmp_path)],
        env=outside, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
    assert "memory of" in done.stdout
    rows = ganbench.load_results(tmp_path).set_index(["target", "operation"])
    assert rows.loc[("outside.hungry", "matmul"), "host_peak_bytes"] >= HUNGER
    for other in (("numpy", "matmul"), ("numpy", "adam_step"), ("outside.hungry", "adam_step")):
        assert 0 <= rows.loc[other, "host_peak_bytes"] < HUNGER / 2
    assert rows["device_peak_bytes"].isna().all()
    assert (rows["import_bytes"] > NUMPY_LEAST).all()
    (file,) = tmp_path.glob("*/compare/*.jsonl")
    kept = {(r.target, r.operation): r.host_peak_bytes for r in read_run(file) if hasattr(r, "host_peak_bytes")
            if not r.copy}  # fmt: skip
    assert kept == rows["host_peak_bytes"].to_dict()


def table(*rows):
    columns = ["operation", "target", "flops", "bytes", "import_bytes", "host_peak_bytes", "device_peak_bytes"]
    return pd.DataFrame(rows, columns=columns)


def test_the_table_shows_the_largest_operation_and_only_what_is_known():
    mib = 2**20
    host = table(
        ("matmul", "numpy", 1, mib, 30 * mib, 9 * mib, math.nan),
        ("gan_iteration", "numpy", 2, mib, 30 * mib, 2048 * mib, math.nan),
        ("gan_iteration", "torch", 2, mib, math.nan, math.nan, math.nan),
    )
    (row,) = memory_table(host).to_dict("records")
    assert list(row.values()) == ["gan_iteration", "numpy", "30.0 MiB", "2,048 MiB", "1.00 MiB"]
    device = table(("matmul", "torch@cuda", 1, mib, 200 * mib, mib, 3 * mib))
    assert memory_table(device).iloc[0]["device peak"] == "3.00 MiB"
    assert memory_table(host[2:]).empty
