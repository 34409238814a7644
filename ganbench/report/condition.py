"""Conditions that fail a comparison: ``torch/gan_iteration slower than 1.10x``, decided from its table.

A condition speaks of the target's time against the baseline's: ``slower than 1.10x`` is more than 1.10 times
the baseline's time, ``faster than 2x`` more than 2 times its speed. It holds where the whole 95 % interval
lies beyond that, fails to hold where the whole interval lies on the other side, and is undecided otherwise.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from .. import registry
from ..errors import UsageError, unknown
from ..registry import Target

if TYPE_CHECKING:
    import pandas as pd

FORM = re.compile(r"(\S+)/(\S+)\s+(slower|faster)\s+than\s+(\d+\.?\d*|\.\d+)\s*x", re.ASCII)
EXAMPLE = "torch/gan_iteration slower than 1.10x"

Answer = Literal["holds", "does not hold", "undecided", "not measured"]
# Of several conditions the last of these counts.
EXIT_CODES: dict[Answer, int] = {"does not hold": 0, "undecided": 3, "not measured": 4, "holds": 1}
NOT_MEASURED = EXIT_CODES["not measured"]


class Condition(NamedTuple):
    """One condition, as it was written and as it was understood."""

    text: str
    target: str  # the label of a target that is compared
    operation: str
    slower: bool
    factor: float


class Finding(NamedTuple):
    """What a run says of a condition, and in which words."""

    condition: Condition
    outcome: Answer
    why: str

    def __str__(self) -> str:
        return f"fail if {self.condition.text}: {self.outcome}: {self.why}"


def parse(text: str, targets: Sequence[Target], operations: Sequence[str], baseline: str) -> Condition:
    """Return the condition that ``text`` states of ``targets`` on ``operations``, of which ``baseline`` is the label.

    Raises ``UsageError`` for another form, and for a target or an operation that is not compared.
    """
    match = FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"condition '{text}' is not valid: TARGET/OPERATION slower|faster than FACTORx, such as '{EXAMPLE}'"
        )
    target, operation, word, factor = registry.parse_target(match[1]).label, match[2], match[3], float(match[4])
    labels = [one.label for one in targets]
    if target not in labels:
        raise unknown("target of a condition", match[1], labels)
    if target == baseline:
        others = ", ".join(label for label in labels if label != target) or "no other is compared"
        raise UsageError(f"condition '{text}' compares the baseline '{target}' with itself (others: {others})")
    if operation not in operations:
        raise unknown("operation of a condition", operation, operations)
    if not 0 < factor < math.inf:
        raise UsageError(f"condition '{text}' is not valid: the factor must be more than 0, and finite")
    return Condition(" ".join(text.split()), target, operation, word == "slower", factor)


def evaluate(condition: Condition, table: "pd.DataFrame") -> Finding:
    """Return whether ``condition`` holds in ``table``, which ``report.repeated.joined`` gives."""
    chosen = table[(table["target"] == condition.target) & (table["operation"] == condition.operation)]
    if chosen.empty:
        return Finding(condition, "not measured", "the run has no such row")
    row = chosen.iloc[0]
    if row["status"] != "ok":
        return Finding(condition, "not measured", f"{row['status']}: {row['reason']}")
    if math.isnan(row["ratio"]):
        return Finding(condition, "not measured", f"the baseline {row['baseline']} has no time to compare with")
    speed = (row["ratio"], row["ratio_low"], row["ratio_high"])
    if condition.slower:
        (value, high, low), quantity = (1 / number for number in speed), "time"
    else:
        (value, low, high), quantity = speed, "speed"
    found = f"{quantity} {value:.3f} times that of {row['baseline']}"
    if math.isnan(low):
        return Finding(condition, "undecided", f"{found}, but {row['rounds']} rounds give no interval")
    runs = int(row.get("runs", 1))
    found += f" [{low:.3f}, {high:.3f}]" + f" over {runs} runs" * (runs > 1)
    if row["verdict"] == "control failed":
        return Finding(condition, "undecided", f"{found}, but the control failed")
    if low > condition.factor:
        return Finding(condition, "holds", f"{found}, all of it beyond {condition.factor:g}")
    if high <= condition.factor:
        return Finding(condition, "does not hold", f"{found}, all of it within {condition.factor:g}")
    return Finding(condition, "undecided", f"{found} contains {condition.factor:g}: more rounds make it narrower")


def exit_code(findings: Iterable[Finding]) -> int:
    """Return the code to leave with: that of the gravest finding, 0 of none."""
    return max((EXIT_CODES[finding.outcome] for finding in findings), key=[*EXIT_CODES.values()].index, default=0)
