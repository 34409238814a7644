"""The conformance suite as the author of a plug-in uses it: in a project of its own, with ganbench installed."""

import re
import subprocess
import sys

import pytest
from patience import LIMIT_S

from ganbench import gpus

pytestmark = pytest.mark.workers
TESTS = """
from ganbench.backends.cupy_backend import CupyBackend
from ganbench.gan import preset
from ganbench.testing import BackendConformance
from outside import OutsideBackend


class TestMine(BackendConformance):
    backend_class = OutsideBackend
    mode = "{mode}"
    specs = [preset("tiny")]
    operations = ["matmul", "adam_step"]

    def test_probe_imports_no_framework(self):
        pass  # it is its own framework


class TestWithoutDevice(BackendConformance):
    backend_class = CupyBackend
"""


def outcomes(folder, env, mode):
    """Return how many tests ended how, and all that was printed."""
    (folder / "test_mine.py").write_text(TESTS.format(mode=mode))
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "--strict-markers", "test_mine.py"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    *_, last = done.stdout.splitlines()
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}, done.stdout


@pytest.mark.skipif(gpus.count() > 0, reason="there is a GPU")
def test_it_passes_what_is_right_and_skips_once_a_kind_what_has_no_device(outside, tmp_path):
    counts, said = outcomes(tmp_path, outside, "plain")
    assert set(counts) == {"passed", "skipped"}, said
    assert counts["passed"] > 40
    assert counts["skipped"] < 20
    assert "backend 'cupy' needs cupy" in said or "no usable CUDA device" in said


def test_it_fails_what_replaces_the_clock(outside, tmp_path):
    counts, said = outcomes(tmp_path, outside, "drags")
    assert counts["failed"] == 2, said  # one for each class: they share the process
    assert "time.perf_counter was replaced" in said


def test_it_fails_what_is_wrong(outside, tmp_path):
    counts, said = outcomes(tmp_path, outside, "wrong")
    assert counts["failed"] == 2 + 3, said  # with fresh inputs, in each of the small models
    assert "'c' is off by 0.01" in said
