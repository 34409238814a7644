"""What only a GPU can show: captured iterations that wait for nothing, and device times that fit the wall clock.

That graph modes pass the gate is asked in test_backends.py, as of every other mode on every device.
"""

import warnings

import pytest
from commands import cli

from ganbench import registry
from ganbench.gan import preset
from ganbench.measure.engine import time_visit
from ganbench.operations import operation
from ganbench.testing import images

pytestmark = pytest.mark.gpu
CASE = operation("gan_iteration", preset("mnist-mlp"))


def prepared(label):
    """Return backend and program of a target; skips where this machine lacks what it needs."""
    target = registry.parse_target(label)
    cls = registry.load(target.backend)
    if reason := cls.probe().reasons.get("cuda"):
        pytest.skip(reason)
    backend = cls(target.mode, target.device)
    program = backend.prepare(CASE, CASE.inputs(0, "float32", images(CASE)))
    program()
    backend.synchronize(program.result)
    program.reset()
    backend.synchronize(program.result)
    return backend, program


def test_a_captured_iteration_of_torch_neither_waits_nor_allocates():
    backend, program = prepared("torch.graph@cuda")
    cuda = backend.torch.cuda
    before = cuda.memory_stats()["allocation.all.allocated"]  # how often, since the process began
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that this mode of its own is a prototype
        cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            program()
    finally:
        cuda.set_sync_debug_mode("default")
    backend.synchronize(program.result)
    assert cuda.memory_stats()["allocation.all.allocated"] == before


def test_what_torch_captures_does_not_wait_when_it_is_run_as_it_is(monkeypatch):
    monkeypatch.setattr(registry.load("torch"), "_capture", lambda self, function: function)
    backend, program = prepared("torch.graph@cuda")
    cuda = backend.torch.cuda
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cuda.set_sync_debug_mode("error")
    try:
        program()
    finally:
        cuda.set_sync_debug_mode("default")


def test_a_captured_iteration_of_cupy_takes_no_memory():
    backend, program = prepared("cupy.graph")
    pool = backend.xp.get_default_memory_pool()
    before = pool.used_bytes(), pool.total_bytes()
    for _ in range(3):
        program()
    backend.synchronize(program.result)
    assert (pool.used_bytes(), pool.total_bytes()) == before


@pytest.mark.parametrize("label", ["torch@cuda", "torch.manual@cuda", "torch.graph@cuda", "cupy", "cupy.graph"])
def test_every_block_has_a_time_of_the_device_and_of_a_single_call(label):
    backend, program = prepared(label)
    block = time_visit(backend, CASE, program, max(1, 40 // program.iterations))
    assert block.device_s > 0
    assert block.latency_s > 0


@pytest.mark.parametrize("name", ["torch", "jax", "cupy"])
def test_tf32(name):
    """In a worker of its own: libraries read what switches TF32 on when they are imported."""
    if reason := registry.about(name).probe.reasons.get("cuda"):
        pytest.skip(reason)
    done = cli("verify", "--backends", f"{name}@cuda", "--preset", "mnist-mlp", "--math", "tf32")
    assert done.returncode == 0, done.stderr
    assert "2e-03" in done.stdout
    products = [line.split() for line in done.stdout.splitlines() if line.startswith("matmul ")]
    assert all(float(line[4]) > 1e-5 for line in products), "these products were not rounded"
