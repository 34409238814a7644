"""What the parent and a worker say to each other: one JSON line each way, parent first."""

from typing import Any

import msgspec

from ..gan import GANSpec
from ..registry import Target
from ..results.records import Caches, Ceiling, Disturbance, Status
from .child import ChildJob


class Job(ChildJob, frozen=True, kw_only=True):
    """The first line a worker receives; everything that must be set before its framework is imported."""

    target: Target
    spec: GANSpec
    dtype: str
    precision: str
    folder: str  # where the images lie, and where outputs are left for the oracle
    caches: Caches = "warm"


class Request(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of what the parent asks."""


class Prepare(Request, tag="prepare", frozen=True):
    """Prepare an operation on the inputs drawn from ``seed``, run it once, and leave its outputs in ``file``."""

    operation: str
    seed: int
    file: str


class Show(Request, tag="show", frozen=True):
    """Run an operation from its staged state for so many iterations, and leave its outputs in ``file``."""

    operation: str
    iterations: int
    file: str


class Wait(Request, tag="wait", frozen=True):
    """Say whether ``synchronize`` waits, to ``share`` of the time of so many iterations."""

    operation: str
    iterations: int
    share: float


class Warm(Request, tag="warm", frozen=True):
    """Warm up an operation, for at most ``cap_s`` seconds; ``number`` of calls of a visit, 0 asks for a calibration."""

    operation: str
    number: int
    cap_s: float


class Visit(Request, tag="visit", frozen=True):
    """Time ``number`` calls in a row."""

    operation: str
    number: int


class Look(Request, tag="look", frozen=True):
    """Leave the outputs as they are in the first of ``files``, and those after one more call in the second, if any."""

    operation: str
    files: list[str]


class Spend(Request, tag="spend", frozen=True):
    """Say what energy an operation uses; ``number`` of its calls are a visit."""

    operation: str
    number: int


class FindCeilings(Request, tag="ceilings", frozen=True):
    """Measure what this library can do on this device at best."""


class Reply(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of what a worker answers."""


class Ready(Reply, tag="ready", frozen=True):
    """The framework is imported and the backend stands."""

    import_s: float
    import_bytes: int
    framework_version: str
    device_name: str
    denormals: str
    blas: list[dict[str, Any]]
    libraries: list[str]


class Prepared(Reply, tag="prepared", frozen=True):
    """An operation ran; ``digest`` says on which inputs, and whether it may be timed, the oracle says."""

    prepare_s: float
    first_run_s: float
    iterations: int  # per call
    digest: str


class Shown(Reply, tag="shown", frozen=True):
    """The outputs are where they were asked for; the first look at them took so many seconds."""

    seconds: float


class Waited(Reply, tag="waited", frozen=True):
    """The seconds of work that are left when ``synchronize`` has returned; 0 for none."""

    left_s: float


class Warmed(Reply, tag="warmed", frozen=True):
    """How many calls make a visit, whether the times have settled, and the memory that was taken at most."""

    number: int
    seconds: float  # per call
    steady: bool
    displace_s: float  # per call, not timed: in which the caches were displaced
    host_peak_bytes: int | None
    device_peak_bytes: int | None


class Timed(Reply, tag="timed", frozen=True):
    """One visit: its throughput in seconds per iteration, and what else happened."""

    seconds: float  # on a device that queues work, the queue is kept full
    cores: float  # CPU time over wall time
    disturbance: Disturbance
    carried: int  # iterations since the staged state, at the end
    latency_s: float | None = None  # of one synchronised call, the median; on devices that queue work
    device_s: float | None = None  # per iteration, between two events on the framework's own stream
    displace_s: float = 0.0  # per call, not timed: in which the caches were displaced


class Spent(Reply, tag="spent", frozen=True):
    """The energy and the time of an iteration, over a stretch of seconds, and by which share both may be off."""

    joules: float
    seconds: float
    stretch_s: float
    doubt: float


class CeilingsFound(Reply, tag="ceilings", frozen=True):
    """What this library can do at best."""

    found: list[Ceiling]


class Refusal(Reply, tag="refusal", frozen=True):
    """Why the last request could not be met; the worker goes on."""

    status: Status
    reason: str


AnyRequest = Prepare | Show | Wait | Warm | Visit | Look | Spend | FindCeilings
AnyReply = Ready | Prepared | Shown | Waited | Warmed | Timed | Spent | CeilingsFound | Refusal
