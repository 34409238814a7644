"""What ``ganbench doctor`` says: the machine, each framework as a worker sees it, and how precise it is."""

from collections.abc import Iterator

from .. import gpus, registry
from ..gan import preset
from ..machine import environment
from ..machine.guard import workspace
from ..measure.child import explained
from ..measure.plan import make_plan
from ..measure.process import Worker, WorkerLostError
from .trial import trial


def examination() -> Iterator[str]:
    """Yield the findings, line by line, as they are made."""
    facts = environment.metadata()
    yield f"machine    {environment.machine_name()}"
    yield f"processor  {facts['cpu']}, usable cores {len(facts['cpus'])} of {facts['logical_cpus']} logical"
    yield f"memory     {facts['memory_bytes'] / 2**30:.1f} GiB"
    yield f"gpu        {', '.join(facts['gpus']) or 'none'}" + (f", driver {facts['driver']}" * bool(facts["driver"]))
    for place, hold in enumerate(gpus.holds()):
        told = {"highest clock": hold.highest, "application clock": hold.asked, "as it comes": hold.usual}
        numbers = [f"{what} {clock} MHz" for what, clock in told.items() if clock is not None]
        yield f"           GPU {place}: {', '.join(numbers) or 'NVML reports no clocks'}"
    yield f"system     {facts['os']}, Python {facts['python']}"
    for name in registry.names():
        yield from _backend(name)
    yield ""
    yield from trial()
    found = environment.disturbances()
    yield "what may disturb timing here:" if found else "nothing was found that would disturb timing"
    yield from (f"  - {text}" for text in found)


def _backend(name: str) -> Iterator[str]:
    """Start a worker, as a run would, and say what it found; or why there is none."""
    try:
        plan = make_plan(preset("tiny"), backends=name)
        with workspace() as folder:
            worker = Worker(plan, plan.targets[0], folder)
            ready = worker.wait()
            worker.stop()
    except Exception as error:  # a plug-in may raise anything
        yield f"{name:<10} missing: {error if isinstance(error, WorkerLostError) else explained(error)[1]}"
        return
    yield (
        f"{name:<10} {ready.framework_version} on {ready.device_name}, imports in {ready.import_s:.2f} s, "
        f"denormals {ready.denormals}"
    )
    yield from (f"           inside: {library}" for library in ready.libraries)
    for pool in ready.blas:
        parts = (str(pool[key]) for key in ("internal_api", "version", "architecture") if key in pool)
        yield f"           {' '.join(parts)}, {pool['num_threads']} threads"
