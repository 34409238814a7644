"""The lines under a table: control, verification, ceilings, floor and disturbance."""

import math
from statistics import fmean

import pandas as pd

from ..errors import plural
from ..operations import operation as make_operation
from ..operations.products import FLOOR
from ..registry import library_of
from ..results.bounds import BEYOND_CACHES, Ceilings, disturbed
from ..results.records import EnergyRecord, PowerRecord, Resumed, RunHeader, StrayRecord
from ..results.run import Run
from ..results.statistics import MIN_ROUNDS, control_failed, detectable_after, typical
from ..results.table import control_of, held_down
from .table import ABOVE, beyond, deciding, interval, seconds

LONGER = 4  # times a run that was too short


def remarks(run: Run, table: pd.DataFrame) -> list[str]:
    """Return the lines that every reader needs: control, verification, and warnings."""
    there = run.header.environment
    lines = [control_line(table)]
    if not pd.isna(worst := table.loc[table["status"] == "ok", "max_rel_error"].max()):
        lines.append(f"verified against float64 before timing: worst relative error {worst:.0e}")
    lines += _gates(table)
    undecided = table.loc[table["verdict"].eq("undecided"), "rounds"]
    if (undecided < MIN_ROUNDS).any():
        lines.append(f"undecided (n rounds): {deciding(int(undecided.min()))}")
    lines += [_too_noisy(run, table), _busy_ceilings(run.ceilings), _above(table), _limited(run.header)]
    if tuning := there.get("tuning"):
        lines.append(f"environment variables that may change the times: {', '.join(tuning)}")
    if missing := there.get("uncontrolled"):
        lines.append(f"not controlled on this system: {'; '.join(missing)}")
    if rounds := [f"round {one.round} ({one.timestamp})" for one in run.all(Resumed)]:
        lines.append(f"resumed with {', '.join(rounds)}")
    return [line for line in (*lines, _beyond(table), _strays(run), *_energy(run)) if line]


def details(run: Run, table: pd.DataFrame) -> list[str]:
    """Return the lines about the machine: its ceilings, the floor of an iteration, and the disturbance."""
    devices = dict.fromkeys(target.device for target in run.header.targets)
    lines = [_ceilings(run.ceilings, device) for device in devices]
    visits = sum(len(one.samples) for one in run.measurements)
    duty = f"{visits:,} visits, in which {run.duty:.0%} of the run's seconds were timed" if visits else ""
    lines += [_interpreters(run), _floor(run, table), _counted(run), duty, disturbance(run)]
    return [line for line in lines if line]


def _interpreters(run: Run) -> str:
    """Return which targets ran in another Python than ganbench; '' if none did."""
    started = {label: f", Python {worker.python}" for label, worker in run.workers.items()}
    found = [f"{one} in {one.python}{started.get(one.label, '')}" for one in run.header.targets if one.python]
    return f"interpreters: {'; '.join(found)}" if found else ""


def _too_noisy(run: Run, table: pd.DataFrame) -> str:
    """Return what more time would tell apart, where rows are undecided."""
    rows = table[table["verdict"].eq("undecided") & (table["rounds"] >= MIN_ROUNDS)]
    if rows.empty:
        return ""
    rounds, smallest = int(rows["rounds"].median()), float(rows["detectable"].median())
    later = detectable_after(smallest, rounds, LONGER * rounds)
    budget = math.ceil(LONGER * max(one.elapsed_s for one in run.measurements) / 60)
    fewer = "; 'ganbench doctor' says whether --threads 1 would detect smaller ones" if run.header.threads > 1 else ""
    return (
        f"undecided rows: {rounds} rounds on this machine can detect differences of {smallest:.0%} and more; "
        f"{LONGER} times as long (--budget {budget}m) should detect {later:.0%}{fewer}"
    )


def _gates(table: pd.DataFrame) -> list[str]:
    """Return each reason for a tolerance that is wider than usual, once."""
    reasons = table.loc[(table["status"] == "ok") & table["reason"].notna(), "reason"].drop_duplicates()
    why = ": rounding may flip a ReLU in this model, which moves some weights by 2·lr"
    return [f"{reason}{why * reason.startswith('loose tolerance')}" for reason in reasons if reason]


def _limited(header: RunHeader) -> str:
    quota, allowed, there = (header.environment.get(name) for name in ("quota", "allowed_cpus", "logical_cpus"))
    found = [] if quota is None else [f"a control group allows {quota:.2g} cores of processor time"]
    if allowed and there and allowed < there:
        found.append(f"{allowed} of {there} processors may be used")
    return f"limited: {'; '.join(found)}" if found else ""


def _beyond(table: pd.DataFrame) -> str:
    found = table[[beyond(row) for _, row in table.iterrows()]]
    if found.empty:
        return ""
    used = ", ".join(f"{row['target']} used {row['cores']:.2g} in {row['operation']}" for _, row in found.iterrows())
    threads = plural(found["threads"].iloc[0], "thread")
    return (
        f"more cores than {threads} can use, in threads or processes of its own: {used}; "
        "the others had fewer, so these times cannot be compared with theirs"
    )


def _strays(run: Run) -> str:
    found = run.all(StrayRecord)
    if not found:
        return ""
    names = ", ".join(sorted({name for record in found for name in record.names}))
    operations = ", ".join(dict.fromkeys(record.operation for record in found))
    return (
        f"not alone: processes that a backend has started ({names}) used up to "
        f"{max(record.cores for record in found):.2g} cores while {operations} was timed, so all times are too long"
    )


def control_line(table: pd.DataFrame) -> str:
    """Return the line about the control: the baseline against a second copy of itself."""
    parts, failed = [], []
    for operation, rows in table.groupby("operation", sort=False):
        control = control_of(rows.iloc[0])
        if math.isnan(control.value):
            continue
        parts.append(f"{operation} {interval(*control)}")
        if control_failed(control):
            failed.append(str(operation))
    if not parts:
        return ""
    end = f"; failed on {', '.join(failed)}: no verdict there" if failed else ""
    baseline = table["baseline"].iloc[0]
    return f"control ({baseline} / its second copy): {', '.join(parts)}{end}"


def _ceilings(found: Ceilings, device: str) -> str:
    product = found.product(device)
    if product is None:
        return ""
    parts = [f"{product.ceiling.value / 1e9:.3g} GFLOP/s ({product.library}, {product.ceiling.size}² product)"]
    if memory := found.bandwidth(device, BEYOND_CACHES):
        size = memory.ceiling.size
        parts.append(f"memory {memory.ceiling.value / 1e9:.3g} GB/s ({size / 2**20:.0f} MiB)")
        caches = [best.ceiling.value for best in found.of("bandwidth", device) if best.ceiling.size < size]
        parts += [f"caches up to {max(caches) / 1e9:.3g} GB/s"] if caches else []
    calls = (f"{library} {seconds(shortest)}" for library, shortest in found.latencies(device).items())
    return f"ceilings on {device}{found.when(device)}: {', '.join(parts)}; smallest call: {', '.join(calls)}"


def _busy_ceilings(found: Ceilings) -> str:
    """Return the line about ceilings that were measured on a busy machine; '' if there are none."""
    if not found.busy:
        return ""
    names = ", ".join(f"{record.library} on {record.device}" for record in found.busy)
    why = f"are of a busy machine and may be too low: {disturbed(found.busy)} meanwhile"
    return f"ceilings ({names}) {why}; they are not kept for later runs"


def _above(table: pd.DataFrame) -> str:
    """Return the line about cases that are faster than their ceiling; '' if there are none."""
    rows = table[(table["status"] == "ok") & (table["percent_of_ceiling"].round() > 100)]
    cases = [f"{one['operation']} on {one['target']} ({one['percent_of_ceiling']:.0f}%)" for _, one in rows.iterrows()]
    return f"above the ceiling: {', '.join(cases)}. {ABOVE}" if cases else ""


def _floor(run: Run, table: pd.DataFrame) -> str:
    """Return the time of an iteration's matrix products alone, and its share of each target's time."""
    rows = table[table["percent_of_floor"].notna()]
    parts, targets = [], run.header.targets
    for library in dict.fromkeys(library_of(target, targets) for target in targets):
        floor = [one for one in run.cases.get((FLOOR, library.label, False), []) if one.samples]
        own = rows[(rows["backend"] == library.backend) & (rows["device"] == library.device)]
        if not floor or own.empty:
            continue
        shares = ", ".join(f"{row['percent_of_floor']:.0f}% of {row['target']}'s time" for _, row in own.iterrows())
        least = typical([typical(record.samples).value for record in floor]).value
        parts.append(f"{library.label} {seconds(least)} ({shares})")
        alone = [typical(record.device_s).value for record in floor if record.device_s]
        if alone and own["device_s"].notna().any():
            best, there = own.sort_values("device_s").iloc[0], typical(alone).value
            parts[-1] += (
                f", on the device {seconds(there)}, {there / best['device_s']:.0%} of {best['target']}'s "
                f"{seconds(best['device_s'])} there"
            )
    if not parts:
        return ""
    if not run.header.spec.convolutional:
        return f"floor of gan_iteration, its matrix products alone: {'; '.join(parts)}"
    windows = "the products of its windows alone, which multiply zeros of padding, too"
    return f"floor (im2col) of gan_iteration, {windows}: {'; '.join(parts)}"


def _counted(run: Run) -> str:
    """Return both counts of FLOP where padding makes a difference; '' if it makes none."""
    asked = [make_operation(name, run.header.spec) for name in run.header.operations]
    parts = [f"{one.name} {one.flops:,} ({one.usual_flops:,})" for one in asked if one.usual_flops > one.flops]
    return f"FLOP without products by zeros of padding (usual count, with them): {', '.join(parts)}" * bool(parts)


def disturbance(run: Run) -> str:
    """Return the disturbance during the visits, whether or not it changed a time."""
    found = [record.disturbance for record in run.measurements if record.disturbance is not None]

    def told(name: str) -> list[tuple[float, float]]:
        pairs = [(getattr(one.mean, name), getattr(one.worst, name)) for one in found]
        return [pair for pair in pairs if None not in pair]

    parts = []
    if steal := told("steal"):
        parts.append(f"steal {fmean(m for m, _ in steal):.1%} of a core (worst visit {max(w for _, w in steal):.0%})")
    if switches := told("switches"):
        parts.append(f"{fmean(m for m, _ in switches):.1f} involuntary switches a visit")
    if load := told("load"):
        parts.append(f"load {fmean(m for m, _ in load):.1f} (at most {max(w for _, w in load):.1f})")
    if clocks := told("sm_mhz"):
        parts.append(f"GPU clock {fmean(m for m, _ in clocks):.0f} MHz (lowest {min(w for _, w in clocks):.0f})")
        held = sorted({reason for one in found for reason in one.worst.throttle})
        count, visits = held_down(run.measurements)
        often = f" at {count:,} of {visits:,} visits" if count else ""  # a file of earlier versions does not say
        parts.append(f"held down by {', '.join(held)}{often}" if held else "never held down")
    return f"disturbance: {', '.join(parts)}" if parts else ""


def _energy(run: Run) -> list[str]:
    """Return a line on each device: its power at rest and how exact energies are, or why there are none."""
    lines = []
    devices = {target.label: target.device for target in run.header.targets}
    for device in dict.fromkeys(devices.values()):
        power = [one for one in run.all(PowerRecord) if one.device == device]
        told = [(one.source, one.watts) for one in power if one.watts is not None]
        if not told:
            lines += [f"energy on {device}: not available: {one.reason}" for one in power[:1]]
            continue
        mine = [one for one in run.all(EnergyRecord) if devices[one.target] == device]
        watts = fmean(one for _, one in told)
        line = f"energy on {device} ({told[0][0]}): {watts:.3g} W at rest, with all workers stopped"
        if doubts := [one.doubt for one in mine if not one.reason]:
            line += f"; in a round, an energy may be off by up to {max(doubts):.1%}"
        lines.append(line)
        failed = {f"{one.operation} on {one.target}: {one.reason}": None for one in mine if one.reason}
        lines += [f"no energy of {words}" for words in failed]
    return lines
