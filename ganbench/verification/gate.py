"""The gate: no time without a verified result.

The program that will be timed is reset, run and compared with the oracle: number of outputs, shape,
dtype, finiteness, then ‖out − ref‖ / ‖ref‖ per group of outputs. Something always ran before a reset, so one that
does not reset is caught.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from ..backend import Program
from ..operation import Operation, Output
from ..operations.rounding import dtype_of, widened
from ..precision import accumulation_dtype
from ..results.records import GroupError, Verification
from .answers import Answers

PIECE = 16384  # numbers of an array that are compared together, so that they stay in a cache
EXACT: Mapping[int, np.ndarray] = {}  # no element may be off besides what its group may
Shown = tuple[int, Sequence[np.ndarray]]  # what a program shows after so many iterations from its staged state

GATED_ITERATIONS = 8
# Every group has a tolerance: so many times the error of honest arithmetic in this very model, as the oracle emulates
# it (docs/decisions/0009-tolerance.md) ...
HONEST = {"ieee": 1.5, "tf32": 3, "mixed": 3}
GROWN = 50  # units in the last place: an error that a model makes grow so far may well grow ...
FURTHER = 5  # times as far in another program
# ... but no less than this share of what the iterations changed, for libraries that compute in yet another way ...
TOLERANCES = {
    ("float64", "ieee"): 1e-12,
    ("float32", "ieee"): 1e-5,
    ("float32", "tf32"): 2e-3,  # products rounded to 10 bits of mantissa, 2⁻¹¹ each
    ("float16", "mixed"): 2e-2,  # 10 bits of mantissa, and sums over them
    ("bfloat16", "mixed"): 2e-2,  # 7 bits of mantissa, averaged over many products
}
# ... where a share of the change stands for a constant: less than this in TF32 and halves. Correct programs stay below
# 0.2 (seen in mnist-mlp); wrong ones, such as no step at all, reach 1 or more ...
CHANGE = 0.5
PARTED = 0.5  # of itself: if correct programs differ by more after several iterations, a group tells nothing there
MOST = 0.9  # ... and never more than this share of the change: a program that makes no step must never pass ...
ULPS = 4  # ... unless rounding the results, by so many units in the last place, already makes more.


def counts(iterations: int, most: int) -> list[int]:
    """Return after how many iterations a program is looked at, besides after its first call of ``iterations``.

    Always once more from the staged state, which shows whether the reset before it worked; ``most`` is for how many
    correct programs agree.
    """
    if iterations == 1:
        return [most]
    return [iterations] if iterations <= most else [iterations, most]


def shown_after(count: int, program: Program) -> list[np.ndarray]:
    """Return what a program shows after ``count`` iterations from its staged state."""
    if count < program.iterations:
        return program.first_outputs(count)
    program.reset()
    for _ in range(count // program.iterations):
        program()
    return program.outputs()


def verify(
    program: Program, operation: Operation, answers: Answers, dtype: str, precision: str = "ieee"
) -> Verification:
    """Run ``program`` from its staged state and compare it with the oracle; leaves it reset."""

    looks = (*counts(program.iterations, answers.most), program.iterations)
    shown = ((count, shown_after(count, program)) for count in looks)
    found = check_outputs(shown, operation, answers, dtype, precision)
    program.reset()
    return found


def check_outputs(
    shown: Iterable[Shown], operation: Operation, answers: Answers, dtype: str, precision: str
) -> Verification:
    """Compare what a program shows with the oracle's answers."""
    constant = TOLERANCES[dtype, precision]
    expected = operation.outputs()
    found: dict[tuple[str, int], GroupError] = {}
    for count, received in shown:
        errors = list(found.values())
        if count not in answers.after:
            reason = f"one call makes {count} iterations, but the reference was computed after {[*answers.after]}"
            return Verification(constant, False, [], reason)
        if fault := malformed(received, expected, dtype):
            return Verification(constant, False, errors, f"{fault} after {_iterations(count)}")
        compared = group_errors(received, answers.after[count], expected, count, answers.allowed.get(count, {}))
        told = compared
        if precision == "ieee" and count > 1:
            told = [entry for entry in compared if answers.deviations.get((entry.group, count), 0.0) <= PARTED]
        if compared and not told:
            reason = f"it cannot be verified: correct programs have parted after the {count} iterations of one call"
            return Verification(constant, False, errors, reason)
        for entry in told:
            key = entry.group, count
            judged = replace(entry, tolerance=_tolerance(answers, key, dtype, precision))
            found[key] = max(judged, found.get(key, judged), key=lambda entry: entry.error)
    errors = list(found.values())
    if not errors:
        return Verification(constant, False, [], "there was nothing to compare")
    worst = max(errors, key=lambda entry: entry.error / entry.tolerance)
    if worst.error <= worst.tolerance:
        return Verification(constant, False, errors)
    reason = (
        f"'{worst.worst}' is off by {worst.error:.2g} after {_iterations(worst.iterations)} "
        f"(tolerance {worst.tolerance:.1g})"
    )
    return Verification(constant, False, errors, reason)


def _tolerance(answers: Answers, key: tuple[str, int], dtype: str, precision: str) -> float:
    """Return the tolerance of a group after so many iterations.

    A group that starts from something may deviate by a share of its change only, or a step left out would go unseen.
    """
    deviation, change = answers.deviations.get(key, 0.0), answers.changes.get(key, 1.0)
    if precision == "ieee" or deviation == 0:  # where the emulation is exact, as Adam is on float32 moments
        name = dtype if precision == "ieee" else "float32"
        least = TOLERANCES[name, "ieee"] * change
    else:
        name, least = accumulation_dtype(dtype), min(TOLERANCES[dtype, precision], CHANGE * change)
    eps = float(np.finfo(name).eps)
    honest = HONEST[precision] * deviation * (FURTHER if precision == "ieee" and deviation > GROWN * eps else 1)
    return max(min(max(honest, least), MOST * change), ULPS * eps)


def _iterations(count: int) -> str:
    return "1 iteration" if count == 1 else f"{count} iterations"


def malformed(received: Sequence[np.ndarray], expected: Sequence[Output], dtype: str) -> str:
    """Return what is wrong with the form of the outputs, or ''."""
    if len(received) != len(expected):
        return f"{len(received)} outputs instead of {len(expected)}"
    for array, output in zip(received, expected, strict=True):
        if np.shape(array) != output.shape:
            return f"'{output.name}' has shape {np.shape(array)} instead of {output.shape}"
        wanted = accumulation_dtype(dtype) if output.kept else dtype
        if dtype_of(array) != wanted:
            return f"'{output.name}' is {dtype_of(array)} instead of {wanted}"
        if not np.isfinite(array if array.dtype.kind == "f" else widened(array)).all():
            return f"'{output.name}' is not finite"
    return ""


def group_errors(
    received: Sequence[np.ndarray], reference: Sequence[np.ndarray], expected: Sequence[Output], count: int,
    allowed: Mapping[int, np.ndarray] = EXACT,
) -> list[GroupError]:  # fmt: skip
    """Return the relative error of each group after ``count`` iterations, beyond what is ``allowed``, by place.

    Where the reference is all zero, it is 0 or infinity.
    """
    members: dict[str, list[tuple[str, float, float]]] = {}
    for place, (array, answer, output) in enumerate(zip(received, reference, expected, strict=True)):
        difference = distance(np.asarray(array), answer, allowed.get(place))
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
    flat = np.ravel(array)
    return math.sqrt(np.einsum("i,i", flat, flat))


def distance(array: np.ndarray, other: np.ndarray, allowed: np.ndarray | None = None) -> float:
    """Return the norm of the difference, of each element beyond what is allowed, in pieces that stay in a cache."""
    ones, others = np.ravel(array), np.ravel(other)
    free = None if allowed is None else np.ravel(allowed)
    found = []
    for start in range(0, ones.size, PIECE):
        piece = slice(start, start + PIECE)
        difference = widened(ones[piece]) - others[piece]
        found.append(norm(difference if free is None else np.maximum(np.abs(difference) - free[piece], 0)))
    return math.hypot(*found)


def _relative(difference: float, norm: float) -> float:
    if norm == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / norm
