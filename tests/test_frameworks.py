"""TensorFlow, Keras and MLX, as `make frameworks-env` installs them: the conformance suite, and real runs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import cli, compared

from ganbench import registry
from ganbench.training.log import read_losses

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / ".frameworks"
SUITE = Path(__file__).parent / "frameworks"
BACKENDS = ("mlx", "tensorflow", "keras")
TARGETS = [f"{name}.{mode}" for name in BACKENDS for mode in registry.about(name).modes]
# A loop that waits for every call, on the shapes of mnist-mlp: the best of many.
LOOP = """
import time, mlx.core as mx
def best(make):
    times = []
    for _ in range(30):
        start = time.perf_counter()
        mx.eval(make())
        times.append(time.perf_counter() - start)
    return min(times)
a, b, x = (mx.random.normal(shape) for shape in ((128, 256), (256, 784), (128, 256)))
mx.eval(a, b, x)
print(best(lambda: a @ b), best(lambda: (x - x.mean(axis=0)) * mx.rsqrt(x.var(axis=0) + 1e-5)))
"""
# No limit for a suite: each of its tests has one.
pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(0)]


@pytest.fixture(scope="module")
def there():
    """Variables with which a Python finds the frameworks; skips where they are not installed."""
    if not (WHEELS / "installed").exists():
        pytest.skip(f"no {WHEELS.name}: make frameworks-env")
    return {**os.environ, "PYTHONPATH": str(WHEELS)}


@pytest.mark.parametrize("target", TARGETS)
def test_conformance(target, there, tmp_path, request):
    variables = {key: value for key, value in there.items() if not key.startswith("PYTEST_")}
    variables |= registry.environment(registry.parse_target(target), "float64", "ieee", str(tmp_path))
    variables |= {"TARGET": target, "GANBENCH_ANSWERS": str(request.config.cache.mkdir("ganbench"))}
    command = [sys.executable, "-m", "pytest", "-q", "--confcutdir", SUITE, "-p", "no:cacheprovider", SUITE]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-10_000:]


@pytest.mark.parametrize("preset", ["tiny", "dcgan-8"])
def test_rows_are_ok(preset, there, tmp_path):
    operations = "adam_step,generator_forward,gan_iteration"
    arguments = "--preset", preset, "--backends", ",".join(["numpy", *TARGETS]), "--ops", operations
    rows = compared(tmp_path, *arguments, env=there)
    assert {row["status"] for row in rows.values()} == {"ok"}, {row["reason"] for row in rows.values()}


def test_a_lazy_framework_is_measured_rightly(there, tmp_path):
    """Calls whose results were dropped were once never computed: a product seemed to take a fourteenth of its time."""
    arguments = ("--preset", "mnist-mlp", "--backends", "numpy,mlx", "--ops", "matmul,batch_norm", "--threads", "1")
    rows = compared(tmp_path, *arguments, env=there)
    assert {row["status"] for row in rows.values()} == {"ok"}, [row["reason"] for row in rows.values()]
    loop = subprocess.run([sys.executable, "-c", LOOP], env=there, capture_output=True, text=True, check=True)
    for operation, seconds in zip(("matmul", "batch_norm"), map(float, loop.stdout.split()), strict=True):
        assert rows[operation, "mlx"]["median_s"] > seconds / 3


def test_training_learns_what_numpy_learns(there, tmp_path):
    done = cli("train", "--backends", ",".join(["numpy", *BACKENDS]), "--preset", "tiny", "--iterations", "40",
               "--seed", "0", "--output", str(tmp_path / "out"), env=there)  # fmt: skip
    assert done.returncode == 0, done.stderr
    losses = {name: read_losses(tmp_path / "out" / name) for name in ("numpy", *BACKENDS)}
    for name in BACKENDS:
        assert losses[name].shape == losses["numpy"].shape == (40, 3)
        assert np.allclose(losses[name], losses["numpy"], rtol=1e-3)


def test_what_is_missing_is_named_with_its_command(ganbench_cli):
    """Without .frameworks, as this process is."""
    code, out, _ = ganbench_cli("list")
    assert code == 0
    for name in BACKENDS:
        assert f'install     pip install "ganbench[{name}]"' in out
