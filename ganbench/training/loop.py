"""The loop: feed the program, count epochs, write the log, and save in time."""

import time
from collections.abc import Callable

import numpy as np

from ..backend import Program
from ..errors import GanbenchError
from ..gan import STAGED_BATCHES
from .batches import Fed
from .log import Log
from .protocol import Ended, Enqueued, Epoch, Message, Started, derived
from .state import STATE, Saver, assemble

PROGRESS_S = 0.1  # no more often: whoever reads it shares the processor


class Loop:
    """The training ``goal`` on one program; ``step`` iterations are enqueued, the losses of ``read`` are known."""

    def __init__(
        self, goal: Started, program: Program, fed: Fed, unfinished: np.ndarray, log: Log, saver: Saver,
        tell: Callable[[Message], None],
    ) -> None:  # fmt: skip
        self._goal, self._program, self._fed, self._log, self._saver, self._tell = goal, program, fed, log, saver, tell
        self.step = self.read = goal.step
        self._unfinished = unfinished  # losses of the epoch that is running
        self._mark, self._last_rate = (goal.step, 0.0), 0.0  # iterations and seconds at the last line of the log

    def run(self, stopping: Callable[[], bool]) -> Ended:
        """Train to the goal, or until ``stopping``; then save the state."""
        goal = self._goal
        self._began, self._saved_s, self._told = time.perf_counter(), self._saver.seconds, 0.0
        while self.step < goal.iterations and not stopping():
            self.step += self._fed.advance(min(STAGED_BATCHES, goal.iterations - self.step))
            self._take(self._fed.read_losses())
            if self._clock() > self._told + PROGRESS_S:
                self._told = self._clock()
                self._tell(Enqueued(self.step))
            if self._saver.due(self.step):
                self._keep()
        complete = self.step >= goal.iterations
        self._take(self._fed.read_losses(wait=True))
        if len(self._unfinished):
            self._write_epoch(self._unfinished, self._rate())
        if self._saver.step < self.step:
            self._keep(finished=True)
        saving_s = self._saver.seconds - self._saved_s
        return Ended("complete" if complete else "interrupted", self.step, self._clock() + saving_s, saving_s)

    def _take(self, losses: np.ndarray) -> None:
        """Write losses into the log, and each epoch that they complete."""
        if not len(losses):
            return
        finite = np.isfinite(losses).all(axis=1)
        if not finite.all():
            raise GanbenchError(
                f"training diverged: the losses are not finite at iteration {self.read + 1 + int(finite.argmin()):,}; "
                f"{STATE} still holds iteration {self._saver.step:,}; a lower lr may help"
            )
        self._log.losses(self.read, losses)
        self.read += len(losses)
        self._unfinished = np.concatenate([self._unfinished, losses])
        if len(self._unfinished) < self._goal.per_epoch:
            return
        rate = self._rate()
        while len(self._unfinished) >= self._goal.per_epoch:
            self._write_epoch(self._unfinished[: self._goal.per_epoch], rate)
            self._unfinished = self._unfinished[self._goal.per_epoch :]

    def _write_epoch(self, losses: np.ndarray, rate: float) -> None:
        means = dict(zip(self._goal.spec.reported, losses.mean(axis=0).tolist(), strict=True))
        means |= derived(means)
        end = self.read - len(self._unfinished) + len(losses)
        number = -(-end // self._goal.per_epoch)
        epoch = Epoch(epoch=number, step=end, iterations=len(losses), images_per_s=round(rate, 1), **means)
        self._log.write(epoch)
        self._tell(epoch)

    def _clock(self) -> float:
        """Return the seconds since ``run`` began, without those for saving."""
        return time.perf_counter() - self._began - (self._saver.seconds - self._saved_s)

    def _rate(self) -> float:
        """Return images per second since the last line."""
        before, start = self._mark
        if self.step > before:  # otherwise nothing was enqueued since the last line
            self._mark = self.step, self._clock()
            self._last_rate = (self.step - before) * self._goal.spec.real_rows / (self._mark[1] - start)
        return self._last_rate

    def _keep(self, finished: bool = False) -> None:
        self._take(self._fed.read_losses(wait=True))
        spec = self._goal.spec
        gan = assemble(spec, self._program.outputs()[: -len(spec.reported)], self.step)
        self._log.sync()  # first the log: a state is never ahead of it
        self._saver.keep(gan, self._unfinished, finished)
