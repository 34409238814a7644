"""What the parent and a worker say to each other: one JSON line each way, parent first."""

from typing import Any

import msgspec

from ..gan import GANSpec
from ..registry import Target
from ..results.records import Ceiling, Disturbance, Status, Verification
from .child import ChildJob


class Job(ChildJob, frozen=True, kw_only=True):
    """The first line a worker receives; everything that must be set before its framework is imported."""

    target: Target
    spec: GANSpec
    dtype: str
    precision: str
    answers: str  # folder that the oracle wrote


class Request(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of what the parent asks."""


class Prepare(Request, tag="prepare", frozen=True):
    """Prepare an operation, run it once, let the gate decide, and warm it up if it is to be timed.

    ``number`` of calls of a visit; 0 asks for a calibration.
    """

    operation: str
    timed: bool
    number: int
    cap_s: float


class Visit(Request, tag="visit", frozen=True):
    """Time ``number`` calls in a row."""

    operation: str
    number: int


class FindCeilings(Request, tag="ceilings", frozen=True):
    """Measure what this library can do on this device at best."""


class Check(Request, tag="check", frozen=True):
    """Let the gate look once more at the program that was timed."""

    operation: str


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


class Warmed(msgspec.Struct, frozen=True):
    """How many calls make a visit, whether the times have settled, and the memory that was taken at most."""

    number: int
    iterations: int  # per call
    seconds: float  # per call
    steady: bool
    host_peak_bytes: int | None
    device_peak_bytes: int | None


class Prepared(Reply, tag="prepared", frozen=True):
    """An operation ran; whether it may be timed, the gate says. ``warmed`` if it was to be and may."""

    prepare_s: float
    first_run_s: float
    verification: Verification
    warmed: Warmed | None = None


class Timed(Reply, tag="timed", frozen=True):
    """One visit: its throughput in seconds per iteration, and what else happened."""

    seconds: float  # on a device that queues work, the queue is kept full
    cores: float  # CPU time over wall time
    disturbance: Disturbance
    latency_s: float | None = None  # of one synchronised call, the median; on devices that queue work
    device_s: float | None = None  # per iteration, between two events on the framework's own stream


class CeilingsFound(Reply, tag="ceilings", frozen=True):
    """What this library can do at best."""

    found: list[Ceiling]


class Checked(Reply, tag="checked", frozen=True):
    """The gate's second opinion."""

    verification: Verification


class Refusal(Reply, tag="refusal", frozen=True):
    """Why the last request could not be met; the worker goes on."""

    status: Status
    reason: str


AnyRequest = Prepare | Visit | FindCeilings | Check
AnyReply = Ready | Prepared | Timed | CeilingsFound | Checked | Refusal
