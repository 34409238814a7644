"""One run as a tidy DataFrame: a row for each operation and target."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, median, quantiles
from typing import TYPE_CHECKING, Any

from ..operations import ITERATION, shape_of
from ..operations.products import FLOOR
from ..registry import Target, library_of
from .bounds import Bound
from .case import hardware_of, model_label
from .columns import COLUMNS, DECLARED, DTYPES
from .records import EnergyRecord, Measurement, PowerRecord, RunHeader, WorkerRecord
from .run import Run, open_run, timed
from .statistics import Estimate, Rounds, beyond_band, judge, middle, paired, speed, speed_ratio, typical, undisturbed

if TYPE_CHECKING:
    import pandas as pd

NO_COLUMN = (ArithmeticError, TypeError, ValueError)  # what numbers raise that no column can hold
COUNTED = "count"  # the source of rows without times
WIDE = 0.01  # a tolerance above this is told
Rows = list[dict[str, Any]]
Values = list[list[Any]]  # of rows: what stands in each column
# What a row must say so that those that are shown can be chosen, and how a case's time changed: a fifth of the work.
OUTLINE = (
    "run_id timestamp machine hardware source operation backend target dtype precision caches model widths data "
    "data_digest shape batch critic_steps threads status reason median_s ci_low_s ci_high_s baseline framework_version "
    "commit dirty"
).split()
CONTROL = ("control_ratio", "control_low", "control_high")


def run_table(run: Run) -> "pd.DataFrame":
    """Return one run as a DataFrame with ``COLUMNS``."""
    return frame(values(run_rows(run)))


def values(rows: Iterable[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> Values:
    """Return what stands in each column of rows; NaN where a row does not say it."""
    return [[row.get(name, math.nan) for name in columns] for row in rows]


def rows_of(file: Path, columns: Sequence[str], content: bytes | None = None) -> Values:
    """Return the ``values`` of a run file's rows, of which no more is worked out; raises as ``open_run`` does."""
    work_out = run_outlines if set(columns) <= set(OUTLINE) else run_rows
    return values(work_out(open_run(file, content)), columns)


def frame(rows: Iterable[list[Any]], columns: list[str] = COLUMNS) -> "pd.DataFrame":
    """Return the ``values`` of rows as a DataFrame whose columns and types do not depend on what the rows hold."""
    import pandas as pd  # not above: the processes that only keep rows begin in half the time without it

    table = pd.DataFrame(list(rows), columns=columns)
    types = {name: DTYPES.get(DECLARED[name].type) for name in columns}
    table = table.astype({name: kind for name, kind in types.items() if kind})
    table["timestamp"] = pd.to_datetime(table["timestamp"], utc=True, format="ISO8601")
    return table


def run_outlines(run: Run) -> Rows:
    """Return one row per operation and target of a run, in the order that was asked for, with ``OUTLINE``."""
    header = run.header
    sizes = {one.operation: one.shape for one in run.measurements}  # the same in every line of an operation
    rows, common = [], _common(header)
    targets = [(one, common | _of_target(one, run.workers.get(one.label), header)) for one in header.targets]
    for operation in (name for name in header.operations if name in sizes):
        shape = shape_of(operation, sizes[operation], header.spec)
        parts: dict[str, Any] = {"batch": shape.batch, "critic_steps": shape.get("critic_steps")}
        work = parts | {"operation": operation, "shape": str(shape)}
        for target, known in targets:
            if taken := run.cases.get((operation, target.label, False)):
                time, bound = run.time(operation, target.label), run.bound(operation, target.label)
                row = known | work | _timed(taken, time)
                rows.append(row | (_bounded(time, bound) if time and bound else {}))
    return rows


def run_rows(run: Run) -> Rows:
    """Return the same rows with all that is known of them."""
    header, rows = run.header, run_outlines(run)
    targets = {one.label: one for one in header.targets}
    spent = [one for one in run.all(EnergyRecord) if one.joules > 0]
    idling = run.all(PowerRecord)
    for row in rows:
        operation, label = case = row["operation"], row["target"]
        rounds = run.visits(operation, label)
        row |= _measured(run.cases[*case, False], rounds, row)
        if operation == ITERATION:
            products = run.levels(FLOOR, library_of(targets[label], header.targets).label)
            shared = [(products[i], own) for i, own in run.levels(*case).items() if i in products]
            if shared:
                row["percent_of_floor"] = 100 * speed_ratio(*zip(*shared, strict=True)).value
        if row["status"] == "ok" and (own := [one for one in spent if (one.operation, one.target) == case]):
            row |= _energy(own, idling, row["device"])
        if row["status"] != "impossible":
            baseline = run.copies(operation, header.baseline)
            row |= _against(baseline, rounds, run.control(operation), is_baseline=label == header.baseline)
    return rows


def _common(header: RunHeader) -> dict[str, Any]:
    """Return the columns that are the same in every row of a run."""
    names = "run_id timestamp machine dtype precision caches data data_digest threads baseline commit dirty".split()
    row = {name: getattr(header, name) for name in names} | {"hardware": hardware_of(header)}
    row["source"] = COUNTED if header.count else "compare"
    return row | {"preset": header.spec.name, "model": model_label(header.spec), "widths": header.spec.widths}


def _of_target(target: Target, worker: WorkerRecord | None, header: RunHeader) -> dict[str, Any]:
    """Return the columns that are the same in every row of a target."""
    row: dict[str, Any] = {name: getattr(target, name) for name in ("backend", "mode", "device")}
    row["target"] = target.label
    if worker is not None:
        row |= {"denormals": worker.denormals, "framework_version": worker.framework_version}
    if worker is not None and not header.count:
        row |= {"import_s": worker.import_s, "import_bytes": worker.import_bytes}
    return row


def _bounded(time: Estimate, bound: Bound) -> dict[str, Any]:
    """Return how near a case came to what the hardware could do; where it claims far more, that it is impossible."""
    columns = {"percent_of_ceiling": 100 * bound.seconds / time.value, "bound": bound.by}
    reason = bound.refutes(time)
    return columns | ({"status": "impossible", "reason": reason} if reason else {})


def _timed(taken: Sequence[Measurement], time: Estimate | None) -> dict[str, Any]:
    """Return what work one case is, what became of it and the time that it takes."""
    first, last = taken[0], taken[-1]
    row: dict[str, Any] = {"flops": first.flops, "bytes": first.bytes, "status": last.status, "reason": last.reason}
    if last.status == "ok" and (gate := first.verification) is not None:
        if gate.loose:
            row["reason"] = f"loose tolerance {gate.tolerance:.0e}"
        elif gate.widest > max(gate.tolerance, WIDE):
            row["reason"] = f"tolerance {gate.widest:.1g} (in this model, correct programs may differ by that much)"
    if time is not None:
        row |= dict(zip(("median_s", "ci_low_s", "ci_high_s"), time, strict=True)) | {"rounds": len(timed(taken))}
    return row


def _measured(taken: Sequence[Measurement], rounds: Rounds, known: dict[str, Any]) -> dict[str, Any]:
    """Return the other columns that follow from one case alone."""
    first, last = taken[0], taken[-1]
    row: dict[str, Any] = {}
    errors = [entry.verification.max_rel_error for entry in taken if entry.verification is not None]
    if errors:
        row["max_rel_error"] = max(errors)
    starts = [e.prepare_s + e.first_run_s for e in taken if e.prepare_s is not None and e.first_run_s is not None]
    if starts:
        row |= {"prepare_s": first.prepare_s, "first_run_s": first.first_run_s, "first_call_s": starts[0]}
    if len(starts) > 1:  # the compile cache is private to the run: cold in its first round, warm in the others
        row["first_call_warm_s"] = median(starts[1:])
    for name in ("host_peak_bytes", "device_peak_bytes"):
        row[name] = max((peak for e in taken if (peak := getattr(e, name)) is not None), default=None)
    if last.status != "ok":
        return row
    if counts := last.instructions:
        row["instructions"] = median(counts)
        row["instructions_spread"] = (max(counts) - min(counts)) / row["instructions"]
    if rounds:
        samples = [sample for entry in taken for sample in entry.samples]
        low, _, high = quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [math.nan] * 3
        disturbances = [entry.disturbance for entry in taken if entry.disturbance is not None]
        held, visits = held_down(taken)
        row |= {
            "iqr_s": high - low,
            "undisturbed_s": middle([*map(undisturbed, rounds.values())]),
            "number": first.iterations,
            "samples": samples,
            "gflops": first.flops / known["median_s"] / 1e9,
            "steady": _steady(timed(taken)),
            "cores": _middle(entry.cores for entry in taken if entry.cores is not None),
            "steal": _middle(steal for d in disturbances if (steal := d.mean.steal) is not None),
            "sm_mhz": _middle(clock for d in disturbances if (clock := d.mean.sm_mhz) is not None),
            "throttled": held / visits if visits else math.nan,
            "latency_s": _middle(seconds for entry in taken for seconds in entry.latency_s),
            "device_s": _middle(seconds for entry in taken for seconds in entry.device_s),
        }
        if starts:  # what the first call cost beyond the work that it did
            row["compile_s"] = max(0.0, starts[0] - known["median_s"] * first.iterations_per_call)
    return row


def _energy(spent: Sequence[EnergyRecord], idling: Sequence[PowerRecord], device: str) -> dict[str, Any]:
    """Return the columns on the energy of an iteration."""
    found = {one.round: one for one in spent}
    idle = {one.round: one.watts for one in idling if one.device == device and one.watts is not None}
    row = typical([one.joules for one in found.values()]).named("joules")
    row["watts"] = median(one.joules / one.seconds for one in found.values())
    if above := [one.joules - idle[number] * one.seconds for number, one in found.items() if number in idle]:
        row |= {"joules_above_idle": median(above), "idle_w": median(idle.values())}
    return row


def held_down(taken: Iterable[Measurement]) -> tuple[int, int]:
    """Return at how many visits a GPU's clock was held down, and of how many visits that is known."""
    told = [(of.throttled, len(one.samples)) for one in taken if (of := one.disturbance) and of.throttled is not None]
    return sum(held for held, _ in told), sum(visits for _, visits in told)


def _middle(values: Iterable[float]) -> float:
    """Return the median; NaN of none."""
    return median(found) if (found := list(values)) else math.nan


def _steady(taken: Sequence[Measurement]) -> bool:
    """Whether the times had settled: no drift beyond the band from each round's first visit to its last.

    With too few rounds to tell, whether the first round's warm-up ended in a steady state.
    """
    drift = speed_ratio([entry.samples[0] for entry in taken], [entry.samples[-1] for entry in taken])
    return not beyond_band(drift) if drift.has_interval else bool(taken[0].steady)


def _against(baseline: Sequence[Rounds], visits: Rounds, control: Estimate | None, is_baseline: bool) -> dict[str, Any]:
    """Return the columns that compare a case with the baseline's copies, round by round."""
    row: dict[str, Any] = {}
    if control is not None:
        row |= dict(zip(CONTROL, control, strict=True))
    if is_baseline:
        return row | {"ratio": 1.0, "verdict": "baseline"} if visits else row
    shared = paired(baseline, [visits])
    if not shared:  # nor any visits, where the case failed in the end
        return row
    row |= judge(ratio := speed(shared), len(shared), control).named("ratio")
    if ratio.has_interval:  # whether the verdict would speak of another ratio, had nothing disturbed either
        copies = [geometric_mean(undisturbed(copy[i]) for copy in baseline if i in copy) for i in shared]
        calm = middle([b / t for b, t in zip(copies, (undisturbed(visits[i]) for i in shared), strict=True)])
        row["uneven"] = not ratio.low <= calm <= ratio.high
    return row


def control_of(row: "Mapping[Any, Any] | pd.Series[Any]") -> Estimate:
    """Return the baseline of a row's run against its second copy."""
    return Estimate(*(row[name] for name in CONTROL))
