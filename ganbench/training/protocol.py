"""The messages to and from the process of a training, which also make its log: one JSON line each."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..gan import GANSpec
from ..measure.protocol import Job

LOG_FORMAT = 1


class TrainJob(Job, frozen=True, kw_only=True):
    """The job for the process of one target; the folder has its rows and the images of the gate."""

    output: str
    iterations: int  # counted from the first, also where it resumes
    seed: int
    data: str  # a hash over the rows
    resume: str  # a state, or ''
    sound: bool


class Message(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of the messages of a training."""


class Started(Message, tag="start", frozen=True, kw_only=True):
    """The program passed the gate and training begins after iteration ``step``."""

    format: int
    version: str  # of ganbench
    timestamp: str
    target: str
    framework_version: str
    device_name: str
    denormals: str  # "kept" or "flushed" by this framework's Adam
    spec: GANSpec
    dtype: str
    threads: int
    seed: int
    data: str
    rows: int
    per_epoch: int
    step: int
    iterations: int
    max_rel_error: float  # of the gate


class Cost(Message, tag="cost", frozen=True):
    """Seconds per iteration of the program alone and fed; the cost of feeding as a share, with its 95 % interval."""

    alone_s: float
    fed_s: float
    share: float
    low: float
    high: float


class Epoch(Message, tag="epoch", frozen=True, omit_defaults=True):
    """Means over the iterations of one epoch. A last one may be incomplete.

    Beside the losses stands what ``watched`` names: ``v`` is V(D,G) = -d_loss; a critic has its estimate of the
    Wasserstein distance, mean(D(real)) - mean(D(fake)), and the penalty instead.
    """

    epoch: int
    step: int  # at its end
    iterations: int
    d_loss: float
    g_loss: float
    images_per_s: float
    v: float | None = None
    wasserstein: float | None = None
    penalty: float | None = None


def watched(spec: GANSpec) -> tuple[str, ...]:
    """Return which fields of an ``Epoch`` stand beside its losses."""
    return ("wasserstein", "penalty") if spec.objective.penalised else ("v",)


def derived(reported: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is watched and follows from what an iteration reports, be that numbers or arrays."""
    if "penalty" in reported:
        return {"wasserstein": reported["penalty"] - reported["d_loss"]}
    return {"v": -reported["d_loss"]}


class Enqueued(Message, tag="enqueued", frozen=True):
    """How many iterations are enqueued; not written into the log."""

    step: int


class Ended(Message, tag="end", frozen=True):
    """Training stopped after iteration ``step``; ``saving_s`` of ``seconds`` went into state and pictures."""

    reason: Literal["complete", "interrupted"]
    step: int
    seconds: float
    saving_s: float


class Failed(Message, tag="failed", frozen=True):
    """Why the training cannot go on: the name of a ganbench error, and its message."""

    error: str
    reason: str


AnyMessage = Started | Cost | Epoch | Enqueued | Ended | Failed
