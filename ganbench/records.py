"""What a run writes: one header line, then one line per worker and per measurement, as strict JSON.

``FORMAT`` is raised whenever a reader of the old form would misunderstand the new one.
"""

import math
from typing import Any, Literal

import msgspec

from .gan import GANSpec
from .registry import Target

FORMAT = 1

Status = Literal["ok", "invalid", "unavailable", "unsupported", "failed", "timeout", "out of memory"]


class GroupError(msgspec.Struct, frozen=True):
    """The relative error of one group of outputs after ``iterations``; ``worst`` is its worst member."""

    group: str
    iterations: int
    error: float
    worst: str


class Verification(msgspec.Struct, frozen=True):
    """What the gate found; ``reason`` is empty where the program passed."""

    tolerance: float
    loose: bool
    errors: list[GroupError]
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the program may be timed."""
        return not self.reason

    @property
    def max_rel_error(self) -> float:
        """The largest error of any group; NaN where none could be taken."""
        return max((entry.error for entry in self.errors), default=math.nan)


class Record(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of the lines of a run file."""


class RunHeader(Record, tag="run", frozen=True):
    """What was asked for, of which machine, by which code."""

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
    dtype: str
    precision: str
    threads: int
    rigor: str
    settings: dict[str, Any]  # of the rigor: blocks, passes, budget
    seed: int


class WorkerRecord(Record, tag="worker", frozen=True):
    """One fresh process: what it imported and how long that took."""

    round: int
    target: str
    copy: bool  # the second copy of the baseline: the A/A control
    import_s: float
    framework_version: str
    device_name: str
    denormals: str  # "kept" or "flushed" by this framework's Adam
    blas: list[dict[str, Any]]  # of the process, NumPy's among them
    libraries: list[str]  # inside the framework


class Measurement(Record, tag="measurement", frozen=True, kw_only=True):
    """One case in one round. ``samples`` are raw: seconds per iteration of each block, in time order."""

    round: int
    operation: str
    target: str
    copy: bool = False
    status: Status
    reason: str = ""
    shape: tuple[int, ...]
    flops: int
    bytes: int
    iterations: int = 0  # per timed block
    samples: list[float] = []
    cores: list[float] = []  # CPU time over wall time of each block
    prepare_s: float | None = None
    first_run_s: float | None = None
    steady: bool | None = None
    order: list[int] = []  # this worker's place in each interleaved pass
    verification: Verification | None = None


class RunEnd(Record, tag="end", frozen=True):
    """How the run ended: ``complete``, ``budget``, ``precision`` or ``interrupted``."""

    reason: str
    rounds: int
    seconds: float


Line = RunHeader | WorkerRecord | Measurement | RunEnd
