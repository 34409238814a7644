"""The folder of a training: it belongs to one training, and has its state, its pictures and its log."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..array_ops import GANState
from ..data.sound import wav_bytes
from ..errors import UsageError
from ..machine.lock import try_lock
from ..results.store import replace_file
from . import pictures
from .batches import sample_noise
from .generation import generate
from .state import TrainingState, save_state

STATE, SAMPLES, STRIP, SOUND = "state.npz", "samples.png", "strip.png", "samples.wav"
FIRST_S, EVERY_S = 1.0, 10.0  # at first after 1, 2, 4 and 8 seconds
LARGEST_SHARE = 0.05  # of the time: a model whose state takes long to write is saved less often
STRIP_PARTS = 10  # the strip shows the beginning, and the end of each tenth
STRIP_COLUMNS = 10


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
        rows = generate(self._last.spec, gan.generator.params, gan.generator.running, self._noise)
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
        about = self._last.spec.data_range, self._sound
        self._write(SAMPLES, pictures.grid(rows, *about))
        self._write(STRIP, pictures.strip(self._strip, self._strip_steps.tolist(), *about))
        if self._sound:
            self._write(SOUND, wav_bytes(rows))

    def _write(self, name: str, content: bytes) -> None:
        replace_file(self._folder / name, lambda file: file.write(content))
