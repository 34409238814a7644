"""The gate: no time without a verified result.

The program that will be timed is reset, run and compared with the oracle: number of outputs, shape,
dtype, finiteness, then ‖out − ref‖ / ‖ref‖ per group of outputs. The longer run comes first, so that a
``reset`` that does not reset is caught by the shorter one.
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from ..backend import Program
from ..operation import Operation, Output
from ..operations.rounding import dtype_of, widened
from ..precision import kept
from ..results.records import GroupError, Verification
from .answers import Answers

# The largest relative error of a group, by dtype and precision, and why.
TOLERANCES = {
    ("float64", "ieee"): 1e-12,  # 8 iterations accumulate about 1e-14; two orders for other summation orders
    ("float32", "ieee"): 1e-5,  # 8 iterations accumulate about 1e-6; TF32 or a wrong formula is 1e-3 and more
    ("float32", "tf32"): 2e-3,  # products rounded to 10 bits of mantissa, 2⁻¹¹ each
    ("float16", "mixed"): 2e-2,  # 10 bits of mantissa, and sums over them
    ("bfloat16", "mixed"): 2e-2,  # 7 bits of mantissa, averaged over many products
}
LOOSE_TOLERANCE = 5e-3  # float32 where a ReLU flips by honest rounding: seen up to 1e-3 after 3 iterations
# In TF32 and halves only, where the oracle emulates correct arithmetic (docs/decisions/0007-precision.md):
HONEST = 3  # times the emulated deviation, because hardware does not round exactly as the emulation does
MOST = 0.9  # of what the iterations changed, whatever was emulated: a program that makes no step must never pass
# Largest error, as a share of how much the values change. Correct programs stay below 0.2 (seen in mnist-mlp); wrong
# ones, such as no step at all, reach 1 or more.
CHANGE = 0.5


def verify(
    program: Program, operation: Operation, answers: Answers, dtype: str, precision: str = "ieee"
) -> Verification:
    """Run ``program`` from its staged state and compare it with the oracle; leaves it reset."""
    # Always two runs, so that the second one sees whether the reset before it worked.
    counts = (answers.gated, 1) if program.iterations == 1 else (program.iterations,) * 2
    loose = (dtype, precision) == ("float32", "ieee") and (answers.loose or counts[0] > answers.gated)
    tolerance = TOLERANCES[dtype, precision]
    if loose:
        tolerance = max(tolerance, LOOSE_TOLERANCE)
    expected = operation.outputs()
    found: dict[tuple[str, int], GroupError] = {}
    errors: list[GroupError] = []
    for count in counts:
        if count not in answers.after:
            return Verification(
                tolerance,
                loose,
                [],
                f"one call makes {count} iterations, but the reference was computed after {[*answers.after]}",
            )
        program.reset()
        for _ in range(count // program.iterations):
            program()
        received = program.outputs()
        if fault := _malformed(received, expected, dtype):
            return Verification(tolerance, loose, errors, f"{fault} after {_iterations(count)}")
        for entry in group_errors(received, answers.after[count], expected, count):
            key = entry.group, count
            judged = replace(entry, tolerance=_tolerance(tolerance, answers, key))
            found[key] = max(judged, found.get(key, judged), key=lambda entry: entry.error)
        errors = list(found.values())
    program.reset()
    if not errors:
        return Verification(tolerance, loose, [], "there was nothing to compare")
    worst = max(errors, key=lambda entry: entry.error / entry.tolerance)
    if worst.error <= worst.tolerance:
        return Verification(tolerance, loose, errors)
    reason = (
        f"'{worst.worst}' is off by {worst.error:.2g} after {_iterations(worst.iterations)} "
        f"(tolerance {worst.tolerance:.0e})"
    )
    return Verification(tolerance, loose, errors, reason)


def _tolerance(constant: float, answers: Answers, key: tuple[str, int]) -> float:
    """Return the tolerance of a group after so many iterations: ``constant``, unless honest arithmetic was emulated.

    Where the emulation is exact, as Adam is on float32 moments, float32's own tolerance counts. A group that
    starts from something may deviate by a share of its change only, or a step left out would go unseen.
    """
    deviation = answers.deviations.get(key)
    if deviation is None:
        return constant
    if deviation == 0:
        return TOLERANCES["float32", "ieee"]
    change = answers.changes.get(key, 1.0)
    return min(max(HONEST * deviation, min(constant, CHANGE * change)), MOST * change)


def _iterations(count: int) -> str:
    return "1 iteration" if count == 1 else f"{count} iterations"


def _malformed(received: Sequence[np.ndarray], expected: Sequence[Output], dtype: str) -> str:
    """Return what is wrong with the form of the outputs, or ''."""
    if len(received) != len(expected):
        return f"{len(received)} outputs instead of {len(expected)}"
    for array, output in zip(received, expected, strict=True):
        if np.shape(array) != output.shape:
            return f"'{output.name}' has shape {np.shape(array)} instead of {output.shape}"
        wanted = kept(dtype) if output.kept else dtype
        if dtype_of(array) != wanted:
            return f"'{output.name}' is {dtype_of(array)} instead of {wanted}"
        if not np.isfinite(widened(array)).all():
            return f"'{output.name}' is not finite"
    return ""


def group_errors(
    received: Sequence[np.ndarray], reference: Sequence[np.ndarray], expected: Sequence[Output], count: int
) -> list[GroupError]:
    """Return the relative error of each group after ``count`` iterations.

    Where the reference is all zero, it is 0 or infinity.
    """
    members: dict[str, list[tuple[str, float, float]]] = {}
    for array, answer, output in zip(received, reference, expected, strict=True):
        difference = norm(widened(np.asarray(array)) - answer)
        members.setdefault(output.group, []).append((output.name, difference, norm(answer)))
    return [
        GroupError(
            group,
            count,
            _relative(math.hypot(*(d for _, d, _ in rows)), math.hypot(*(n for _, _, n in rows))),
            max(rows, key=lambda row: row[1])[0],
        )
        for group, rows in members.items()
    ]


def norm(array: np.ndarray) -> float:
    """Return the square root of the sum of squares, in float64.

    Not by BLAS, as ``numpy.linalg.norm`` does: its threads would spin for a tenth of a second afterwards, beside the
    framework that is timed next.
    """
    return math.sqrt(np.square(array).sum())


def _relative(difference: float, norm: float) -> float:
    if norm == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / norm
