"""The NVIDIA GPUs that CUDA programs see, with the same numbers: read with NVML, without loading CUDA.

Workers number GPUs by their place on the bus, as NVML does. ``CUDA_VISIBLE_DEVICES`` may hide and reorder them. It
names them by number or by UUID, and may name slices of MIG.
"""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

# Bits of nvmlDeviceGetCurrentClocksEventReasons (NVML reference, nvmlClocksEventReasons), less those that
# say that the clocks are as high as they were asked to be.
THROTTLE = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
ONE_PROCESS = {2: "PROHIBITED", 3: "EXCLUSIVE_PROCESS"}  # compute modes, as nvmlComputeMode_t numbers them
PROC = Path("/proc/driver/nvidia")
WINDOWS_GPU = Path("/dev/dxg")  # that of a Linux inside Windows, where the driver shows nothing else
ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
T = TypeVar("T")


class Clocks(NamedTuple):
    """The clock of the multiprocessors in MHz, None if it cannot be read, and the reasons why it is lowered."""

    sm_mhz: int | None = None
    throttle: tuple[str, ...] = ()


class Hold(NamedTuple):
    """What may fix a GPU's clock, in MHz; None if NVML does not report it. NVML never reports a locked clock."""

    uuid: str
    highest: int | None  # that its multiprocessors can have
    usual: int | None  # application clock that it comes with
    asked: int | None  # application clock that is set now


def count() -> int:
    """Return the number of visible NVIDIA GPUs."""
    nvml = _nvml()
    if nvml is not None:
        return len(list(_handles(nvml)))
    return len(_listed()) or int(WINDOWS_GPU.exists())


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of the visible NVIDIA GPUs."""
    nvml = _nvml()
    if nvml is None:
        found = (re.search(r"Model:\s*(.+)", told_by(path)) for path in _listed())
        return tuple(match.group(1) for match in found if match)
    return tuple(_text(_asked(nvml, nvml.nvmlDeviceGetName, handle) or "NVIDIA GPU") for handle in _handles(nvml))


def driver() -> str:
    """Return the version of the driver, or ''."""
    nvml = _nvml()
    told = None if nvml is None else _asked(nvml, nvml.nvmlSystemGetDriverVersion)
    if told is not None:
        return _text(told)
    match = re.search(r"Kernel Module(?: for \S+)?\s+([\d.]+)", told_by(PROC / "version"))
    return match.group(1) if match else ""


def holds() -> list[Hold]:
    """Return what may fix the clock of each visible GPU; nothing without NVML."""
    nvml = _nvml()
    return [
        Hold(
            _text(_asked(nvml, nvml.nvmlDeviceGetUUID, handle) or ""),
            _asked(nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
            _asked(nvml, nvml.nvmlDeviceGetDefaultApplicationsClock, handle, nvml.NVML_CLOCK_GRAPHICS),
            _asked(nvml, nvml.nvmlDeviceGetApplicationsClock, handle, nvml.NVML_CLOCK_GRAPHICS),
        )
        for handle in (() if nvml is None else _handles(nvml))
    ]


@functools.cache  # asked for right before something is timed
def clocks(device: str) -> Callable[[], Clocks]:
    """Return a function that reads the clocks of ``device``; without a GPU or NVML it returns empty ``Clocks``."""
    nvml, handle = _handle(device)
    return Clocks if handle is None else functools.partial(_read_clocks, nvml, handle)


def energy(device: str) -> float | None:
    """Return the joules that a GPU has used since its driver was loaded; None if NVML does not report them.

    Its counter moves in steps, some 20 to 100 ms apart.
    """
    nvml, handle = _handle(device)
    millijoules = None if handle is None else _asked(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    return None if millijoules is None else millijoules / 1e3


def one_process(device: str) -> str:
    """Return why several processes cannot use a GPU at once, and what to run; '' if they can, or NVML does not say."""
    nvml, handle = _handle(device)
    mode = None if handle is None else ONE_PROCESS.get(_asked(nvml, nvml.nvmlDeviceGetComputeMode, handle) or 0)
    if mode is None:
        return ""
    uuid = _text(_asked(nvml, nvml.nvmlDeviceGetUUID, handle) or device.partition(":")[2] or "0")
    undo = f"sudo nvidia-smi --id={uuid} --compute-mode=DEFAULT"
    return f"{device} is in compute mode {mode}, but every target has a process of its own, all at once: {undo}"


@functools.cache
def _handle(device: str) -> tuple[Any, Any]:
    """Return NVML and its handle of ``device``; the handle is None if there is no such GPU."""
    kind, _, index = device.partition(":")
    nvml = _nvml() if kind == "cuda" else None
    seen = [] if nvml is None else list(_handles(nvml))
    return nvml, seen[int(index or 0)] if int(index or 0) < len(seen) else None


def _read_clocks(nvml: Any, handle: Any) -> Clocks:
    """Read clock and reasons; NVML may refuse one of them: slices of MIG have no clock of their own."""
    clock = _asked(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM)
    bits = _asked(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    return Clocks(clock, tuple(name for bit, name in THROTTLE.items() if bits & bit))


def _handles(nvml: Any) -> Iterator[Any]:
    """Yield NVML's handles in the order of CUDA, which ignores all names after the first unknown one."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    number = _asked(nvml, nvml.nvmlDeviceGetCount) or 0
    for name in map(str, range(number)) if asked is None else asked.split(","):
        if name.strip().isdigit():
            handle = _asked(nvml, nvml.nvmlDeviceGetHandleByIndex, int(name))
        else:
            handle = _by_uuid(nvml, name.strip(), number)
        if handle is None:
            return
        yield handle


def _by_uuid(nvml: Any, name: str, number: int) -> Any:
    """Return the handle of the GPU or slice whose UUID begins with ``name``; None if there is none."""
    if name.startswith("MIG-"):
        return _asked(nvml, nvml.nvmlDeviceGetHandleByUUID, name)
    handles = (_asked(nvml, nvml.nvmlDeviceGetHandleByIndex, index) for index in range(number))
    known = (one for one in handles if one is not None and name.startswith("GPU-"))
    return next((one for one in known if _text(_asked(nvml, nvml.nvmlDeviceGetUUID, one) or "").startswith(name)), None)


@functools.cache
def _nvml() -> Any:
    """Return NVML after its initialisation; None if it is not installed, or finds no driver."""
    with contextlib.suppress(ImportError):
        import pynvml

        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            return pynvml
    return None


def _asked(nvml: Any, question: Callable[..., T], *arguments: Any) -> T | None:
    """Return NVML's answer; None if it refuses."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None


def _text(told: str | bytes) -> str:
    """Return a text of NVML as ``str``: its older bindings return bytes."""
    return told.decode() if isinstance(told, bytes) else told


def _listed() -> list[Path]:
    return sorted((PROC / "gpus").glob("*/information"))


def told_by(path: str | Path) -> str:
    """Return the text of a file in which the system tells something; '' if there is none that may be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
