"""MLX, a real lazy framework, through a backend whose author wrote nothing for it but ``synchronize``."""

import os
import subprocess
import sys

import pytest
from commands import compared

pytestmark = pytest.mark.workers
OPERATIONS = ("matmul", "batch_norm", "generator_forward", "adam_step")
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


@pytest.fixture(scope="module")
def environment(outside, tmp_path_factory):
    """Install MLX from the package index into a folder of its own; skip where it is not to be had."""
    folder = tmp_path_factory.mktemp("mlx")
    packages = ["mlx"] if sys.platform == "darwin" else ["mlx", "mlx-cpu"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *packages]
    environment = {**outside, "PYTHONPATH": os.pathsep.join([outside["PYTHONPATH"], str(folder)])}
    done = subprocess.run(pip, capture_output=True, text=True)
    loads = [sys.executable, "-c", "import mlx.core"]
    if done.returncode or subprocess.run(loads, env=environment, capture_output=True).returncode:
        pytest.skip("MLX cannot be installed here")
    return environment


def test_mlx_is_measured_rightly(environment, tmp_path):
    """Calls whose results were dropped were once never computed: a product seemed to take a fourteenth of its time."""
    arguments = ("--preset", "mnist-mlp", "--backends", "numpy,mlx", "--ops", ",".join(OPERATIONS), "--threads", "1")
    rows = compared(tmp_path, *arguments, env=environment)
    assert {row["status"] for row in rows.values()} == {"ok"}, [row["reason"] for row in rows.values()]
    loop = subprocess.run([sys.executable, "-c", LOOP], env=environment, capture_output=True, text=True, check=True)
    for operation, seconds in zip(("matmul", "batch_norm"), map(float, loop.stdout.split()), strict=True):
        assert rows[operation, "mlx"]["median_s"] > seconds / 3
