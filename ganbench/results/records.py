"""The lines of a run file: a header, then a line for each worker and each measurement, as strict JSON.

``RUN_FORMAT`` is raised when a reader of the old format would misunderstand the new one.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from statistics import fmean
from typing import Annotated, Any, Literal

import msgspec

from ..gan import GANSpec
from ..registry import Target
from ..settings import Caches as Caches, Recorded

RUN_FORMAT = 2
DIGITS = "UCI handwritten digits"  # what a header calls the packaged data
SHORTEST_S, LONGEST_S = 1e-10, 1e6  # of an iteration: less than a clock cycle, more than a week
YEARS = range(2000, 2200)

Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Round = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e30)]
Average = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Error = Annotated[float, msgspec.Meta(ge=0)]

Status = Literal["ok", "invalid", "impossible", "unavailable", "unsupported", "failed", "timeout", "out of memory"]


class GroupError(msgspec.Struct, frozen=True):
    """The relative error of one group of outputs after ``iterations``; ``worst`` names its worst output.

    ``tolerance`` is that of the group; 0 in files of earlier versions, in which all groups have the verification's.
    """

    group: str
    iterations: Number
    error: Error
    worst: str
    tolerance: Error = 0.0


class Verification(msgspec.Struct, frozen=True):
    """The result of the gate; ``reason`` is empty if the program passed."""

    tolerance: Error
    loose: bool
    errors: list[GroupError]
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the program may be timed."""
        return not self.reason

    @property
    def widest(self) -> float:
        """The widest tolerance of any group; ``tolerance`` is that of the dtype and precision."""
        return max((entry.tolerance for entry in self.errors), default=self.tolerance)

    @property
    def max_rel_error(self) -> float:
        """The largest error of any group; NaN if there is none."""
        return max((entry.error for entry in self.errors), default=math.nan)


class Disturbance(msgspec.Struct, frozen=True, omit_defaults=True):
    """The disturbance during a visit; None if the system does not report it."""

    steal: Average | None = None  # processor time taken by the host, all cores, over wall time
    switches: Average | None = None  # times the process was taken off a processor against its will
    load: float | None = None  # processes ready to run, over the last minute
    sm_mhz: float | None = None  # clock of a GPU's multiprocessors at the end, while they still work
    throttle: list[str] = []  # why that clock is held down


class Disturbances(msgspec.Struct, frozen=True, omit_defaults=True):
    """The disturbance during all visits of a case in a round: the mean and the worst."""

    mean: Disturbance
    worst: Disturbance
    throttled: Number | None = None  # visits at which a GPU's clock was held down; None where none was told


def summary(found: Sequence[Disturbance]) -> Disturbances:
    """Return the average and the worst of at least one visit's disturbance."""

    def told(name: str) -> list[float]:
        return [value for one in found if (value := getattr(one, name)) is not None]

    mean = {name: fmean(values) for name in ("steal", "switches", "load", "sm_mhz") if (values := told(name))}
    worst = {name: max(values) for name in ("steal", "switches", "load") if (values := told(name))}
    if clocks := told("sm_mhz"):
        worst["sm_mhz"] = min(clocks)
    throttle = sorted({reason for one in found for reason in one.throttle})
    throttled = sum(map(bool, (one.throttle for one in found))) if clocks or throttle else None
    return Disturbances(_disturbance(mean, []), _disturbance(worst, throttle), throttled)


def check_seconds(seconds: float) -> None:
    """Raise ``ValueError`` unless an iteration can take so many seconds."""
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError(f"a time of {seconds:.6g} s (valid: {SHORTEST_S:g} to {LONGEST_S:g} s)")


def check_time(text: str) -> None:
    """Raise ``ValueError`` unless ``text`` is a time in ISO 8601 of this or the next century."""
    if datetime.fromisoformat(text).year not in YEARS:
        raise ValueError(f"'{text}' is not a time of this or the next century")


def _disturbance(values: dict[str, float], throttle: list[str]) -> Disturbance:
    return msgspec.convert({name: digits(v, 3) for name, v in values.items()} | {"throttle": throttle}, Disturbance)


def digits(value: float, count: int = 5) -> float:
    """Return ``value`` with ``count`` significant digits: files stay small, and no clock is more exact."""
    return float(f"{value:.{count}g}")


class Ceiling(msgspec.Struct, frozen=True):
    """A ceiling: the best that one library, or the processor itself, reached on one device.

    ``kind`` is ``product`` (FLOP/s of square matrix products, ``size`` their width), ``bandwidth`` (bytes/s of a pass
    over arrays, ``size`` the bytes that it reads and writes) or ``latency`` (seconds of a product of two numbers).
    """

    kind: Literal["product", "bandwidth", "latency"]
    size: Number
    value: Positive
    scatter: Average | None = None  # by how much the best repeat beat the second best, relative

    @classmethod
    def best_of(cls, repeats: Sequence["Ceiling"]) -> "Ceiling":
        """Return the best of at least two repeats, with their scatter."""
        kind, size = repeats[0].kind, repeats[0].size
        if kind == "latency":
            return min(repeats, key=lambda one: one.value)
        *_, second, best = sorted(one.value for one in repeats)
        return cls(kind, size, best, digits(best / second - 1, 3))


class Record(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of the lines of a run file."""


class RunHeader(Recorded, Record, tag="run", frozen=True, kw_only=True):
    """The settings of a run, its machine, and its code."""

    format: int
    run_id: str
    timestamp: str  # ISO 8601, UTC
    version: str  # of ganbench
    machine: str
    environment: dict[str, Any]
    commit: str | None
    dirty: bool | None
    command: list[str]
    spec: GANSpec
    data: str
    operations: list[str]
    targets: list[Target]
    baseline: str
    precision: str
    threads: Number
    rigor: str
    settings: dict[str, Any]  # of the rigor: seconds for a case, budget, goal
    dtype: str  # this and the seed are in the files of every version
    seed: int
    # What resuming needs besides; empty in files of earlier versions, which cannot be resumed.
    data_digest: str = ""  # of all that the data holds
    versions: dict[str, str] = {}  # of each backend's framework, and of Valgrind where it counted
    changes: str = ""  # a hash of how the code differs from the commit

    def __post_init__(self) -> None:
        check_time(self.timestamp)

    @property
    def care(self) -> str:
        """How carefully it was measured, in a word."""
        return "counted" if self.count else self.rigor


class WorkerRecord(Record, tag="worker", frozen=True):
    """One new process: its framework, and the time of the import."""

    round: Round
    target: str
    copy: bool  # the second copy of the baseline: the A/A control
    import_s: Seconds
    framework_version: str
    device_name: str
    denormals: str  # "kept" or "flushed" by this framework's Adam; "" in later rounds, as ``blas`` is empty there
    blas: list[dict[str, Any]]  # of the process, NumPy's among them
    libraries: list[str]  # inside the framework
    import_bytes: Number | None = None  # of the process in memory once that was done
    forked: bool = False  # from a process that had imported the framework; in older runs ``import_s`` leaves that out
    python: str = ""  # the version of another interpreter than the one that ran ganbench


class Sampled(Record, frozen=True, kw_only=True):
    """What every format says of a case in a round. ``samples`` are raw: seconds per iteration, in time order."""

    round: Round
    operation: str
    target: str
    copy: bool = False
    status: Status
    reason: str = ""
    shape: tuple[Number, ...]
    flops: Number
    bytes: Number
    iterations: Number = 0  # per visit
    iterations_per_call: Number = 1
    samples: list[float] = []
    order: list[Number] = []  # this worker's place in each pass, counting those that were left out
    latency_s: list[float] = []  # of one call, synchronised; on devices that queue work
    device_s: list[float] = []  # per iteration, between two events on the framework's own stream
    prepare_s: Seconds | None = None
    first_run_s: Seconds | None = None
    steady: bool | None = None
    # The most that preparing, the first run and the warm-up took, above what the process held before.
    host_peak_bytes: Number | None = None
    device_peak_bytes: Number | None = None
    verification: Verification | None = None
    elapsed_s: Seconds = 0.0  # since the run began, without the time in which it was interrupted


class Measurement(Sampled, tag="measurement", frozen=True, kw_only=True):
    """One case in one round, in visits: a sample for each."""

    passes: list[Number] = []  # the pass that each visit belongs to: visits of one pass are neighbours in time
    cores: Average | None = None  # CPU time over wall time, the processes below the worker included
    disturbance: Disturbances | None = None
    instructions: list[Positive] = []  # of an iteration, instead of samples: once for each count

    def __post_init__(self) -> None:
        if not len(self.samples) == len(self.passes) == len(set(self.passes)):
            raise ValueError(f"{len(self.samples)} samples in {len(set(self.passes))} passes")


class Resumed(Record, tag="resumed", frozen=True):
    """The run goes on with ``round``: ignore earlier lines of this round or later."""

    round: Round
    timestamp: str  # ISO 8601, UTC
    command: list[str]
    environment: dict[str, Any]
    settings: dict[str, int | float | str]  # of the rigor, from now on
    elapsed_s: Seconds  # what the run had taken until then

    def __post_init__(self) -> None:
        check_time(self.timestamp)


class CeilingRecord(Record, tag="ceilings", frozen=True):
    """The ceilings of the hardware, as measured by ``library``; ``host`` means the processor, without a framework.

    A run has a second such record of a library where a program was faster than the ceilings of the first.
    """

    library: str
    device: str
    found: list[Ceiling]
    measured: str = ""  # ISO 8601, UTC: by this run, or by an earlier one under the same conditions
    others: Average | None = None  # share of the processors' time that other work took meanwhile, steal included


class PowerRecord(Record, tag="power", frozen=True, kw_only=True):
    """The idle power of a device in a round, while every worker was stopped; None with the reason if unknown."""

    round: Round
    device: str
    source: str = ""
    watts: Average | None = None
    reason: str = ""


class EnergyRecord(Record, tag="energy", frozen=True, kw_only=True):
    """The energy and time of an iteration in a round, for the whole device; ``reason`` if it is not known.

    It is measured over ``stretch_s`` seconds of calls in a row; ``doubt`` is the relative error of both numbers.
    """

    round: Round
    operation: str
    target: str
    joules: Average = 0.0  # per iteration
    seconds: Seconds = 0.0  # per iteration
    stretch_s: Seconds = 0.0
    doubt: Average = 0.0
    reason: str = ""


class StrayRecord(Record, tag="strays", frozen=True):
    """Processes of backends were busy while an operation was timed; they used ``cores`` of processor time."""

    round: Round
    operation: str
    cores: Average
    names: list[str]


class RunEnd(Record, tag="end", frozen=True):
    """The end of a complete run; the file of an interrupted or failed run has no such line."""

    reason: Literal["complete", "precision", "budget"]
    rounds: Number
    seconds: Seconds


Line = (
    RunHeader | WorkerRecord | Measurement | CeilingRecord | PowerRecord | EnergyRecord | StrayRecord | Resumed | RunEnd
)
