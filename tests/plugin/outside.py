"""A backend from another distribution; its modes misbehave in every way that a run must survive."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
from ganbench.backends.numpy_backend import NumpyBackend

from ganbench.backend import Backend
from ganbench.errors import UnavailableError, UnsupportedError


class OutsideBackend(NumpyBackend):
    """NumPy under another name; ``matmul`` is where a mode shows its nature."""

    name = "outside"
    modes: ClassVar[dict[str, str]] = {
        "plain": "does what it should",
        "wrong": "is off by 1 %",
        "drifts": "is right at first and wrong after 200 calls",
        "raises": "raises ValueError",
        "unsupported": "refuses",
        "unavailable": "cannot be constructed",
        "memory": "raises MemoryError",
        "crash": "aborts the process",
        "late": "aborts the process after 200 calls",
        "killed": "is killed as if memory had run out",
        "hang": "never returns",
        "noisy": "prints to standard output",
        "helper": "starts a process in a session of its own, as a compiler's pool may",
        "daemon": "forks a process that goes on in a session of its own",
        "spinner": "leaves a busy process in a session and an environment of its own",
        "pool": "has its work done by processes that may run on every processor",
        "escapes": "has it done by such processes in sessions of their own",
        "slow": "takes two milliseconds longer",
        "hungry": "takes 200 MiB while it works",
        "clock": "replaces the clock by one that is ten times too slow",
        "drags": "replaces the clock by one that is 5 % too slow",
        "slackens": "does so after 200 calls",
        "rubbish": "writes what is no message to the channel",
        "forged": "answers another request on the channel",
        "verbose": "says 5 MB in one line and aborts",
        "lazy": "multiplies when it is looked at, and does not wait for it",
        "thread": "multiplies in a thread, and does not wait for it",
        "tires": "makes no more steps after the eighth",
        "later": "the same, from the second round on",
        "breaks": "gives NaN from the twentieth step on",
        "garbles": "gives outputs that are no arrays",
    }
    module = "outside"
    distributions = ("ganbench-outside",)
    install = "pip install ganbench-outside"

    def __init__(self, mode="", device="", precision="ieee"):
        super().__init__(mode, device, precision)
        if self.mode == "unavailable":
            raise UnavailableError("this framework is out to lunch")
        if "OUTSIDE_SPAWN" in os.environ:
            Path(os.environ["OUTSIDE_SPAWN"]).write_text(str(os.getpid()))
        if self.mode == "helper":
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
        if self.mode == "daemon" and os.fork() == 0:
            os.setsid()
            time.sleep(1000)
        if self.mode == "spinner":
            spin = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'while True: pass'], env={})"
            subprocess.run([sys.executable, "-c", spin], start_new_session=True, env={}, check=True)
        if self.mode in ("pool", "escapes"):
            work = "import os; os.sched_setaffinity(0, range(os.cpu_count()))\nwhile True: pass"
            for _ in range(4):
                subprocess.Popen([sys.executable, "-c", work], start_new_session=self.mode == "escapes")
        if self.mode == "clock":
            _slow_down(10)
        if self.mode == "drags":
            _slow_down(1.05)
        self._tires = self.mode == "tires"
        if self.mode == "later":
            been = Path(os.environ["OUTSIDE_BEEN"])
            self._tires = been.exists()
            been.touch()
        self._calls = 0
        self._thread = ThreadPoolExecutor(1)

    def to_numpy(self, array):
        if isinstance(array, Future):
            array = array.result()
        if self.mode == "garbles":
            return object()
        return super().to_numpy(array() if callable(array) else array)

    def adam_step(self, spec, params, grads, m, v, step):
        if self._tires and step > 8:
            return params, m, v
        if self.mode == "later":
            time.sleep(0.0002)  # so that what makes no steps is several times as fast, on a busy machine, too
        if self.mode == "breaks" and step >= 20:
            params[0][...] = np.nan
        return super().adam_step(spec, params, grads, m, v, step)

    def matmul(self, a, b):
        self._calls += 1
        late = self._calls > 200
        if self.mode == "slackens" and self._calls == 200:
            _slow_down(1.05)
        if self.mode == "wrong" or (self.mode == "drifts" and late):
            return (a @ b) * a.dtype.type(1.01)
        if self.mode == "raises":
            raise ValueError("no\nproduct today")
        if self.mode == "unsupported":
            raise UnsupportedError("matmul is beneath this backend")
        if self.mode == "memory":
            raise MemoryError
        if self.mode == "crash" or (self.mode == "late" and late):
            os.abort()
        if self.mode == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "hang":
            time.sleep(1000)
        if self.mode == "noisy":
            print('{"type": "timed", "seconds": 0.0, "cores": 1.0}', flush=True)
        if self.mode == "hungry":
            np.ones(200 * 2**20 // 8)
        if self.mode in ("slow", "pool", "escapes"):
            time.sleep(0.002)
        if self.mode == "rubbish":
            _tell_parent(b"this is no message\n")
        if self.mode == "forged":
            _tell_parent(b'{"heard":0.0,"said":0.0,"reply":{"type":"ceilings","visit":null}}\n')
        if self.mode == "verbose":
            os.write(2, b"x" * 5_000_000 + b" and no more\n")
            os.abort()
        if self.mode == "lazy":
            return lambda: a @ b
        if self.mode == "thread":
            return self._thread.submit(np.matmul, a, b)
        return a @ b


def _slow_down(factor):
    """Have the clock go on from what it shows now, more slowly."""
    clock, now = time.perf_counter, time.perf_counter()
    time.perf_counter = lambda: now + (clock() - now) / factor


def _tell_parent(line):
    """Write to every pipe that can be written to: one of them is the worker's channel."""
    for number in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.write(number, line)


# What the harness asks of a class, before there is a worker that could fail.


class LoudBackend(OutsideBackend):
    name = "loud"

    @classmethod
    def environment(cls, device, dtype, precision, cache):
        raise RuntimeError("no environment today")


class MuteBackend(OutsideBackend):
    name = "mute"

    @classmethod
    def probe(cls):
        raise RuntimeError("no probe today")


class OddBackend(OutsideBackend):
    name = "odd"

    @classmethod
    def environment(cls, device, dtype, precision, cache):
        return {"OMP_NUM_THREADS": 1}


class NulBackend(OutsideBackend):
    name = "nul"

    @classmethod
    def environment(cls, device, dtype, precision, cache):
        return {"A\0B": "no process can have this variable"}


class LackingBackend(OutsideBackend):
    name = "lacking"

    @classmethod
    def lacks(cls, device, dtype, precision):
        raise RuntimeError("no formats today")


class EarlierBackend(OutsideBackend):
    """Written before there was a Wasserstein loss."""

    name = "earlier"
    losses = Backend.losses
    penalty_grad = Backend.penalty_grad

    def gan_iteration(self, spec, state, real, z_d, z_g):
        return super().gan_iteration(spec, state, real, z_d, z_g)
