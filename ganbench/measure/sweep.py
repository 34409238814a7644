"""``ganbench compare --sweep``: one variable through several values, each an ordinary run of its own."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import UsageError, unknown
from ..gan import GANSpec
from ..operations import PRODUCTS
from ..registry import split_list
from .models import CHANGES, changed
from .plan import Plan, make_plan

VARIABLES = ("batch", "width", "threads", "critic_steps", "n")
LARGEST = 2**31 - 1  # no machine has the memory for more
EXAMPLE = "such as batch=1,8,32 or n=64..4096"


class Sweep(NamedTuple):
    """One variable and its values, rising."""

    variable: str
    values: tuple[int, ...]


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


def plans(sweep: Sweep, spec: GANSpec, ops: str | Sequence[str] | None, **settings: Any) -> tuple[Plan, ...]:
    """Return the plan of each value: ``spec`` or the threads altered, all else as ``make_plan`` takes it.

    Raises ``UsageError`` where one of them cannot be.
    """
    made = []
    if sweep.variable == "n":
        ops = ops or PRODUCTS[:1]
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
