"""PyTorch on two GPUs that only pretend: tensors have a device, a dtype and a shape, and no numbers."""

import contextlib
import types

import pytest
import torch
from ganbench.backends import torch_backend
from ordering import HOST, Order
from shapes import Shapes
from torch._subclasses import fake_tensor
from watched import Watched

from ganbench.registry import load

TorchBackend = load("torch")


def moved(parameter, applied):
    """Move a parameter of a network to a GPU; it stays the same object, as real ones do."""
    parameter.data, parameter.fake_device = applied.data, applied.fake_device


@pytest.fixture
def cuda(monkeypatch):
    """Two GPUs with compute capability 9.0; returns what is done to them, and in which ``order``."""
    done = types.SimpleNamespace(used=[], synchronised=0, recorded=None, order=Order())

    class Stream:
        def wait_stream(self, stream):
            done.order.wait(self, stream)

    class Event:
        """Between two events there is a millisecond for each operation."""

        def __init__(self, enable_timing=False):
            self._timed, self._work, self._moment = enable_timing, None, None

        def record(self):
            self._moment = done.order.moment(current)
            self._work = self._moment[current]

        def synchronize(self):
            done.order.wait_for_event(HOST, self._moment)

        def elapsed_time(self, end):
            assert self._timed, "CUDA gives no time of events that were not made for it"
            return float(end._work - self._work)

    current = default = Stream()
    recording, warmed = False, set()

    def work(name):
        """Put an operation where the current stream has it: into the stream, or into what is recorded of it."""
        if recording:
            assert name in warmed, f"{name} is recorded, and was not run before on a stream that is not the default"
            return
        done.order.work(current)
        warmed.update([name] if current is not default else ())

    def synchronize():
        done.synchronised += 1
        done.order.wait_for_all()

    @contextlib.contextmanager
    def on(stream):
        nonlocal current
        before, current = current, stream
        yield
        current = before

    @contextlib.contextmanager
    def graph(made):
        nonlocal recording
        before, recording = done.synchronised, True
        with done.seen() as done.recorded:
            yield
        recording = False
        assert done.synchronised == before, "CUDA refuses to wait while a graph is recorded"

    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_capability": lambda index: (9, 0),
        "get_device_properties": lambda device: types.SimpleNamespace(L2_cache_size=50 * 2**20),
        "set_device": done.used.append,
        "synchronize": synchronize,
        "Stream": Stream,
        "Event": Event,
        "stream": on,
        "current_stream": lambda: current,
        "CUDAGraph": lambda: types.SimpleNamespace(replay=lambda: work("replay")),
        "graph": graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch_backend, "require_compiler", lambda device: None)
    monkeypatch.setattr(torch, "compile", lambda function, **how: function)
    monkeypatch.setattr(torch._dynamo, "reset", lambda: None)  # with nothing compiled, it imports the compiler first
    monkeypatch.setattr(TorchBackend, "to_numpy", lambda self, array: array)
    monkeypatch.setattr(torch.utils, "swap_tensors", moved)
    monkeypatch.setattr(fake_tensor, "init_gpu_context", lambda device: None)
    monkeypatch.setattr(fake_tensor, "CONSTANT_NUMEL_LIMIT", 0)  # it would make tensors of one number real ones
    # Watched throughout, since it answers for numbers that the host has. Backward passes in this thread: those of GPUs
    # have threads only where there is a GPU.
    watched = Watched(work)
    done.seen = watched.seen
    with Shapes(), watched, torch.autograd.set_multithreading_enabled(False):
        yield done
    assert not done.order.beside, "a stream did not wait for the work of another"
    torch.set_float32_matmul_precision("highest")
