"""The messages between the parent and a worker: one JSON line from the parent, then one from the worker."""

from typing import Any

import msgspec

from ..gan import GANSpec
from ..registry import Target
from ..results.records import Caches, Ceiling, Disturbance, Status
from .child import ChildJob


class ModelJob(ChildJob, frozen=True, kw_only=True):
    """The first line that the oracle receives: of which model it has the images in ``folder``, and in which format."""

    spec: GANSpec
    dtype: str
    precision: str
    folder: str  # where the images lie, and where outputs are left for the oracle


class Job(ModelJob, frozen=True, kw_only=True):
    """The first line that a worker receives: all that must be set before its framework is imported."""

    target: Target
    caches: Caches = "warm"
    described: bool = False  # whether an earlier worker has said how the framework takes denormals, and its BLAS


class Request(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of the parent's requests about an operation."""

    operation: str


class Prepare(Request, tag="prepare", frozen=True):
    """Prepare an operation on the inputs drawn from ``seed``, run it once, and leave its outputs in ``file``."""

    seed: int
    file: str


class Show(Request, tag="show", frozen=True):
    """Run this many iterations of an operation from the state it was prepared with; write its outputs to ``file``."""

    iterations: int
    file: str


class Wait(Request, tag="wait", frozen=True):
    """Check that ``synchronize`` waits; of a state, less than ``share`` of the time of the iterations may be left."""

    iterations: int
    share: float


class Warm(Request, tag="warm", frozen=True):
    """Warm up an operation, for at most ``cap_s`` seconds; ``number``: calls of a visit, 0: find it by calibration.

    Its visits begin with the inputs of ``seed`` and of the seeds after it.
    """

    number: int
    cap_s: float
    seed: int


class Examined(msgspec.Struct, frozen=True):
    """What a visit is examined for: ``after`` so many timed calls the clock is stopped, and outputs go to ``files``.

    First those of the calls so far, then those ``then`` calls later, and last those of ``path`` iterations from where
    the visit began. The program is told nothing of it.
    """

    after: int
    then: int
    path: int
    files: tuple[str, str, str]


class Visit(Request, tag="visit", frozen=True):
    """Time ``number`` calls in a row, from the inputs and the state of ``seed``."""

    number: int
    seed: int
    examined: Examined | None = None


class Spend(Request, tag="spend", frozen=True):
    """Measure the energy of an operation; a visit has ``number`` calls."""

    number: int


class Count(Request, tag="count", frozen=True):
    """Count the instructions of an operation, in a worker that runs under Valgrind."""


class FindCeilings(msgspec.Struct, tag_field="type", tag="ceilings", frozen=True):
    """Make the next visit that measures the ceilings of this library on this device."""


class Reply(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of a worker's replies."""


class Ready(Reply, tag="ready", frozen=True):
    """The framework is imported and the backend is constructed."""

    import_s: float
    import_bytes: int
    framework_version: str
    device_name: str
    denormals: str
    blas: list[dict[str, Any]]
    libraries: list[str]
    python: str = ""  # the version of another interpreter


class Prepared(Reply, tag="prepared", frozen=True):
    """An operation ran once; ``digest`` is the hash of its inputs. The oracle decides whether it may be timed."""

    prepare_s: float
    first_run_s: float
    iterations: int  # per call
    digest: str


class Shown(Reply, tag="shown", frozen=True):
    """The outputs are written."""


class Waited(Reply, tag="waited", frozen=True):
    """The seconds of work that were left when ``synchronize`` returned: of its result, and of one before; 0: none."""

    left_s: float
    before_s: float = 0.0

    @property
    def reason(self) -> str:
        """What is wrong with ``synchronize``, or ''."""
        if self.left_s:
            work = f"{self.left_s:.2g} s of work were left when synchronize() returned, so times would be too short"
            return f"{work}: it must wait for all results"
        if self.before_s:
            work = f"{self.before_s:.2g} s of work of a call were never done, since nobody waited for its result"
            return f"{work}: a lazy framework must not say `queues = True` in its backend"
        return ""


class Warmed(Reply, tag="warmed", frozen=True):
    """The end of a warm-up: the calls of a visit, whether the times became steady, and the peak memory."""

    number: int
    seconds: float  # per call
    steady: bool | None
    displace_s: float  # per call, not timed: in which the caches were displaced
    host_peak_bytes: int | None = None
    device_peak_bytes: int | None = None


class Looked(msgspec.Struct, frozen=True):
    """When the clock of a visit was stopped: iterations since it began, and the seconds of the first look."""

    carried: int
    seconds: float


class Timed(Reply, tag="timed", frozen=True):
    """One visit: its seconds per iteration, and the disturbance during it."""

    seconds: float  # on a device that queues work, the queue is kept full
    cores: float  # CPU time over wall time
    disturbance: Disturbance
    latency_s: float | None = None  # of one synchronised call, the median; on devices that queue work
    device_s: float | None = None  # per iteration, between two events on the framework's own stream
    displace_s: float = 0.0  # per call, not timed: in which the caches were displaced
    looked: Looked | None = None  # where it was examined


class Spent(Reply, tag="spent", frozen=True):
    """Energy and time of an iteration, measured over a stretch of seconds; ``doubt``: the relative error of both."""

    joules: float
    seconds: float
    stretch_s: float
    doubt: float


class Counted(Reply, tag="counted", frozen=True):
    """The instructions of an iteration, once for each count."""

    instructions: list[float]


class CeilingVisit(Reply, tag="ceilings", frozen=True):
    """What such a visit reached; None: there was none left, and the next request begins again."""

    visit: Ceiling | None


class Refusal(Reply, tag="refusal", frozen=True):
    """The reason why the last request failed; the worker goes on."""

    status: Status
    reason: str


AnyRequest = Prepare | Show | Wait | Warm | Visit | Spend | Count | FindCeilings
AnyReply = Ready | Prepared | Shown | Waited | Warmed | Timed | Spent | Counted | CeilingVisit | Refusal


class Message(msgspec.Struct, frozen=True):
    """A reply, and the worker's clock when it heard the request and when it said this: ``time.perf_counter``."""

    heard: float
    said: float
    reply: AnyReply
