"""The gate: no time without a verified result.

The program that will be timed is reset, run and compared with the oracle: number of outputs, shape, dtype, finiteness,
then ‖out − ref‖ / ‖ref‖ for each group of outputs. Calls were made before the reset, so a reset that does nothing
is found.
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
UNVERIFIABLE = "it cannot be verified"
EXACT: Mapping[int, np.ndarray] = {}  # no additional allowance for any element
Shown = tuple[int, Sequence[np.ndarray]]  # a number of iterations, and the outputs after them from the staged state

GATED_ITERATIONS = 8
# Every group has a tolerance: this many times the error of correct arithmetic in the same model, as it was emulated
# (docs/decisions/0009-tolerance.md) ...
HONEST = {"ieee": 1.5, "tf32": 3, "mixed": 3}
GROWN = 50  # units in the last place: an error that a model amplifies to more than this may be amplified ...
FURTHER = 5  # times as much in another program
# ... but at least this share of the change by the iterations, for libraries that compute in yet another way ...
TOLERANCES = {
    ("float64", "ieee"): 1e-12,
    ("float32", "ieee"): 1e-5,
    ("float32", "tf32"): 2e-3,  # products rounded to 10 bits of mantissa, 2⁻¹¹ each
    ("float16", "mixed"): 2e-2,  # 10 bits of mantissa, and sums over them
    ("bfloat16", "mixed"): 2e-2,  # 7 bits of mantissa, averaged over many products
}
# ... in TF32 and halves at most this share of the change. Correct programs stay below 0.2 (measured in mnist-mlp);
# wrong programs, such as one that makes no step, reach 1 or more ...
CHANGE = 0.5
MOST = 0.9  # ... and never more than this share of the change, so a program that makes no step never passes ...
PARTED = 0.5  # (a group that needs more, or differs by this after several iterations in correct programs, is left out)
ULPS = 4  # ... but at least this many units in the last place, for the rounding of the results.


def counts(iterations: int, most: int) -> list[int]:
    """Return after which numbers of iterations a program is compared, in addition to its first call of ``iterations``.

    There is always one more comparison from the staged state, to find a reset that does not work. ``most``: the number
    of iterations after which correct programs still agree.
    """
    if iterations == 1:
        return [most]
    return [iterations] if iterations <= most else [iterations, most]


def shown_after(count: int, program: Program) -> list[np.ndarray]:
    """Return the outputs of a program after ``count`` iterations from its staged state."""
    if count < program.iterations:
        return program.first_outputs(count)
    program.reset()
    for _ in range(count // program.iterations):
        program()
    return program.outputs()


def verify(
    program: Program, operation: Operation, answers: Answers, dtype: str, precision: str = "ieee"
) -> Verification:
    """Run ``program`` from its staged state and compare it with the oracle; then reset it."""
    looks = (*counts(program.iterations, answers.most), program.iterations)
    shown = ((count, shown_after(count, program)) for count in looks)
    found = check_outputs(shown, operation, answers, dtype, precision)
    program.reset()
    return found


def check_outputs(
    shown: Iterable[Shown], operation: Operation, answers: Answers, dtype: str, precision: str
) -> Verification:
    """Compare the outputs of a program with the oracle's answers."""
    expected = operation.outputs()
    found: dict[tuple[str, int], GroupError] = {}

    def verdict(reason: str = "") -> Verification:
        return Verification(TOLERANCES[dtype, precision], False, [*found.values()], reason)

    for count, received in shown:
        if count not in answers.after:
            made = f"one call makes {count} iterations"
            return verdict(f"{made}, but the reference was computed after {[*answers.after]}")
        if fault := malformed(received, expected, dtype):
            return verdict(f"{fault} after {_iterations(count)}")
        compared = group_errors(received, answers.after[count], expected, count, answers.allowed.get(count, {}))
        judged = [replace(one, tolerance=_tolerance(answers, (one.group, count), dtype, precision)) for one in compared]
        told = [one for one in judged if precision != "ieee" or not _parted(answers, one)]
        if compared and not told:
            made = "1 iteration" if count == 1 else f"the {count} iterations of one call"
            return verdict(f"{UNVERIFIABLE}: after {made} even correct programs disagree")
        for entry in told:
            key = entry.group, count
            found[key] = max(entry, found.get(key, entry), key=lambda entry: entry.error)
    if not found:
        return verdict("there was nothing to compare")
    worst = max(found.values(), key=lambda entry: entry.error / entry.tolerance)
    if worst.error <= worst.tolerance:
        return verdict()
    return verdict(
        f"'{worst.worst}' is off by {worst.error:.2g} after {_iterations(worst.iterations)} "
        f"(tolerance {worst.tolerance:.1g})"
    )


def _tolerance(answers: Answers, key: tuple[str, int], dtype: str, precision: str) -> float:
    """Return the tolerance of a group after so many iterations.

    It is a share of the group's change, so that an omitted step is found. A group that starts at zero has change 1.
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


def _parted(answers: Answers, entry: GroupError) -> bool:
    """Return whether correct programs differ so much in a group that no tolerance could tell a fault from them."""
    deviation = answers.deviations.get((entry.group, entry.iterations), 0.0)
    return HONEST["ieee"] * deviation > entry.tolerance or (entry.iterations > 1 and deviation > PARTED)


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
    """Return the relative error of each group after ``count`` iterations, less what is ``allowed`` by output index.

    If the reference is zero, it is 0 or infinity.
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

    ``numpy.linalg.norm`` would use BLAS, whose threads spin for a tenth of a second and disturb the next timing.
    """
    flat = np.ravel(array)
    return math.sqrt(np.einsum("i,i", flat, flat))


def distance(array: np.ndarray, other: np.ndarray, allowed: np.ndarray | None = None) -> float:
    """Return the norm of the difference, less what is allowed for each element; in pieces that fit into a cache."""
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
