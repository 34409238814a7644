"""``ganbench.train``: plan, train one target after the other, and compare their curves."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from .. import errors
from ..data import staged_images
from ..errors import GanbenchError, StorageError, refused
from ..gan import GANSpec, preset as find_preset
from ..machine.guard import workspace
from ..measure.process import Child, WorkerLostError, environment_of, job_of
from ..registry import Target
from ..results.store import replace_file
from ..verification.answers import IMAGES
from .batches import ROWS
from .curves import Parity, compare_losses, draw
from .log import read_losses
from .plan import Training, make_training
from .protocol import AnyMessage, Ended, Failed, Started, TrainJob

CURVES, PARITY = "curves.png", "parity.png"
GRACE_S = 30.0  # how long an interrupted training may take to save

Tell = Callable[[Target, AnyMessage], None]

_decoder: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(AnyMessage)


class Trained(NamedTuple):
    """The folder of every trained target; ``interrupted`` is true if somebody stopped the training."""

    folders: dict[str, Path]
    parity: Parity | None
    interrupted: bool


def train(
    backends: str | Sequence[str],
    *,
    output: str | Path,
    preset: str | None = None,
    spec: GANSpec | None = None,
    tell: Tell | None = None,
    **settings: Any,
) -> Trained:
    """Train a GAN on each of ``backends`` (targets such as ``"numpy,torch,jax"``), with the same numbers.

    ``settings`` are those of ``ganbench.training.plan.make_training``: epochs or iterations, seed, dtype,
    threads, data, resume, loss, python. ``tell`` receives the messages of each training.
    """
    if spec is None and preset is not None:
        spec = find_preset(preset)
    return carry_out(make_training(backends, output=output, spec=spec, **settings), tell or (lambda *_: None))


def carry_out(training: Training, tell: Tell) -> Trained:
    """Train every target in a process of its own, one after the other.

    If a training fails, its error is raised; everything that was saved remains.
    """
    folders: dict[str, Path] = {}
    with contextlib.ExitStack() as stack:
        with refused(StorageError, "cannot write temporary files", "; set TMPDIR to a folder with room"):
            folder = stack.enter_context(workspace())
            images = staged_images(training.rows, training.spec, training.plan.seed)
            np.save(Path(folder) / IMAGES, images)
            np.save(Path(folder) / ROWS, training.rows.astype(training.plan.dtype))
        for target in training.plan.targets:
            complete = _train_one(training, target, folder, tell)
            path = training.folder(target.label)
            if complete is not None:
                folders[target.label] = path
                _draw(path / CURVES, {target.label: read_losses(path)}, training, None)
            if not complete:
                return Trained(folders, None, interrupted=True)
    parity = None
    if len(folders) > 1:
        losses = {label: read_losses(path) for label, path in folders.items()}
        parity = compare_losses(losses)
        _draw(training.output / PARITY, losses, training, parity)
    return Trained(folders, parity, interrupted=False)


def _train_one(training: Training, target: Target, folder: str, tell: Tell) -> bool | None:
    """Return whether the training was completed; None if it was interrupted before it began."""
    job = job_of(
        TrainJob, training.plan, target, folder, output=str(training.folder(target.label)), sound=training.sound,
        iterations=training.iterations, seed=training.plan.seed, data=training.digest,
        resume=str(training.resume or ""),
    )  # fmt: skip
    environment = environment_of(training.plan, target, folder)
    child = Child("ganbench.training.worker", job, environment, timeout_s=None, python=target.python)
    reached: bool | None = None  # False once training has begun, True once it is complete
    try:
        while True:
            try:
                message = child.receive("save", _decoder)
                if isinstance(message, Failed):
                    raise getattr(errors, message.error, GanbenchError)(f"{target}: {message.reason}")
                if isinstance(message, Started | Ended):
                    reached = isinstance(message, Ended) and message.reason == "complete"
                tell(target, message)
                if isinstance(message, Ended):
                    return reached
            except KeyboardInterrupt:
                if reached is None:
                    return None
                if child.timeout_s is not None:  # a second Ctrl-C does not wait for what the first asked for
                    raise
                child.timeout_s = GRACE_S
                child.send(b"stop")
    except WorkerLostError as error:
        raise GanbenchError(f"{target}: {error.reason}; the state saved before is complete") from error
    finally:
        child.stop()


def _draw(path: Path, losses: dict[str, np.ndarray], training: Training, parity: Parity | None) -> None:
    if all(map(len, losses.values())):
        title = f"{training.spec.name}, {training.plan.dtype}, seed {training.plan.seed}"
        picture = draw(losses, training.spec, title, parity)
        replace_file(path, lambda file: file.write(picture))
