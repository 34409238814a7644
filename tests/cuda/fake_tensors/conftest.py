"""PyTorch on two GPUs that only pretend: tensors have a device, a dtype and a shape, and no numbers."""

import contextlib
import types

import pytest
import torch
from ganbench.backends import torch_backend
from torch._subclasses import fake_tensor
from watched import Watched

from ganbench.registry import load


class Stream:
    """A stream that only has a name."""

    def wait_stream(self, stream):
        """Nothing runs, so nothing is waited for."""


def moved(parameter, applied):
    """Move a parameter of a network to a GPU; it stays the same object, as real ones do."""
    parameter.data, parameter.fake_device = applied.data, applied.fake_device


@pytest.fixture
def cuda(monkeypatch):
    """Two GPUs with compute capability 9.0; returns what is done to them."""
    done = types.SimpleNamespace(used=[], synchronised=0, recorded=None)

    def synchronize():
        done.synchronised += 1

    @contextlib.contextmanager
    def graph(made):
        before = done.synchronised
        with Watched() as done.recorded:
            yield
        assert done.synchronised == before, "CUDA refuses to wait while a graph is recorded"

    current = Stream()
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_capability": lambda index: (9, 0),
        "get_device_properties": lambda device: types.SimpleNamespace(L2_cache_size=50 * 2**20),
        "set_device": done.used.append,
        "synchronize": synchronize,
        "Stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "current_stream": lambda: current,
        "CUDAGraph": lambda: types.SimpleNamespace(replay=lambda: None),
        "graph": graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch_backend, "require_compiler", lambda device: None)
    monkeypatch.setattr(torch, "compile", lambda function, **how: function)
    monkeypatch.setattr(load("torch"), "to_numpy", lambda self, array: array)
    monkeypatch.setattr(torch.utils, "swap_tensors", moved)
    monkeypatch.setattr(fake_tensor, "init_gpu_context", lambda device: None)
    monkeypatch.setattr(fake_tensor, "CONSTANT_NUMEL_LIMIT", 0)  # it would make tensors of one number real ones
    # Watched throughout, since it answers for numbers that the host has. Backward passes in this thread: those of GPUs
    # have threads only where there is a GPU.
    with fake_tensor.FakeTensorMode(), Watched(), torch.autograd.set_multithreading_enabled(False):
        yield done
    torch.set_float32_matmul_precision("highest")
