"""The table of one run: readable units, the ratio with its interval, and the reason wherever a number is missing."""

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pandas as pd

from ..errors import plural
from ..precision import titled
from ..results.columns import DECLARED, unit_of
from ..results.records import RunHeader
from ..results.run import Run
from ..results.statistics import BAND, MIN_ROUNDS, Estimate
from .relative import MAYBE, SURELY, fastest

COLUMNS = ("operation", "target", "time", "speed", "verdict", "ceiling")
NUMBERS = ("time", "ceiling")  # the columns that are set to the right
MARKS = {SURELY: "*", MAYBE: "(*)"}  # of the fastest
STYLES = {  # of a verdict or a status, on a terminal
    "faster": "green", "slower": "yellow", "same": "cyan", "undecided": "dim", "derived": "dim", "baseline": "",
    **dict.fromkeys(("control failed", "invalid", "impossible", "failed", "timeout", "out of memory"), "red"),
    **dict.fromkeys(("unavailable", "unsupported", "not timed"), "dim"),
}  # fmt: skip
MOST_CORES = 1.1  # of one thread; processor time and wall time are not read at the same moment
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
ENERGIES = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"))


def seconds(value: float) -> str:
    """Return a time in the unit that leaves one to three digits before the point; '' for NaN."""
    if math.isnan(value):
        return ""
    scale, unit = next(((s, u) for s, u in TIMES if value >= s), TIMES[-1])
    shown = value / scale
    return f"{shown:.{0 if shown >= 100 else 1 if shown >= 10 else 2}f} {unit}"


def _mebibytes(count: float) -> str:
    value = count / 2**20
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f} MiB"


def _joules(value: float) -> str:
    scale, unit = next(((s, u) for s, u in ENERGIES if abs(value) >= s), ENERGIES[-1])
    return f"{value / scale:.3g} {unit}"


def _millions(count: float) -> str:
    scale, unit = next(((s, u) for s, u in COUNTS if count >= s), (1.0, ""))
    return f"{count / scale:.4g} {unit}".rstrip()


def ratio(value: float) -> str:
    """Return a speed, or another ratio: of two digits behind the point, one must be left."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


WRITTEN: dict[str, Callable[[Any], str]] = {  # by unit
    "seconds": seconds, "bytes": _mebibytes, "joules": _joules, "W": "{:.3g} W".format, "MHz": "{:.0f} MHz".format,
    "instructions": _millions,
    "ratio": ratio, "share": "{:.0%}".format, "change": "{:+.1%}".format, "time": "{:%Y-%m-%d %H:%M}".format,
}  # fmt: skip


def is_number(value: Any) -> bool:
    """Whether a cell holds a number rather than a status or nothing."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)


def text(value: Any, unit: str) -> str:
    """Return a cell as it is shown: a word as it is, a value by its unit, '' where there is none."""
    if isinstance(value, str):
        return value
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    return WRITTEN.get(unit, str)(float(value) if is_number(value) else value) if unit else str(value)


def with_width(row: "pd.Series[Any] | Mapping[Any, Any]", name: str, low: str, high: str) -> str:
    """Return a cell with half of its interval, such as ``5.56 ms ±12.3%``."""
    shown = text(row[name], unit_of(name))
    return shown if math.isnan(row[low]) else f"{shown} ±{(row[high] - row[low]) / 2 / row[name]:.1%}"


def interval(value: float, low: float, high: float) -> str:
    """Return a ratio as ``1.02 [0.99, 1.05]``; without bounds where there are none, '' for NaN."""
    return "" if math.isnan(value) else Estimate(value, low, high).shown(ratio)


def interval_of(row: "pd.Series[Any] | Mapping[Any, Any]", name: str) -> str:
    """Return the ratio of this name in a row, and its interval."""
    return interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def declared(rows: pd.DataFrame, first: str, names: Sequence[str]) -> pd.DataFrame:
    """Return columns of a table of ``load_results`` as text, under their own headings, behind operation and target."""
    lines = [
        [row["operation"], row["target"], *(text(row[name], unit_of(name)) for name in names)]
        for row in rows.to_dict("records")
    ]
    return pd.DataFrame(lines, columns=[first, "target", *(DECLARED[name].heading for name in names)])


def by_speed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``run_table``, of each operation the fastest first and those without a time last."""
    place = {name: number for number, name in enumerate(dict.fromkeys(table["operation"]))}
    ordered = table.assign(place=table["operation"].map(place))
    ordered = ordered.sort_values(["place", "ratio", "median_s"], ascending=[True, False, True], kind="stable")
    return ordered.drop(columns="place").reset_index(drop=True)


def summary(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``table``, that of ``run_table``, as text in ``COLUMNS``, with a mark at the fastest."""
    return in_words(table, fastest(table, lambda *_: run))


def in_words(table: pd.DataFrame, first: "pd.Series[str]") -> pd.DataFrame:
    """Return rows of ``load_results`` as text in ``COLUMNS``; ``first`` is what ``relative.fastest`` says of each."""
    rows = [_row(entry, MARKS.get(word, "")) for (_, entry), word in zip(table.iterrows(), first, strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS), index=table.index)


def marks(run: Run, table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return the mark of each case that is surely the fastest of its operation, or that may be."""
    found = zip(table["operation"], table["target"], fastest(table, lambda *_: run), strict=True)
    return {(operation, target): MARKS[word] for operation, target, word in found if word}


def _row(entry: "pd.Series[Any]", mark: str) -> dict[str, str]:
    shown = {"operation": entry["operation"], "target": entry["target"]}
    if entry["status"] != "ok":
        return dict.fromkeys(COLUMNS, "") | shown | {"time": entry["status"], "verdict": entry["reason"]}
    return shown | {
        "target": f"{entry['target']} {mark}".rstrip(),
        "time": time(entry),
        "speed": _speed(entry),
        "verdict": _verdict(entry),
        "ceiling": _ceiling(entry),
    }


def time(row: "pd.Series[Any] | Mapping[Any, Any]") -> str:
    """Return a row's median with half its interval."""
    return with_width(row, "median_s", "ci_low_s", "ci_high_s")


def _speed(entry: "pd.Series[Any]") -> str:
    if not math.isnan(entry["ratio"]) and entry["verdict"] == "baseline":
        return "1"
    return interval_of(entry, "ratio")


def _verdict(entry: "pd.Series[Any]") -> str:
    """Return the verdict, and what else must be known of a row."""
    notes = [] if pd.isna(entry["verdict"]) else [verdict(entry["verdict"], entry["detectable"], entry["rounds"])]
    if entry["reason"]:
        notes.append(str(entry["reason"]).partition(" (")[0])
    if not pd.isna(entry["steady"]) and not entry["steady"]:
        notes.append("unsteady")
    if not pd.isna(entry["uneven"]) and entry["uneven"]:
        notes.append("uneven")
    if beyond(entry):
        notes.append(f"{entry['cores']:.2g} cores")
    return "; ".join(notes)


def beyond(entry: "pd.Series[Any]") -> bool:
    """Whether a target used more cores than its threads could; False where that is not known."""
    return bool(entry["cores"] > MOST_CORES * entry["threads"])


def verdict(outcome: str, detectable: float, rounds: int) -> str:
    """Return an outcome in words: for one that is undecided, why, such as ``undecided (12%)``."""
    if outcome != "undecided":
        return outcome
    why = plural(rounds, "round") if math.isnan(detectable) else f"{detectable:.0%}"
    return f"undecided ({why})"


def deciding(rounds: int) -> str:
    """Return what may decide between targets that so many rounds did not tell apart."""
    if rounds < MIN_ROUNDS:
        return f"an interval needs at least {MIN_ROUNDS} rounds: ask for more with --budget or --rounds"
    return "more rounds may decide it: --budget, --rigor full"


def _ceiling(entry: "pd.Series[Any]") -> str:
    if math.isnan(entry["percent_of_ceiling"]):
        return ""
    return f"{entry['percent_of_ceiling']:.0f}% {entry['bound']}"


SURE = "mark *: surely the fastest target."
SAME = f"same: within {BAND:.0%}."
UNDECIDED = "undecided (n%): too noisy to call; only differences of at least n% are detectable."
UNSURE = "(*): these targets may be the fastest; they cannot be told apart."
LEGEND = {  # a column and what may stand in its cells: what that means
    ("speed", ""): "speed: baseline time / time.",
    ("speed", "["): "[...]: its 95 % interval.",
    ("ceiling", "%"): "ceiling: share of what the hardware can do.",
    ("target", f" {MARKS[SURELY]}"): SURE,
    ("target", MARKS[MAYBE]): UNSURE,
    ("verdict", "same"): SAME,
    ("verdict", "%)"): UNDECIDED,
    ("verdict", "unsteady"): "unsteady: the times were still changing after the warm-up.",
    ("verdict", "uneven"): "uneven: the speed from undisturbed times (undisturbed_s) lies outside the interval.",
    ("verdict", "derived"): "derived: from two medians that were not measured side by side.",
}


def legend(shown: pd.DataFrame) -> list[str]:
    """Return what the signs that occur in a table of ``summary`` mean."""
    return [
        meaning
        for (name, sign), meaning in LEGEND.items()
        if name in shown and shown[name].astype(str).str.contains(sign, regex=False).any()
    ]


ABOVE = (  # 100 % of a ceiling
    "A ceiling is the best that ganbench's own programs reached. More than 100% says that this ceiling is too low, not "
    "that a program did more than the hardware can: --fresh-ceilings measures it again."
)
INTERVALS = "drawn: | no difference, o the speed, - its interval, on a logarithmic axis between the two numbers above."


def heading(run: RunHeader) -> str:
    """Return the one line above a table: what was measured where."""
    return f"{run.spec.name} ({run.spec.describe()}), {conditions(msgspec.structs.asdict(run))}, {run.care}"


def conditions(of: Mapping[Any, Any]) -> str:
    """Return under which conditions a run measured, or a row was measured, and where."""
    cold = ", cold caches" * (of["caches"] == "cold")
    return f"{titled(of['dtype'], of['precision'])}{cold}, {plural(of['threads'], 'thread')}, {of['machine']}"
