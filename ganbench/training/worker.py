"""The process of one target: import the framework, pass the gate, train, and write the files.

It is ``python -m ganbench.training.worker``. The first line on standard input is the ``TrainJob``. A second line, or
the end of the input, asks to save and stop. So Ctrl-C loses nothing, and the training stops if the parent has died.
"""

import contextlib
import importlib.util
import os
import shlex
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .. import registry
from ..array_ops import GANState, NetworkState
from ..errors import GanbenchError, UnavailableError
from ..gan import GANSpec
from ..machine import facts
from ..measure.child import begin, explained
from ..measure.engine import first_call
from ..operations.networks import GANIteration, initial_state
from ..verification.answers import IMAGES
from ..verification.emulation import answer
from ..verification.gate import verify
from .batches import ROWS, Fed, cost_of_feeding, stream
from .log import Log
from .loop import Loop
from .protocol import LOG_FORMAT, Ended, Failed, Message, Started, TrainJob
from .state import STRIP_COLUMNS, Saver, TrainingState, check_free, load_state, sole_writer


def main() -> None:
    job, tell = begin(TrainJob)
    stop = threading.Event()
    threading.Thread(target=_wait_for_stop, args=(stop,), daemon=True).start()

    try:
        with sole_writer(Path(job.output)):
            check_free(Path(job.output), Path(job.resume) if job.resume else None)
            tell(train(job, stop.is_set, tell))
    except Exception as error:  # a backend may raise anything
        status, text = explained(error)
        ours = isinstance(error, GanbenchError)
        memory = "out of memory: " * (status == "out of memory" and not ours)
        tell(Failed((type(error) if ours else GanbenchError).__name__, memory + text))


def train(job: TrainJob, stopping: Callable[[], bool], tell: Callable[[Message], None]) -> Ended:
    """Do the job; all messages except the last go through ``tell``."""
    target, spec = job.target, job.spec
    if importlib.util.find_spec("PIL") is None:  # --python names another interpreter than the one that was looked at
        install = shlex.join([sys.executable, "-m", "pip", "install", "Pillow"])
        raise UnavailableError(f"{sys.executable} lacks Pillow, which draws a training's pictures: {install}")
    cls = registry.load(target.backend)
    backend = cls(target.mode, target.device)
    operation = GANIteration(spec)
    images = np.load(Path(job.folder) / IMAGES, allow_pickle=False)
    answers = answer(operation, job.dtype, "ieee", images)
    inputs = operation.inputs(answers.seed, job.dtype, images)
    program, _, _ = first_call(backend, operation, inputs)
    gate = verify(program, operation, answers, job.dtype)
    if not gate.passed:
        raise GanbenchError(
            f"its gan_iteration did not pass the gate: {gate.reason}; 'ganbench verify' shows all errors"
        )

    rows = np.asarray(np.load(Path(job.folder) / ROWS, mmap_mode="r"))
    start = _start(job)
    cost = cost_of_feeding(backend, operation, program, stream(rows, spec, job.seed, 0))
    saver = Saver(Path(job.output), start, job.iterations, job.sound)
    saver.keep(start.gan, start.losses)  # before the first iteration: a disk that takes no state is found now
    about = Started(
        format=LOG_FORMAT, version=version("ganbench"), timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
        target=target.label, framework_version=cls.probe().version, device_name=facts.device_name(target.device),
        denormals=facts.denormals(backend), spec=spec, dtype=job.dtype,
        threads=int(os.environ.get("OMP_NUM_THREADS", "1")), seed=job.seed, data=job.data, rows=len(rows),
        per_epoch=len(rows) // spec.real_rows, step=start.step, iterations=job.iterations,
        max_rel_error=gate.max_rel_error,
    )  # fmt: skip
    with contextlib.closing(Log(Path(job.output), spec, start.step, about.per_epoch)) as log:
        for message in (about, cost):
            log.write(message)
            tell(message)
        fed = Fed(backend, program, stream(rows, spec, job.seed, start.step), start.gan)
        ended = Loop(about, program, fed, start.losses, log, saver, tell).run(stopping)
        log.write(ended)
        log.sync()
    return ended


def _start(job: TrainJob) -> TrainingState:
    """Return the state at the start: a saved one, in the dtype asked for, or a new model."""
    if not job.resume:
        return beginning(job.spec, job.dtype, job.seed, job.data)
    saved = load_state(job.resume, job.spec)
    generator, discriminator = (
        NetworkState(*([array.astype(job.dtype) for array in part] for part in network)) for network in saved.gan[:2]
    )
    return saved._replace(gan=GANState(generator, discriminator, saved.gan.step))


def beginning(spec: GANSpec, dtype: str, seed: int, data: str) -> TrainingState:
    """Return a training before its first iteration."""
    return TrainingState(
        spec=spec,
        gan=initial_state(np.random.default_rng(seed), spec, dtype),
        seed=seed,
        data=data,
        losses=np.empty((0, len(spec.reported))),
        strip_steps=np.empty(0, np.int64),
        strip=np.empty((0, STRIP_COLUMNS, spec.img_dim), np.float16),
    )


def _wait_for_stop(stop: threading.Event) -> None:
    # Not through sys.stdin: a thread that waits there holds a lock that the interpreter needs to end.
    os.read(sys.stdin.fileno(), 1)
    stop.set()


if __name__ == "__main__":
    main()
