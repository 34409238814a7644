"""Makes a training from its settings, or raises an error that says what is valid."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import registry
from ..data import is_sound, load_images, unread
from ..data.sound import load_recordings
from ..errors import DataError, UnavailableError, UsageError, require
from ..gan import PRESETS, GANSpec, with_loss
from ..measure.plan import Plan, make_plan
from ..operations.networks import GANIteration
from ..precision import FULL, PRECISIONS
from ..results.store import check_writable, some_home
from .state import TrainingState, check_free, check_model, load_state

LARGEST_STEP = np.iinfo(np.int32).max  # Adam counts in this type on every backend


class Training(NamedTuple):
    """The data, length and output folder of a training; ``plan`` has targets, dtype and processors."""

    plan: Plan
    rows: np.ndarray
    digest: str
    note: str  # on the data, for the user
    sound: bool
    iterations: int
    output: Path
    resume: Path | None
    saved: TrainingState | None

    @property
    def spec(self) -> GANSpec:
        """The model."""
        return self.plan.spec

    @property
    def per_epoch(self) -> int:
        """The number of iterations in an epoch."""
        return len(self.rows) // self.spec.real_rows

    def folder(self, label: str) -> Path:
        """Return the folder for the files of a target; each target has its own if there are several."""
        return self.output / label if len(self.plan.targets) > 1 else self.output


def make_training(
    backends: str | Sequence[str],
    *,
    output: str | Path,
    spec: GANSpec | None = None,
    epochs: int | None = None,
    iterations: int | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    data: str | Path | None = None,
    resume: str | Path | None = None,
    loss: str | None = None,
    python: str | Sequence[str] = "",
) -> Training:
    """Check all settings and return the training with its data; nothing is written yet.

    A setting that is not given comes from the resumed state, or else is the default. Raises ``UsageError``,
    ``DataError``, ``SpecError`` or ``UnavailableError``.
    """
    if (epochs is None) == (iterations is None):
        raise UsageError("say how long to train: either --epochs N or --iterations N")
    for name, value in (("epochs", epochs), ("iterations", iterations)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value} is not valid: at least 1")
    saved = None if resume is None else load_state(resume)
    spec = spec or (PRESETS["mnist-mlp"] if saved is None else saved.spec)
    if loss is not None:
        spec = with_loss(spec, loss)
    if saved is not None:
        check_model(resume, saved, spec)
        dtype = dtype or saved.dtype
        if seed not in (None, saved.seed):
            raise UsageError(f"seed {seed} is not that of the state, {saved.seed}: leave --seed out")
        seed = saved.seed
    if dtype in PRECISIONS and dtype not in FULL:
        raise UsageError(f"dtype '{dtype}' cannot train: valid are {' and '.join(FULL)}; 'compare' measures {dtype}")
    plan = make_plan(
        spec,
        backends=backends,
        python=python,
        ops=[GANIteration.name],
        dtype=dtype or "float32",
        threads=threads,
        data=data,
        seed=seed or 0,
        timed=False,
    )
    _check_installed(plan)
    rows, note, sound = _rows(plan)
    if len(rows) < spec.real_rows:
        batches = f"{spec.critic_steps} batches" if spec.critic_steps > 1 else "a batch"
        largest = len(rows) // spec.critic_steps
        way = f"pass --batch {largest} or less" if largest else f"at least {spec.critic_steps} are needed"
        raise DataError(f"{len(rows)} rows of data do not fill {batches} of {spec.batch}: {way}")
    digest = hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()
    total = iterations if iterations is not None else (epochs or 0) * (len(rows) // spec.real_rows)
    if total * spec.critic_steps > LARGEST_STEP:
        raise UsageError(f"{total:,} iterations are not valid: at most {LARGEST_STEP // spec.critic_steps:,}")
    if saved is not None:
        if saved.data != digest:
            raise DataError(f"state {resume} was trained on other data: pass the same --data")
        if saved.step >= total:
            raise UsageError(
                f"state {resume} has {saved.step:,} iterations already; {total:,} were asked for, "
                "counted from the first: pass more"
            )
    training = Training(
        plan, rows, digest, note, sound, total, Path(output), None if resume is None else Path(resume), saved
    )
    for target in plan.targets:
        folder = training.folder(target.label)
        check_free(folder, training.resume)
        check_writable(folder, "--output")
    return training


def _check_installed(plan: Plan) -> None:
    """Raise ``UnavailableError`` now if something is missing that is needed later."""
    for target in plan.targets:
        registry.check_python(target.python)
        probe = registry.about(target.backend, target.python).probe
        reason = probe.reasons.get(target.device.partition(":")[0])
        if reason is not None:
            raise UnavailableError(f"target '{target}' cannot train here: {reason}; {probe.install}")
    with some_home():  # or what draws the curves would fail after the training
        pass
    require("train", "training", "PIL", "altair", "vl_convert")


def _rows(plan: Plan) -> tuple[np.ndarray, str, bool]:
    """Return the real rows, a note on them, and whether they are sound."""
    left = f"; {told}" if (told := unread(plan.data)) else ""
    if plan.data is not None and is_sound(plan.data):
        recordings = load_recordings(plan.spec, plan.data)
        return recordings.frames, recordings.describe() + left, True
    rows = load_images(plan.spec, plan.data)
    return rows, f"{len(rows):,} rows from {plan.data or 'the UCI handwritten digits'}{left}", False
