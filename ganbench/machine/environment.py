"""This machine: its name and its processors, and everything that may disturb a timing on it."""

import contextlib
import functools
import hashlib
import os
import platform
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from .. import gpus
from .lock import CAN_LOCK
from .memory import forget_peak
from .quota import cpu_quota

SOURCE = Path(__file__).resolve().parents[2]  # the git tree of this ganbench, if it is in one
# Environment variables that may change a time: threads are set by ganbench, and folders change no time.
TUNING = re.compile(
    r"(?!.*_(DIR|HOME|NUM_THREADS|PATH)$)"
    r"((ATEN|BLIS|CUBLAS|CUDA|CUDNN|CUPY|DNNL|GLIBC|GOMP|JAX|KMP|LD_PRELOAD|MALLOC|MIMALLOC|MKL|NPY|NVIDIA|OMP|ONEDNN"
    r"|OPENBLAS|PYTORCH|TBB|TCMALLOC|TF_XLA|TORCH|TORCHDYNAMO|TORCHINDUCTOR|TRITON|VECLIB|XLA)(_|$)"
    # Of Python's own, all but those that say where modules lie and how text is written.
    r"|PYTHON(?!DONTWRITEBYTECODE|EXECUTABLE|HASHSEED|HISTFILE|HOME|IOENCODING|LEGACY|NOUSERSITE|PATH|PLATLIBDIR"
    r"|PYCACHEPREFIX|SAFEPATH|STARTUP|UNBUFFERED|USERBASE|UTF8|WARNINGS))"
)


@functools.cache
def cpu_model() -> str:
    """Return the processor's name as the system gives it, or ''."""
    if platform.system() == "Linux":
        for line in _read("/proc/cpuinfo").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    return platform.processor()


def machine_name() -> str:
    """Return a folder name from this machine's hardware alone, such as ``xeon-8481c-2c``; never the host's name."""
    return hardware_name(cpu_model(), len(usable_cpus()), gpus.names())


def hardware_name(cpu: str, cores: int, gpu_names: Sequence[str]) -> str:
    """Return the name of a machine with this processor, number of cores and GPUs; equal machines have equal names."""
    noise = r"\((r|tm)\)|@.*|\b(intel|amd|apple|cpu|processor|core|genuine|platinum|gold|silver|bronze)\b"
    model = re.sub(noise, " ", cpu.lower())
    model = re.sub(r"\b\d+-core\b|\d+(st|nd|rd|th) gen", " ", model)
    parts = [re.sub(r"[^a-z0-9]+", "-", model).strip("-") or platform.machine().lower()]
    parts.append(f"{cores}c")
    if gpu_names:
        gpu = re.sub(r"\b(nvidia|geforce|tesla)\b", " ", gpu_names[0].lower())
        parts.append(re.sub(r"[^a-z0-9]+", "-", gpu).strip("-"))
    return "-".join(parts)


def usable_cpus() -> list[int]:
    """Return the processors this process may use, one of each physical core, in order.

    There are at most as many as the quota of a control group allows, and at least one.
    """
    allowed = _affinity()
    cores, first = set(), []
    for cpu in allowed:
        siblings = _read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").strip()
        core = siblings or str(cpu)
        if core not in cores:
            cores.add(core)
            first.append(cpu)
    quota = cpu_quota()
    return first if quota is None else first[: max(1, int(quota))]


def _affinity() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count(logical=False) or os.cpu_count() or 1))


def can_pin() -> bool:
    """Whether this system lets a process be pinned to processors."""
    return hasattr(os, "sched_setaffinity")


def can_pause() -> bool:
    """Whether this system lets a group of processes be stopped and continued."""
    return hasattr(os, "killpg") and hasattr(signal, "SIGSTOP") and hasattr(signal, "SIGCONT")


def uncontrolled() -> list[str]:
    """Return sentences about what a run cannot control on this system."""
    found = []
    if not can_pause():
        found.append("idle workers could not be paused")
    if not can_pin():
        found.append("workers could not be pinned to processors, so JAX may have used more threads than the others")
    if not CAN_LOCK:
        found.append("another run at the same time would have gone unnoticed")
    if not hasattr(os, "getloadavg"):
        found.append("the load of the machine could not be read")
    if not forget_peak():
        found.append("the peak of a process's memory could not be reset, so the peaks of operations are lower bounds")
    return found


def metadata() -> dict[str, Any]:
    """Return the properties of this machine that matter for a number measured on it."""
    memory = psutil.virtual_memory()
    return {
        "cpu": cpu_model(),
        "cpus": usable_cpus(),
        "logical_cpus": psutil.cpu_count(),
        "allowed_cpus": len(_affinity()),
        "quota": cpu_quota(),
        "memory_bytes": memory.total,
        "gpus": list(gpus.names()),
        "driver": gpus.driver(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "virtual": "hypervisor" in _read("/proc/cpuinfo"),
        "tuning": [f"{name}={value}" for name, value in sorted(os.environ.items()) if TUNING.match(name)],
        "pinned": can_pin(),
        "uncontrolled": uncontrolled(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def source_state() -> tuple[str | None, bool | None]:
    """Return the git commit of this ganbench, and whether its tree was changed; results do not count as changes."""
    if not (SOURCE / ".git").exists():
        return None, None
    commit = _output("git", "-C", str(SOURCE), "rev-parse", "HEAD")
    return (commit, bool(tree_changes(SOURCE, ".", ":!results"))) if commit else (None, None)


def source_changes() -> str:
    """Return a short hash of the changes of this code since its commit; '' if there are none."""
    return tree_changes(SOURCE, "ganbench", "backends")


def tree_changes(root: Path, *paths: str) -> str:
    """Return a short hash of the changes of ``paths`` in a git tree since its commit; '' if there are none.

    The hash is of the content of each changed or new file, so two versions of a file have different hashes.
    """
    command = ["git", "-C", str(root), "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--"]
    try:
        listed = subprocess.run([*command, *paths], capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    hasher = hashlib.sha256()
    for entry in filter(None, listed.split(b"\0")):
        hasher.update(entry)
        with contextlib.suppress(OSError):  # deleted
            hasher.update(hashlib.sha256((root / os.fsdecode(entry[3:])).read_bytes()).digest())
    return hasher.hexdigest()[:12] if listed else ""


def disturbances() -> list[str]:
    """Return sentences about what may disturb a timing on this machine."""
    found = []
    cores = len(usable_cpus())
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.3 * cores:
        found.append(f"other work is running: load {os.getloadavg()[0]:.2f} on {cores} cores")
    if "hypervisor" in _read("/proc/cpuinfo"):
        found.append("this is a virtual machine: neighbours on the same host are not visible from here")
    if platform.system() == "Linux" and psutil.cpu_times().steal > 0:
        found.append(f"the host took {psutil.cpu_times().steal:.0f} s of processor time since start (steal)")
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
    if governor and governor != "performance":
        found.append(f"the frequency governor is '{governor}', not 'performance'")
    for place, hold in enumerate(gpus.holds()):
        if hold.asked in (None, hold.usual):
            clock = hold.usual or hold.highest or "MHZ"
            found.append(
                f"the clock of GPU {place} may change unless it is locked, which NVML does not report; to lock: sudo "
                f"nvidia-smi --id={hold.uuid or place} --lock-gpu-clocks={clock},{clock} (--reset-gpu-clocks undoes it)"
            )
    boost = _read("/sys/devices/system/cpu/cpufreq/boost").strip()
    turbo = _read("/sys/devices/system/cpu/intel_pstate/no_turbo").strip()
    if boost == "1" or turbo == "0":
        found.append("turbo is on: clocks depend on temperature and on how many cores work")
    if (psutil.cpu_count() or 1) > cores:
        found.append(f"{psutil.cpu_count()} logical processors share {cores} usable cores")
    if (quota := cpu_quota()) is not None:
        found.append(f"a control group limits processor time to {quota:.2g} cores")
    if not can_pin():
        found.append("this system cannot pin a process to processors: JAX may use more threads than asked")
    if psutil.virtual_memory().available < 2 * 2**30:
        found.append(f"only {psutil.virtual_memory().available / 2**30:.1f} GiB of memory are free")
    return found


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
