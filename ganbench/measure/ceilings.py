"""The ceilings: the best that a library reaches on its device, to which times are compared.

They are matrix products of growing width, a product of two numbers for the latency, and on a GPU the sum of two large
arrays for the bandwidth. The same backend and timing loop measure them as everything else. A ceiling is the best of a
few visits, not their typical value.

``run_ceilings`` says when they are measured, and when those of an earlier run are used.
"""

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
from ..verification.sync_check import unfinished
from . import engine

VISITS = 3
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


def find_ceilings(backend: Backend, dtype: str, precision: str, visit_s: float = engine.VISIT_S) -> list[Ceiling]:
    """Return the latency, the matrix products and, on a GPU, the bandwidth of ``backend``."""
    latency = min(_seconds(backend, Product(1, 1, 1), dtype, visit_s))
    found = [Ceiling("latency", 1, latency), *_products(backend, dtype, precision, visit_s)]
    if backend.device != "cpu":
        n = SUM_BYTES // 3 // BYTES[dtype]
        rates = [SUM_BYTES / seconds for seconds in _seconds(backend, Sum(n, 1, 1), dtype, visit_s)]
        found.append(Ceiling.best_of("bandwidth", SUM_BYTES, rates))
    return found


def _products(backend: Backend, dtype: str, precision: str, visit_s: float) -> list[Ceiling]:
    """Return FLOP/s of products of growing width, until FLOP/s stop growing or a product takes too long."""
    found: list[Ceiling] = []
    n, best = NARROWEST, 0.0
    while n <= WIDEST:
        square = Product(n, n, n)
        seconds = _seconds(backend, square, dtype, visit_s, TOLERANCES[dtype, precision])
        found.append(Ceiling.best_of("product", n, [square.flops / one for one in seconds]))
        rate = found[-1].value
        if rate < GAIN * best or 8 * min(seconds) > LONGEST_CALL_S:
            break
        n, best = 2 * n, max(rate, best)
    return found


def _seconds(
    backend: Backend, operation: Operation, dtype: str, visit_s: float, tolerance: float | None = None
) -> list[float]:
    """Return the time of one call in each of a few visits.

    Raises ``GanbenchError`` for a product that is wrong, or that ``synchronize`` does not wait for: such a ceiling
    would excuse every time of this library, and of all others on the device.
    """
    inputs = operation.inputs(0, dtype, np.empty(0))
    program, _, _ = engine.first_call(backend, operation, inputs)
    if tolerance is not None:
        _check(program, inputs, tolerance)
    number = engine.calibrate(backend, operation, program, visit_s)
    if tolerance is not None and unfinished(backend, program, number, share=1.0):
        raise GanbenchError("synchronize() returned before a product was done, so the library has no ceiling")
    return [engine.time_visit(backend, operation, program, number).seconds for _ in range(VISITS)]


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
