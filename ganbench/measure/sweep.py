"""``ganbench compare --sweep``: one variable through several values, each an ordinary run of its own."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import GanbenchError, UsageError, unknown
from ..gan import GANSpec
from ..registry import split_list
from ..results.run import Ending, Point, Sweep, Swept, V
from .models import CHANGES, changed
from .plan import Plan, length, make_plan
from .rounds import Progress
from .session import Say, carry_out

VARIABLES = ("batch", "width", "threads", "critic_steps", "n")
LARGEST = 2**31 - 1  # no machine has the memory for more
PRODUCTS = ("matmul", "matmul_grad")  # what there is of square matrices
EXAMPLE = "such as batch=1,8,32 or n=64..4096"


def parse(text: str) -> Sweep:
    """Return the sweep that ``batch=1,8,32`` or ``n=64..4096`` means, each value once and rising.

    ``a..b`` means a, b and the powers of two between them. Raises ``UsageError`` saying what is valid.
    """
    variable, equals, listed = (part.strip() for part in text.partition("="))
    if not equals:
        raise UsageError(f"sweep '{text}' is not valid: VARIABLE=VALUES, {EXAMPLE}")
    if variable not in VARIABLES:
        raise unknown("variable of a sweep", variable, VARIABLES)
    values = sorted({value for part in split_list(listed) for value in _values(part, text)})
    if len(values) < 2:
        raise UsageError(f"sweep '{text}' is not valid: at least two values, {EXAMPLE}")
    return Sweep(variable, tuple(values))


def _values(part: str, text: str) -> list[int]:
    match = re.fullmatch(r"(\d{1,19})(?:\s*\.\.\s*(\d{1,19}))?", part, re.ASCII)
    if match is None:
        raise UsageError(f"sweep '{text}' is not valid: '{part}' is neither a number nor a range, {EXAMPLE}")
    low, high = int(match[1]), int(match[2] or match[1])
    if not 1 <= low <= high <= LARGEST:
        raise UsageError(f"sweep '{text}' is not valid: values must lie between 1 and {LARGEST}, and a range must rise")
    return [low, *(1 << k for k in range(low.bit_length(), high.bit_length()) if 1 << k < high), high]


def plans(sweep: Sweep, spec: GANSpec, ops: str | Sequence[str], **settings: Any) -> tuple[Plan, ...]:
    """Return the plan of each value: ``spec`` or the threads altered, all else as ``make_plan`` takes it.

    Raises ``UsageError`` where one of them cannot be.
    """
    made = []
    for value in sweep.values:
        threads = {"threads": value} if sweep.variable == "threads" else {}
        model = _square(value) if sweep.variable == "n" else spec
        if sweep.variable in CHANGES:
            model = changed(spec, sweep.variable, value)
        made.append(make_plan(model, ops=ops, **{**settings, **threads}))
    if sweep.variable == "n" and (others := set(made[0].operations) - set(PRODUCTS)):
        raise UsageError(f"sweep of n: {', '.join(sorted(others))} is not a matrix product ({', '.join(PRODUCTS)})")
    return tuple(made)


def _square(n: int) -> GANSpec:
    """Return a model with a heaviest layer n×n, which says the shape of a product; images of one pixel cost nothing."""
    return GANSpec(name="square", generator=(n, n, 1), discriminator=(1, 1), batch=n)


def announcement(sweep: Sweep, made: Sequence[Plan]) -> str:
    """Return in one sentence what is about to be measured, and how long that may take."""
    values = ", ".join(map(str, sweep.values))
    return f"{len(made)} runs, {sweep.variable} {values}: {length(made[0].rigor, len(made))}"


def failed(value: V, error: Exception) -> Point[V]:
    """Return what came of a value whose run has ended in ``error``."""
    reason = " ".join(str(error).split()) or "the inputs do not fit"
    short = isinstance(error, MemoryError) or "memory" in reason.lower()  # the oracle's, in its own words
    return Point(value, None, "out of memory" if short else "failed", reason)


def carry_out_all(
    sweep: Sweep, made: Sequence[Plan], results: Path, machine: str | None, say: Say, progress: Progress
) -> Swept:
    """Run every plan; what fails is a point with its reason, and an interrupt keeps what there is.

    Raises ``UsageError`` where not even the first run can begin.
    """
    points: list[Point[int]] = []
    ended = Ending("complete")
    for value, plan in zip(sweep.values, made, strict=True):
        done = len(points)

        def tell(share: float, text: str, value: int = value, done: int = done) -> None:
            progress((done + share) / len(made), f"{sweep.variable} {value}, {text}")

        try:
            run = carry_out(plan, results, machine, say, tell)
        except KeyboardInterrupt:
            ended = Ending("interrupted")
            break
        except (GanbenchError, MemoryError) as error:
            if isinstance(error, UsageError) and not points:
                raise
            points.append(failed(value, error))
            continue
        points.append(Point(value, run))
        if not run.ended.finished:
            ended = run.ended
            break
    first, left = made[0], sweep.values[len(points) :]
    labels = tuple(target.label for target in first.targets)
    return Swept(sweep, first.operations, labels, first.baseline, tuple(points), left, ended)
