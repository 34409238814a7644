"""One GPU that only pretends: its clock is held down, and it uses 100 W, of which its counter tells every 20 ms."""

import time

NVML_CLOCK_GRAPHICS, NVML_CLOCK_SM = 0, 1


class NVMLError(Exception):
    """Never raised."""


def nvmlInit():  # noqa: N802 (NVML's own names)
    pass


def nvmlDeviceGetCount():  # noqa: N802
    return 1


def nvmlDeviceGetHandleByIndex(index):  # noqa: N802
    return index


def nvmlDeviceGetName(handle):  # noqa: N802
    return "NVIDIA Pretended 1 GB"


def nvmlDeviceGetUUID(handle):  # noqa: N802
    return "GPU-0"


def nvmlDeviceGetComputeMode(handle):  # noqa: N802
    return 0


def nvmlSystemGetDriverVersion():  # noqa: N802
    return "1.2.3"


def nvmlDeviceGetClockInfo(handle, kind):  # noqa: N802
    return 1234


def nvmlDeviceGetCurrentClocksThrottleReasons(handle):  # noqa: N802
    return 0x4


def nvmlDeviceGetTotalEnergyConsumption(handle):  # noqa: N802
    return int(time.monotonic() / 0.02) * 2000
