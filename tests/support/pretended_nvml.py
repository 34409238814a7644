"""An NVML that only pretends: three GPUs, and what they tell."""

import contextlib
import sys
import types

from ganbench import gpus

NAMES = ("NVIDIA H100 80GB HBM3", "Quadro T400 4GB", "NVIDIA A100-SXM4-40GB")
UUIDS = ("GPU-1111-aa", "GPU-2222-bb", "GPU-3333-cc")
SLICE = "MIG-4444-dd"


class NVMLError(Exception):
    """What NVML raises whenever it refuses."""


class Nvml(types.ModuleType):
    """Three GPUs, the last of them with a slice; ``refused`` names questions that it does not answer."""

    NVMLError, NVML_CLOCK_GRAPHICS, NVML_CLOCK_SM = NVMLError, 0, 1
    millijoules = 5000
    mode = 0  # that of all: any number of processes

    def __init__(self, refused=(), text=str):
        super().__init__("pynvml")
        self.refused, self._text = refused, text

    def __getattribute__(self, name):
        if name in super().__getattribute__("refused"):
            return super().__getattribute__("_refuse")
        return super().__getattribute__(name)

    def __getattr__(self, name):
        raise AttributeError(name)

    def _refuse(self, *_):
        raise NVMLError("Not Supported")

    def nvmlInit(self):  # noqa: N802 (NVML's own names)
        pass

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(NAMES)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        if index >= len(NAMES):
            raise NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid != SLICE:
            raise NVMLError("Not Found")
        return 2

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return self._text(NAMES[handle])

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return self._text(UUIDS[handle])

    def nvmlDeviceGetComputeMode(self, handle):  # noqa: N802
        return self.mode

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        return self._text("580.65.06")

    def nvmlDeviceGetClockInfo(self, handle, kind):  # noqa: N802
        return 1000 + handle

    def nvmlDeviceGetMaxClockInfo(self, handle, kind):  # noqa: N802
        return 1980

    def nvmlDeviceGetDefaultApplicationsClock(self, handle, kind):  # noqa: N802
        return 1755 if kind == self.NVML_CLOCK_GRAPHICS else self._refuse()

    def nvmlDeviceGetApplicationsClock(self, handle, kind):  # noqa: N802
        lowered = 345 * handle  # on all but the first
        return 1755 - lowered if kind == self.NVML_CLOCK_GRAPHICS else self._refuse()

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):  # noqa: N802
        return 0x4 | 0x1

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        self.millijoules += 250
        return self.millijoules


def forget():
    """Let ``gpus`` look at NVML, and at what else tells of GPUs, anew."""
    for kept in (gpus.names, gpus.clocks, gpus._handle, gpus._nvml):
        kept.cache_clear()


@contextlib.contextmanager
def put_in_place(monkeypatch):
    """Give a function that puts an ``Nvml`` in place, with GPUs that CUDA_VISIBLE_DEVICES shows."""

    def put(visible=None, **how):
        monkeypatch.setitem(sys.modules, "pynvml", Nvml(**how))
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        forget()

    try:
        yield put
    finally:
        forget()
