"""What ``ganbench doctor`` says: the machine, each framework as a worker sees it, and how precise it is.

For that NumPy is timed against itself, an A/A trial, which shows how small a difference runs here can detect.
"""

import math
from collections.abc import Iterator, Mapping
from statistics import fmean

import msgspec

from .. import gpus, registry
from ..gan import preset
from ..machine import environment
from ..machine.guard import workspace
from ..measure.child import explained
from ..measure.plan import make_plan
from ..measure.process import Worker, WorkerLostError
from ..measure.session import carry_out
from ..report.notes import control_line, disturbance
from ..results.run import Run
from ..results.statistics import Components, components, detectable, expected_width, pass_logs
from ..results.table import run_table
from .terminal import say, shown

ROUNDS = 6
OPERATIONS = ("matmul", "adam_step", "gan_iteration")
# What a run of three frameworks and five operations reaches: its rounds, and the visits to the baseline in each.
# Seen on two cores; the other frameworks get fewer visits.
REACHED = {"a default run": (9, 12), "a run with --rigor full": (29, 17)}

WORTHWHILE = 0.8  # one thread is recommended if it detects this share of what all threads can detect, or less


def findings(pythons: Mapping[str, str]) -> Iterator[str]:
    """Yield what is found, line by line, as they are made; ``pythons`` are those in which backends run."""
    facts = environment.metadata()
    yield f"machine    {environment.machine_name()}"
    yield f"processor  {facts['cpu']}, usable cores {len(facts['cpus'])} of {facts['logical_cpus']} logical"
    yield f"memory     {facts['memory_bytes'] / 2**30:.1f} GiB"
    yield f"gpu        {', '.join(facts['gpus']) or 'none'}" + (f", driver {facts['driver']}" * bool(facts["driver"]))
    for place, hold in enumerate(gpus.holds()):
        told = {"highest clock": hold.highest, "application clock": hold.asked, "usual clock": hold.usual}
        numbers = [f"{what} {clock} MHz" for what, clock in told.items() if clock is not None]
        yield f"           GPU {place}: {', '.join(numbers) or 'NVML reports no clocks'}"
    yield f"system     {facts['os']}, Python {facts['python']}"
    for name, python in registry.homes(pythons):
        yield from _backend(name, python)
    yield ""
    yield from trial()
    found = environment.disturbances()
    yield "what may disturb timing here:" if found else "nothing was found that would disturb timing"
    yield from (f"  - {text}" for text in found)


def _backend(name: str, python: str) -> Iterator[str]:
    """Start a worker, as a run would, and say what it found; or why there is none."""
    try:
        plan = make_plan(preset("tiny"), backends=name, python=f"{name}={python}" * bool(python))
        with workspace() as folder:
            worker = Worker(plan, plan.targets[0], folder)
            ready = worker.wait()
            worker.stop()
    except Exception as error:  # a plug-in may raise anything
        yield f"{name:<10} missing: {error if isinstance(error, WorkerLostError) else explained(error)[1]}"
        return
    yield (
        f"{name:<10} {ready.framework_version} on {ready.device_name}, imports in {ready.import_s:.2f} s, "
        f"denormals {ready.denormals}" + f", in {python} (Python {ready.python})" * bool(python)
    )
    yield from (f"           inside: {library}" for library in ready.libraries)
    for pool in ready.blas:
        parts = (str(pool[key]) for key in ("internal_api", "version", "architecture") if key in pool)
        yield f"           {' '.join(parts)}, {pool['num_threads']} threads"


def trial(rounds: int = ROUNDS) -> list[str]:
    """Return what NumPy against a second copy of itself says of this machine, on all cores and on one, line by line."""
    cores = len(environment.usable_cpus())
    run, found = measured(rounds)
    lines = [control_line(run_table(run)), disturbance(run)]
    lines += [sentence(what, found) for what in REACHED if found]
    if cores > 1 and found:
        _, alone = measured(rounds, threads=1)
        lines += [f"with --threads 1, {sentence('a default run', alone)}", advice(found, alone, cores)] if alone else []
    return [line for line in lines if line]


def advice(found: Mapping[str, Components], alone: Mapping[str, Components], cores: int) -> str:
    """Return whether fewer threads or more time makes small differences visible here."""
    several, one, longer = (
        fmean(forecast(noise, *REACHED[what]) for noise in seen.values())
        for seen, what in ((found, "a default run"), (alone, "a default run"), (found, "a run with --rigor full"))
    )
    if one < WORTHWHILE * several and one < longer:
        return f"to detect less than {several:.0%}, compare with --threads 1: here {cores} threads disturb each other"
    return f"to detect less than {several:.0%}, give a run more time (--rigor full): with --threads 1 it is {one:.0%}"


def measured(rounds: int, threads: int | None = None) -> tuple[Run, dict[str, Components]]:
    """Time NumPy against a second copy of itself (about 20 s); return the run, and its noise by operation."""
    plan = make_plan(preset("mnist-mlp"), backends="numpy", ops=OPERATIONS, rounds=rounds, threads=threads)
    plan = msgspec.structs.replace(plan, control=True, ceilings=False)
    run = shown(lambda progress: carry_out(plan, None, None, say, progress))
    logs = {}
    for name in OPERATIONS:
        ours, theirs = run.visits(name, "numpy"), run.visits(name, "numpy", copy=True)
        logs[name] = [[*pass_logs(ours[i], theirs[i]).values()] for i in sorted(ours.keys() & theirs.keys())]
    return run, {name: components(found) for name, found in logs.items() if len(found) > 1}


def sentence(what: str, found: Mapping[str, Components]) -> str:
    """Return in one sentence which differences ``what``, one of ``REACHED``, should tell apart on this machine."""
    least = {name: forecast(one, *REACHED[what]) for name, one in found.items()}
    rounds, visits = REACHED[what]
    shown = ", ".join(f"{name} {difference:.0%}" for name, difference in least.items())
    return (
        f"{what} of three frameworks ({rounds} rounds, about {visits} visits to a case in each) should detect these "
        f"differences and larger ones: {shown}"
    )


def forecast(found: Components, rounds: int, visits: int) -> float:
    """Return the smallest relative difference that so many rounds of so many visits should detect."""
    return detectable(expected_width(rounds) * math.sqrt(max(0.0, found.between) + found.within / visits))
