"""CuPy, from its own wheel, on a driver that only pretends."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import cupy
import numpy as np
import pytest
from cupy._core._routines_linalg import set_compute_type
from cupy.cuda import compiler
from cupy_backends.cuda.libs import nvrtc
from driver import DRIVER
from ordering import HOST, Order

from ganbench.registry import load

Cupy = load("cupy")
KEPT, compiled = Path(os.environ["COMPILED_KERNELS"]), compiler._NVRTCProgram.compile
LOG = Path(os.environ["FAKE_CUDA_LOG"])
UNDECIDED = 0  # CuPy's compute type before it has read CUPY_TF32
WORK = {"kernel", "gemm", "memset", "graphLaunch", "copyHostToDevice", "copyDeviceToDevice", "copyDeviceToHost"}
NON_BLOCKING = 1  # flag of a stream that does not wait for the null stream


def compile_once(program, options=(), log_stream=None):
    """Return what NVRTC makes of a kernel, or made of it in a run before, where nothing that it depends on changed."""
    versions = cupy.__version__, nvrtc.getVersion()
    asked = repr((versions, program.src, program.method, program.name_expressions, options))
    path = KEPT / hashlib.sha256(asked.encode()).hexdigest()
    if not path.exists():
        made = path.with_suffix(f".{os.getpid()}")
        # What it makes of the headers it keeps, in memory: two thirds of the time of each kernel.
        made.write_bytes(pickle.dumps(compiled(program, (*options, "--pch"), log_stream)))
        made.rename(path)  # whole, whoever looks for it
    return pickle.loads(path.read_bytes())


compiler._NVRTCProgram.compile = compile_once


class Calls:
    """What the driver was asked for since it was last looked at; ``order`` is that of all the work since the start."""

    def __init__(self, log):
        self._log, self._events, self.order = log, {}, Order()

    def __call__(self):
        DRIVER.fake_flush()
        found = json.loads(f"[{','.join(self._log)}]")
        for call in found:
            self._follow(call, self.order)
        return found

    def _follow(self, call, order):
        if call["call"] in WORK:
            return None if call["recorded"] else order.work(call["stream"])
        match call:
            case {"call": "streamCreate", "flags": flags, "stream": stream} if not flags & NON_BLOCKING:
                order.blocking.add(stream)
            case {"call": "eventRecord", "event": event, "stream": stream}:
                self._events[event] = order.moment(stream)
            case {"call": "streamWaitEvent", "event": event, "stream": stream}:
                order.wait_for_event(stream, self._events.get(event, {}))
            case {"call": "eventSynchronize", "event": event}:
                order.wait_for_event(HOST, self._events.get(event, {}))
            case {"call": "streamSynchronize", "stream": stream}:
                order.wait(HOST, stream)
            case {"call": "deviceSynchronize"}:
                order.wait_for_all()


@pytest.fixture
def calls():
    """Return ``Calls`` from here on; no work of the test may have run beside other work, unless it says so."""
    LOG.touch()
    DRIVER.fake_flush()
    with LOG.open() as log:
        log.seek(0, os.SEEK_END)
        calls = Calls(log)
        yield calls
        calls()
        assert not calls.order.beside, "a stream did not wait for the work of another"


@pytest.fixture
def make(monkeypatch):
    """Return a function that makes a backend as a worker would, with the variables that it asks for."""

    def make(mode="", precision="ieee", device="cuda"):
        for name, value in Cupy.environment(device, "float32", precision, os.environ["CUPY_CACHE_DIR"]).items():
            monkeypatch.setenv(name, value)
        set_compute_type(np.float32, UNDECIDED)
        return Cupy(mode, device, precision)

    yield make
    cupy.cuda.Device(0).use()


@pytest.fixture
def devices():
    """Return a function by which there are so many devices of such a compute capability."""
    yield DRIVER.fake_devices
    DRIVER.fake_devices(2, 90)
