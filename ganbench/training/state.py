"""The folder of a training: its state, from which any backend resumes, and its pictures; when they are saved.

Keys of the state, a .npz file: ``generator.W1``, ``generator.b1``, ... in the shapes of ``torch.nn.Linear``; with batch
norm ``generator.gamma1``, ``generator.beta1`` and ``generator.running.mean1``, ``.var1``; Adam's moments
``generator.m.W1``, ``generator.v.W1``; the same for ``discriminator``; ``step``, the iterations completed;
``spec``, the model as JSON; ``format``, and what resuming needs besides. Nothing in it is pickled.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ..array_ops import GANState, NetworkState
from ..data.sound import wav_bytes
from ..errors import DataError, SpecError, UsageError
from ..gan import GANSpec
from ..layers import parameters, running
from ..machine.lock import try_lock
from ..results.store import replace_file
from . import pictures
from .batches import sample_noise

STATE, SAMPLES, STRIP, SOUND = "state.npz", "samples.png", "strip.png", "samples.wav"
FIRST_S, EVERY_S = 1.0, 10.0  # at first after 1, 2, 4 and 8 seconds
LARGEST_SHARE = 0.05  # of the time: a model whose state takes long to write is saved less often
STRIP_PARTS = 10  # the strip shows the beginning, and the end of each tenth
STRIP_COLUMNS = 10
STATE_FORMAT = 1
BESIDE = ("seed", "data", "losses", "strip_steps", "strip")  # fields of a ``TrainingState`` under their own names


class TrainingState(NamedTuple):
    """A training at one moment; arrays are on the host.

    ``losses`` is what each iteration of the epoch that is not finished reported. ``strip`` holds
    rows generated from the same noise after each of ``strip_steps`` iterations.
    """

    spec: GANSpec
    gan: GANState
    seed: int
    data: str  # a hash over the rows it learns from
    losses: np.ndarray
    strip_steps: np.ndarray
    strip: np.ndarray

    @property
    def step(self) -> int:
        """How many iterations are completed."""
        return int(self.gan.step)

    @property
    def dtype(self) -> str:
        """The dtype it was trained in."""
        return str(self.gan.generator.params[0].dtype)


def entries(spec: GANSpec) -> list[tuple[str, tuple[int, ...]]]:
    """Return (key, shape) of every array of a GAN, in the order of ``gan_iteration``'s outputs."""
    found = []
    for role, layers in (("generator", spec.generator_layers), ("discriminator", spec.discriminator_layers)):
        for part in ("", "m.", "v."):
            found += [(f"{role}.{part}{name}", shape) for name, shape in parameters(layers)]
        found += [(f"{role}.running.{name}", shape) for name, shape in running(layers)]
    return found


def assemble(spec: GANSpec, arrays: Sequence[np.ndarray], step: int) -> GANState:
    """Return the GAN whose arrays stand in the order of ``entries``."""
    left, networks = iter(arrays), []
    for layers in (spec.generator_layers, spec.discriminator_layers):
        counts = [len(parameters(layers))] * 3 + [len(running(layers))]
        networks.append(NetworkState(*(list(islice(left, count)) for count in counts)))
    return GANState(networks[0], networks[1], np.int32(step))


def save_state(path: Path, state: TrainingState) -> None:
    """Write ``state`` so that ``path`` is a complete file at every moment; raises ``StorageError``."""
    flat = [array for network in state.gan[:2] for part in network for array in part]
    arrays: dict[str, Any] = {key: array for (key, _), array in zip(entries(state.spec), flat, strict=True)}
    spec = msgspec.json.encode(state.spec).decode()
    arrays |= {"format": STATE_FORMAT, "spec": spec, "step": state.step}
    arrays |= {name: getattr(state, name) for name in BESIDE}
    replace_file(path, lambda file: np.savez(file, **arrays))


def load_state(path: str | Path, spec: GANSpec | None = None) -> TrainingState:
    """Return the state in a file of ``save_state``.

    Raises ``DataError`` if the file is damaged or no state, and ``SpecError`` with the differences if its model is not
    ``spec``.
    """
    try:
        found = _interpret(_read(Path(path)))
    except (DataError, SpecError, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise DataError(f"state {path}: {error}") from error
    if spec is not None:
        check_model(path, found, spec)
    return found


def check_model(path: object, saved: TrainingState, asked: GANSpec) -> None:
    """Raise ``SpecError`` with the differences if the model of a state, but for its name, is not the one asked for."""
    differs = "; ".join(
        f"{field} is {_shown(getattr(saved.spec, field))} in the state, {_shown(getattr(asked, field))} asked for"
        for field in GANSpec.__struct_fields__
        if field != "name" and getattr(saved.spec, field) != getattr(asked, field)
    )
    if differs:
        raise SpecError(f"state {path} is of another model: {differs}")


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damage surfaces as anything: BadZipFile, ValueError, EOFError, AttributeError
        why = "no zip archive" if "pickle" in str(error) else str(error) or type(error).__name__  # NumPy's last guess
        raise DataError(f"is not a whole .npz file of ganbench: {why}") from error


def _interpret(arrays: dict[str, np.ndarray]) -> TrainingState:
    if "format" not in arrays or "spec" not in arrays:
        raise DataError("holds no model: only a state.npz that 'ganbench train' wrote can be resumed")
    if int(arrays["format"]) != STATE_FORMAT:
        raise DataError(f"has format {int(arrays['format'])}; this ganbench reads format {STATE_FORMAT}")
    spec = msgspec.json.decode(str(arrays["spec"]), type=GANSpec)
    named = entries(spec)
    for key in (*(key for key, _ in named), "step", *BESIDE):
        if key not in arrays:
            raise DataError(f"lacks '{key}'")
    dtype = arrays[named[0][0]].dtype
    for key, shape in named:
        if arrays[key].shape != shape or arrays[key].dtype != dtype:
            raise DataError(f"'{key}' is {arrays[key].dtype} {arrays[key].shape} instead of {dtype} {shape}")
        if not np.isfinite(arrays[key]).all():
            raise DataError(f"'{key}' is not finite")
    gan = assemble(spec, [arrays[key] for key, _ in named], int(arrays["step"]))
    seed, data, *others = (arrays[name] for name in BESIDE)
    return TrainingState(spec, gan, int(seed), str(data), *others)


def check_free(folder: Path, resume: Path | None) -> None:
    """Raise ``UsageError`` if ``folder`` has another training than the resumed one."""
    state = folder / STATE
    if state.exists() and not (resume is not None and resume.exists() and state.samefile(resume)):
        raise UsageError(
            f"{folder} already has a training: continue it with --resume {state}, or choose another --output"
        )


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Lock ``folder`` against other trainings; the system unlocks it when this process ends, however it ends.

    Raises ``UsageError`` if another training has locked it.
    """
    with try_lock(folder) as free:
        if not free:
            raise UsageError(f"another training is writing into {folder}: wait for it, or choose another --output")
        yield


class Saver:
    """Saves one training into ``folder``; each file is complete at every moment."""

    def __init__(self, folder: Path, start: TrainingState, iterations: int, sound: bool) -> None:
        self._folder, self._last, self._iterations, self._sound = folder, start, iterations, sound
        self._strip_steps, self._strip = start.strip_steps, start.strip
        self._noise = sample_noise(start.spec, start.seed)
        self._began = self._saved_at = time.perf_counter()
        self._took = 0.0
        self.seconds = 0.0  # in all

    @property
    def step(self) -> int:
        """How many iterations the saved state has."""
        return self._last.step

    def due(self, step: int) -> bool:
        """Whether it is time for ``keep``."""
        return self._line_due(step) or self._state_due()

    def keep(self, gan: GANState, losses: np.ndarray, finished: bool = False) -> None:
        """Save what is due: a line of the strip, the state with its pictures; raises ``StorageError``.

        ``losses`` are those of the unfinished epoch. At the beginning, and when the training has ``finished``, the
        state is always saved.
        """
        began = time.perf_counter()
        rows = pictures.generate(self._last.spec, gan.generator.params, gan.generator.running, self._noise)
        if self._line_due(int(gan.step)):
            self._add_line(int(gan.step), rows[:STRIP_COLUMNS])
        if finished or self.seconds == 0 or self._state_due():
            self._save(gan, losses, rows)
            self._saved_at = time.perf_counter()
            self._took = self._saved_at - began
        self.seconds += time.perf_counter() - began

    def _state_due(self) -> bool:
        wait = min(EVERY_S, max(FIRST_S, self._saved_at - self._began))
        return time.perf_counter() - self._saved_at > max(wait, self._took / LARGEST_SHARE)

    def _line_due(self, step: int) -> bool:
        if not len(self._strip_steps):
            return True
        now, before = (at * STRIP_PARTS // self._iterations for at in (step, int(self._strip_steps[-1])))
        return now > before

    def _add_line(self, step: int, rows: np.ndarray) -> None:
        """Add a line to the strip; if it then has too many lines, remove one of the two closest."""
        self._strip_steps = np.append(self._strip_steps, step)
        self._strip = np.concatenate([self._strip, rows[None].astype(np.float16)])
        while len(self._strip) > STRIP_PARTS + 1:  # a training that was resumed for longer
            closest = 1 + int(np.argmin(self._strip_steps[2:] - self._strip_steps[:-2]))
            self._strip_steps = np.delete(self._strip_steps, closest)
            self._strip = np.delete(self._strip, closest, axis=0)

    def _save(self, gan: GANState, losses: np.ndarray, rows: np.ndarray) -> None:
        self._last = self._last._replace(gan=gan, losses=losses, strip_steps=self._strip_steps, strip=self._strip)
        save_state(self._folder / STATE, self._last)
        about = self._last.spec, self._sound
        self._write(SAMPLES, pictures.grid(rows, *about))
        self._write(STRIP, pictures.strip(self._strip, self._strip_steps.tolist(), *about))
        if self._sound:
            self._write(SOUND, wav_bytes(rows))

    def _write(self, name: str, content: bytes) -> None:
        replace_file(self._folder / name, lambda file: file.write(content))
