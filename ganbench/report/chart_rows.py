"""What charts and the page show, as plain rows: the newest of each case, what was varied, and how it changed.

Names of fields are those of ``ganbench.load_results``, and a few that follow from them:

case          the operation, with its batch or its shape where a context has several
label         the target; ``target`` has the version behind it where a context has several
word          what stands where there is no number, such as ``unavailable``; '' where there is one
start_s       import and first call
intensity     FLOP per byte
roof_gflops   what the ceilings measured on that machine allow
"""

import functools
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ..operations import ITERATION
from ..registry import library_of
from ..results.bounds import BEYOND_CACHES, Ceilings
from ..results.case import KEYS, without
from ..results.columns import COLUMNS
from ..results.records import digits
from ..results.run import Run, RunOf
from ..results.table import control_of
from .answer import answered
from .escape import visible
from .formats import records
from .repeated import commits, confirmed
from .selection import Selection, contexts, has_time, instead
from .start import start_of

Row = dict[str, Any]
Context = tuple[Any, ...]  # the values of ``KEYS``
FIELDS = [*(name for name in COLUMNS if name != "samples"), *"case label word start_s intensity roof_gflops".split()]
TIMES = [*KEYS, *"case target median_s ci_low_s ci_high_s timestamp commit framework_version run_id confirmed".split()]
OF_TIMES = "operation shape batch critic_steps label status dirty".split()  # what follows from them
VARIED = [*KEYS, *"variable value case target median_s ci_low_s ci_high_s".split()]
TENTHS = 10
TOY = "tiny"  # the model of which a result says how long calls take, and little of training


def cells(found: Selection) -> list[Row]:
    """Return the newest row of each case with ``FIELDS``."""
    rows = with_cases(found.rows)
    rows = rows.assign(
        word=[instead(row) for row in rows.to_dict("records")],
        start_s=start_of(rows),
        intensity=rows["flops"].astype("float64") / rows["bytes"].astype("float64"),
        roof_gflops=100 * rows["gflops"] / rows["percent_of_ceiling"],
    )
    return plain(rows, FIELDS)


def within(rows: Iterable[Row], context: Sequence[Any], free: str = "") -> list[Row]:
    """Return the rows of one context, whatever the key ``free`` is."""
    wanted = [(name, value) for name, value in zip(KEYS, context, strict=True) if name != free]
    return [row for row in rows if all(row[name] == value for name, value in wanted)]


def evidence(rows: Iterable[Row]) -> int:
    """Return how often targets were timed beside others: rounds x operations x targets; 0 where nothing is compared.

    What asv measured has no rounds.
    """
    rounds: dict[Any, list[int]] = {}
    for row in rows:
        if not row["word"] and row["source"] == "compare":
            rounds.setdefault((*(row[name] for name in KEYS), row["case"]), []).append(row["rounds"] or 0)
    return sum(sum(of) for of in rounds.values() if len(of) > 1)


def by_context(rows: Sequence[Row]) -> dict[Context, list[int]]:
    """Return the places of the rows of each context, the newest context first."""
    places: dict[Context, list[int]] = {context: [] for context in contexts(rows)}
    for place, row in enumerate(rows):
        places[tuple(row[name] for name in KEYS)].append(place)
    return places


def by_case(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of each case."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["case"], []).append(row)
    return found


def best_known(rows: Sequence[Row]) -> list[Context]:
    """Return the contexts in the order in which one is chosen to be shown: those of the toy model come last.

    Of the others that with most evidence is the first, of equals the newest.
    """
    of = {context: [rows[place] for place in places] for context, places in by_context(rows).items()}
    return sorted(of, key=lambda one: (any(row["preset"] != TOY for row in of[one]), evidence(of[one])), reverse=True)


def leading(rows: Sequence[Row]) -> str:
    """Return the case of one context that is answered for: of its operation that is, the one with most evidence.

    The newest of equals.
    """
    timed = [row for row in rows if not row["word"]] or rows
    operation = answered(row["operation"] for row in timed)
    of = by_case(row for row in timed if row["operation"] == operation)
    return max(of, key=lambda case: (evidence(of[case]), max(row["timestamp"] or "" for row in of[case])))


def roofs(rows: Sequence[Row], run_of: RunOf) -> list[Row]:
    """Return the corners of the roofs above timed rows: what the ceilings of each device's newest run allow.

    A device has one roof for its memory, one for its caches if they were measured, and one plateau.
    """
    rows = sorted((row for row in rows if row["roof_gflops"] is not None), key=lambda row: row["timestamp"] or "")
    low, high = (f(row["intensity"] for row in rows) for f in (min, max)) if rows else (0, 0)
    found: list[Row] = []
    for device, row in {row["device"]: row for row in rows}.items():
        run = run_of(row["machine"], row["run_id"])
        ceilings = run.ceilings if run else Ceilings(())
        peak, memory = ceilings.product(device), ceilings.bandwidth(device, BEYOND_CACHES)
        caches = ceilings.bandwidth(device, 0)
        if peak is None or memory is None or caches is None:
            continue
        for name, rate in {"memory": memory.ceiling.value, "caches": caches.ceiling.value}.items():
            ridge = peak.ceiling.value / rate
            corners = {
                min(low, ridge) / 2: f"{name} {rate / 1e9:.3g} GB/s",
                ridge: f"{peak.ceiling.value / 1e9:.3g} GFLOP/s" * (name == "memory"),
                max(high, ridge) * 2: "",
            }
            for x, said in corners.items():
                y = digits(min(x, ridge) * rate / 1e9)
                found.append({"roof": f"{device} {name}", "said": said, "intensity": digits(x), "roof_gflops": y})
    return found


def spread(samples: Any, median_s: float) -> list[int]:
    """Return how the visits of a row lie: the ends of their tenths in thousandths of its time; [] of few."""
    if not isinstance(samples, list) or len(samples) < TENTHS:
        return []
    ends = [min(samples), *statistics.quantiles(samples, n=TENTHS, method="inclusive"), max(samples)]
    return [round(1000 * end / median_s) for end in ends]


def limit(row: Row, run: Run | None) -> str | None:
    """Return what limits a row: ``compute`` or ``memory``, or ``call`` where a call of nothing takes longer than both.

    None where no ceilings were measured.
    """
    if row["bound"] is None or run is None:
        return row["bound"]  # type: ignore[no-any-return]
    targets = run.header.targets
    library = next((library_of(one, targets).label for one in targets if one.label == row["label"]), "")
    shortest = run.ceilings.latencies(row["device"]).get(library, 0.0)
    return "call" if shortest > row["percent_of_ceiling"] / 100 * row["median_s"] else row["bound"]


def forest(rows: Sequence[Row]) -> list[Row]:
    """Return what a chart of ratios shows: each case that has several, with a head, the fastest first, and the control.

    A head has the case, and no ratio.
    """
    found: list[Row] = []
    for case, mine in by_case(row for row in rows if row["ratio"] is not None).items():
        beside = [row for row in mine if row["ratio_low"] is not None and row["control_ratio"] is not None]
        if len(mine) > 1:
            found += [{"case": case, "target": "", "head": case, "verdict": None, "ratio": None}]
            found += sorted(mine, key=lambda row: row["ratio"], reverse=True)
            control = {"case": case, "target": "control", "verdict": "control"}
            found += [control | control_of(row).named("ratio") for row in beside[:1]]
    return found


def paid(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of one case of a whole iteration, the newest, whose start is known."""
    timed = [row for row in rows if row["operation"] == ITERATION and row["start_s"] is not None and not row["word"]]
    newest = max(timed, key=lambda row: row["timestamp"] or "", default={"case": None})["case"]
    return [row for row in timed if row["case"] == newest]


def varied(found: Selection) -> list[Row]:
    """Return the rows of which one of batch, critic_steps, width, n and threads was varied alone, with ``VARIED``."""
    rows = found.rows[has_time(found.rows)]
    series: dict[tuple[Any, ...], list[Row]] = {}
    known: Sequence[Mapping[Any, Any]] = rows.to_dict("records")
    for row in known:
        for variable, value, rest in (*_variables(row), ("threads", row["threads"], row["shape"])):
            told = {**row, "variable": variable, "value": value, "case": f"{row['operation']} {rest}".strip()}
            same = (told[name] for name in (*KEYS, "variable", "case") if name != variable)
            series.setdefault(tuple(same), []).append(told)
    several = [group for group in series.values() if len({row["value"] for row in group}) > 1]
    chosen = [row for group in several for row in sorted(group, key=lambda row: row["value"])]
    return plain(pd.DataFrame(chosen, columns=VARIED), VARIED)


def _variables(row: Mapping[Any, Any]) -> Iterator[tuple[str, int, str]]:
    """Yield what a shape may be one value of: variable, value, and the rest, which must be the same."""
    sizes = row["sizes"]
    if len(sizes) < 2:
        return
    if len(set(sizes)) == 1:
        yield "n", sizes[0], ""
        return
    for name in ("batch", "critic_steps"):
        if pd.notna(row[name]):
            yield name, int(row[name]), without(row, name)
    if len(sizes) > 4:  # a model: batch, noise, widths of the generator, widths of the discriminator, 1
        widths = sizes[1 + pd.notna(row["critic_steps"]) :]
        yield "width", max(widths[1:-1]), f"batch {row['batch']}, {len(sizes)} sizes, noise {widths[0]}"


def history(found: Selection, most: int, of_all: int = sys.maxsize) -> tuple[list[Row], int]:
    """Return the times of each case that was measured more than once, with ``TIMES``, and how many were left out.

    Of each series the newest ``most`` are kept, and of these the newest ``of_all``. ``confirmed`` stands at the first
    time of a commit of which two runs or more were made, as of the commit before.
    """
    names = [*KEYS, "case", "target"]
    older = found.older[[name for name in found.older if name in (*TIMES, *OF_TIMES)]]
    rows = with_cases(older[has_time(older)])
    rows = rows.sort_values("timestamp", kind="stable", na_position="first")
    rows["target"] = rows["label"]
    rows["series"] = rows.groupby(names, sort=False, dropna=False).ngroup()
    rows = rows[rows["series"].duplicated(keep=False)]
    rows["at"] = commits(rows)
    said = confirmed(rows.assign(commit=rows["at"]), names)
    rows["confirmed"] = ""
    begins = ~rows.duplicated(["series", "at"])
    of = rows.loc[begins, [*names, "at"]].itertuples(index=False, name=None)
    rows.loc[begins, "confirmed"] = [said.get(one, "") for one in of]
    kept = rows.groupby("series", sort=False).tail(most).tail(of_all)
    return plain(kept, TIMES), len(rows) - len(kept)


def with_cases(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with a name for each case: batch or critic_steps, where nothing else differs, or else the shape."""
    sizes = rows[["shape", "batch", "critic_steps"]].itertuples(index=False, name=None)
    rows = rows.assign(rest=[_rest(*one) for one in sizes])
    groups = rows.groupby([*KEYS, "operation"], dropna=False, sort=False)
    several = {name: groups[name].transform("nunique") > 1 for name in ("critic_steps", "batch", "rest")}
    operation = rows["operation"].astype(str)
    named = operation
    for name in ("critic_steps", "batch"):
        named = named.where(~several[name], named + f" {name} " + rows[name].astype(str))
    return rows.assign(case=named.where(~several["rest"], operation + " " + rows["shape"].astype(str)).astype(object))


@functools.cache
def _rest(shape: str, batch: Any, critic_steps: Any) -> str:
    """Return a shape without its batch and critic_steps."""
    skipped = pd.notna(batch) + pd.notna(critic_steps)
    return "x".join(str(shape).split("x")[skipped:])


def plain(table: pd.DataFrame, columns: Sequence[str]) -> list[Row]:
    """Return rows whose values JSON knows: text, numbers, truth values, or None where there is none."""
    return [{str(name): _value(value) for name, value in row.items()} for row in records(table[list(columns)])]


def _value(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return visible(value) if isinstance(value, str) else value
