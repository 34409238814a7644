"""The ceilings: the best that a library reaches on its device, to which times are compared.

They are matrix products of growing width, a product of two numbers for the latency, and on a GPU the sum of two large
arrays for the bandwidth. The same backend and timing loop measure them as everything else. A ceiling is the best of a
few visits, not their typical value.

``run_ceilings`` says when they are measured, and when those of an earlier run are used.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..array_ops import ArrayOps
from ..backend import Backend, Program
from ..errors import GanbenchError
from ..operation import Inputs, Operation
from ..operations.layers import Matmul
from ..operations.rounding import to_host, widened
from ..precision import BYTES
from ..results.records import Ceiling
from ..verification.gate import TOLERANCES, norm
from ..verification.sync_check import left_before, unfinished
from . import engine

VISITS = 5
NARROWEST, WIDEST = 256, 8192  # the fastest GPUs would go on for a minute
GAIN = 1.05  # a wider product that is not faster by this ends the sweep
LONGEST_CALL_S = 0.1  # nor is one tried that would take several times this
SUM_BYTES = 3 * 2**28  # of three arrays: several times the largest cache of a GPU


class Product(Matmul):
    """A product of two matrices, written to an existing array."""

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        drawn, out = super().inputs(seed, dtype, images), to_host(np.zeros((self.m, self.n)), dtype)
        return drawn._replace(state=[out], batches=drawn.batches[:1])  # in a cache, if it fits: the best there is

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        a, b = batch
        return [backend.matmul_into(a, b, state[0])], ()

    def collect(self, state: Any, results: Any) -> list[Any]:
        return list(state)


class Sum(Matmul):
    """``a + b`` on vectors of length ``m``: like STREAM's triad it reads two arrays and writes one."""

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        ones = to_host(np.ones(self.m, np.float32), dtype)
        return Inputs((), None, [(ones, ones)])

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, (batch[0] + batch[1],)


def find_ceilings(backend: Backend, dtype: str, precision: str, visit_s: float = engine.VISIT_S) -> Iterator[Ceiling]:
    """Yield what each visit reached: of the latency, the matrix products and, on a GPU, the bandwidth of ``backend``.

    Whoever asks for the next visit places the threads before, as for every visit: on a busy machine a product on two
    threads that wait for one another on one processor takes up to a hundred times as long.
    """
    for seconds in _visits(backend, Product(1, 1, 1), dtype, visit_s):
        yield Ceiling("latency", 1, seconds)
    yield from _products(backend, dtype, precision, visit_s)
    if backend.device != "cpu":
        n = SUM_BYTES // 3 // BYTES[dtype]
        for seconds in _visits(backend, Sum(n, 1, 1), dtype, visit_s):
            yield Ceiling("bandwidth", SUM_BYTES, SUM_BYTES / seconds)


def _products(backend: Backend, dtype: str, precision: str, visit_s: float) -> Iterator[Ceiling]:
    """Yield FLOP/s of products of growing width, until FLOP/s stop growing or a product takes too long."""
    n, best = NARROWEST, 0.0
    while n <= WIDEST:
        square, shortest = Product(n, n, n), math.inf
        for seconds in _visits(backend, square, dtype, visit_s, TOLERANCES[dtype, precision]):
            yield Ceiling("product", n, square.flops / seconds)
            shortest = min(seconds, shortest)
        rate = square.flops / shortest
        if rate < GAIN * best or 8 * shortest > LONGEST_CALL_S:
            break
        n, best = 2 * n, max(rate, best)


def _visits(
    backend: Backend, operation: Operation, dtype: str, visit_s: float, tolerance: float | None = None
) -> Iterator[float]:
    """Yield the time of one call in each of a few visits.

    Raises ``GanbenchError`` for a product that is wrong, or that ``synchronize`` does not wait for: such a ceiling
    would excuse every time of this library, and of all others on the device.
    """
    inputs = operation.inputs(0, dtype, np.empty(0))
    program, _, _ = engine.first_call(backend, operation, inputs)
    if tolerance is not None:
        _check(program, inputs, tolerance)
        if unfinished(backend, program, 1, 1.0) or (backend.queues and left_before(backend, program)):
            raise GanbenchError("synchronize() returned before a product was done, so the library has no ceiling")
    number = engine.calibrate(backend, operation, program, visit_s)
    for _ in range(VISITS):
        yield engine.time_visit(backend, operation, program, number).seconds


def _check(program: Program, inputs: Inputs, tolerance: float) -> None:
    """Check a product with a random vector: c v = a (b v), Freivalds 1977."""
    a, b = map(widened, inputs.batches[0])
    v = np.random.default_rng(1).choice([-1.0, 1.0], b.shape[1])
    # Without BLAS, as in the gate: its threads would spin beside the next visit.
    expected = np.einsum("ij,j", a, np.einsum("ij,j", b, v))
    received = np.einsum("ij,j", widened(program.outputs()[0]), v)
    error = norm(received - expected) / norm(expected)
    if not error <= tolerance:
        wrong = f"a product of width {len(a)} is off by {error:.2g}"
        raise GanbenchError(f"{wrong}: the library computes it wrongly, so it has no ceiling")
