"""The description of a machine by its worker, which is checked; the machine's name; and which jobs it can do."""

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Annotated

import msgspec

from ..errors import GanbenchError, plural
from ..registry import Target
from .plan import Job

LEAST_FREE = 200 * 2**20  # bytes: a run file, compiled code and temporary arrays
CLOCK_S = 5.0  # a clock that is off by more is told
Short = Annotated[str, msgspec.Meta(max_length=500)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")]


class Description(msgspec.Struct, frozen=True):
    """The description that a worker sends. The sender may be anybody, so every field has limits."""

    version: Short  # of ganbench
    host: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$")]  # a hash that no other host has
    hardware: Name  # as ``machine_name`` calls it
    cores: Annotated[int, msgspec.Meta(ge=1, le=2**20)]
    gpus: Annotated[list[Short], msgspec.Meta(max_length=1024)]
    declared: Annotated[list[Short], msgspec.Meta(max_length=1024)]  # resources of the worker
    knows: Annotated[list[Short], msgspec.Meta(max_length=1024)]  # backends
    lacks: Annotated[dict[Short, Short], msgspec.Meta(max_length=1024)]  # backend or backend@device -> why it is absent
    free_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    clock: float  # seconds since 1970
    busy: Short = ""  # why the worker cannot work at all

    @property
    def tags(self) -> set[str]:
        """What a matrix may name under ``needs``, in small letters: cpu, gpu, words of names, tags of the worker."""
        return {"cpu", *_words(self.hardware), *map(str.lower, self.declared), *self.cards}

    @property
    def cards(self) -> set[str]:
        """Those of the tags that mean a GPU."""
        return {"gpu", *_words(*self.gpus)} if self.gpus else set()


def _words(*names: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", " ".join(names).lower())


def parse(content: object) -> Description:
    """Return the description that a worker sent; raises ``GanbenchError`` if it is not valid."""
    if not isinstance(content, bytes):
        raise GanbenchError(f"it answered with {type(content).__name__}, not with a description of its machine")
    try:
        return msgspec.json.decode(content, type=Description)
    except msgspec.MsgspecError as error:
        raise GanbenchError(f"its description of the machine is not valid: {error}") from error


def refusal(about: Description) -> str:
    """Return why a machine must not get any job, and what to do about it; '' if it may."""
    if about.version != (here := version("ganbench")):
        return (
            f"it has ganbench {about.version}, but this machine has {here}, so their times cannot be compared; "
            f"on that machine: pip install ganbench=={here}, then start its worker again"
        )
    if about.busy:
        return about.busy
    if about.free_bytes < LEAST_FREE:
        return (
            f"its disk is full: {about.free_bytes / 2**20:.0f} MiB are free for temporary files, "
            f"{LEAST_FREE / 2**20:.0f} MiB are needed; make room, or start its worker with another TMPDIR and "
            "GANBENCH_CACHE"
        )
    return ""


def remarks(about: Description, ahead_s: float, jobs: Iterable[Job]) -> list[str]:
    """Return remarks on a machine that may measure ``jobs``; ``ahead_s`` is its clock minus that of this machine."""
    found = []
    if abs(ahead_s) > CLOCK_S:
        side = "ahead of" if ahead_s > 0 else "behind"
        found.append(
            f"its clock is {abs(ahead_s):.0f} s {side} this machine's: durations are right, but the times of day in "
            "its records are its own; set it by NTP"
        )
    targets = {target for job in jobs if not misfit(job, about) for target in job.plan.targets}
    for target in sorted(targets, key=str):
        if why := _absence(target, about):
            found.append(f"{target} will be unavailable: {why}")
    return found


def off_gpu(jobs: Iterable[Job], known: Iterable[Description]) -> list[str]:
    """Return the targets on the CPU in jobs that need a GPU: that or a card of a machine that is known."""
    cards = {"gpu"}.union(*(about.cards for about in known))
    targets = (target for job in jobs if job.needs & cards for target in job.plan.targets)
    return list(dict.fromkeys(str(target) for target in targets if target.device == "cpu"))


def misfit(job: Job, about: Description) -> str:
    """Return why a machine cannot do a job; '' if it can."""
    if missing := sorted(job.needs - about.tags):
        return f"needs {', '.join(missing)}"
    if job.threads is not None and job.threads > about.cores:
        return f"needs {job.threads} threads, and it has {plural(about.cores, 'core')}"
    reasons = [_absence(target, about) for target in job.plan.targets]
    return f"it has none of the targets: {'; '.join(dict.fromkeys(reasons))}" if all(reasons) else ""


def _absence(target: Target, about: Description) -> str:
    backend, kind = target.backend, target.device.partition(":")[0]
    if backend not in about.knows:
        return f"it has no backend '{backend}': install its distribution there"
    return about.lacks.get(backend, "") or about.lacks.get(f"{backend}@{kind}", "")


def named(hardware: str, host: str, taken: dict[str, str]) -> str:
    """Return the name of a machine: that of its hardware, with a suffix where another host has that name.

    ``taken`` maps the hosts that have a name to it, and is extended.
    """
    if host not in taken:
        names = [hardware, *(f"{hardware}-{host[:length]}" for length in range(4, len(host) + 1))]
        taken[host] = next(name for name in names if name not in taken.values())
    return taken[host]
