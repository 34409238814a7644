"""CuPy, from its own wheel, on a driver that only pretends."""

import json
import os
from pathlib import Path

import cupy
import numpy as np
import pytest
from cupy._core._routines_linalg import set_compute_type
from driver import DRIVER

from ganbench.registry import load

LOG = Path(os.environ["FAKE_CUDA_LOG"])
UNDECIDED = 0  # CuPy's compute type before it has read CUPY_TF32


@pytest.fixture
def calls():
    """Return a function that tells what the driver was asked for since it was last called."""
    LOG.touch()
    with LOG.open() as log:
        log.seek(0, os.SEEK_END)
        yield lambda: [json.loads(line) for line in log]


@pytest.fixture
def make(monkeypatch):
    """Return a function that makes a backend as a worker would, with the variables that it asks for."""

    def make(mode="", precision="ieee", device="cuda"):
        for name, value in load("cupy").environment(device, "float32", precision, os.environ["CUPY_CACHE_DIR"]).items():
            monkeypatch.setenv(name, value)
        set_compute_type(np.float32, UNDECIDED)
        return load("cupy")(mode, device, precision)

    yield make
    cupy.cuda.Device(0).use()


@pytest.fixture
def devices():
    """Return a function by which there are so many devices of such a compute capability."""
    yield DRIVER.fake_devices
    DRIVER.fake_devices(2, 90)
