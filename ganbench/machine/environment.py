"""This machine: its name and its processors, and everything that may disturb a timing on it."""

import contextlib
import functools
import hashlib
import os
import platform
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from .. import gpus
from ..gpus import told_by
from ..results.records import Disturbance
from .lock import CAN_LOCK
from .memory import forget_peak

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
CPUS = Path("/sys/devices/system/cpu")
UNKNOWN_CACHE = 2**26
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
        for line in told_by("/proc/cpuinfo").splitlines():
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
    gpu = re.sub(r"\b(nvidia|geforce|tesla)\b", " ", "".join(gpu_names[:1]).lower())
    model, gpu = (re.sub(r"[^a-z0-9]+", "-", name).strip("-") for name in (model, gpu))
    return "-".join(filter(None, [model or platform.machine().lower(), f"{cores}c", gpu]))


def usable_cpus() -> list[int]:
    """Return the processors this process may use, one of each physical core, in order.

    There are at most as many as the quota of a control group allows, and at least one.
    """
    first: dict[str, int] = {}  # by core, which the system names by all its processors
    for cpu in _affinity():
        siblings = told_by(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").strip()
        first.setdefault(siblings or str(cpu), cpu)
    cpus, quota = [*first.values()], cpu_quota()
    return cpus if quota is None else cpus[: max(1, int(quota))]


def _affinity() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count(logical=False) or os.cpu_count() or 1))


def cpu_quota(root: Path = CGROUPS, own: Path = OWN_CGROUP) -> float | None:
    """Return the number of processors whose time may be used, such as 1.5; None if there is no limit.

    Limits of parent groups count, too. Groups of version 2 (``cpu.max``) and 1 (``cpu.cfs_quota_us``) are read, as
    described in the kernel's ``cgroup-v2.rst`` and ``sched-bwc.rst``.
    """
    return min(_limits(root, own), default=None)


def _limits(root: Path, own: Path) -> Iterator[float]:
    for folder in _folders(root, own):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            most, period = (folder / "cpu.max").read_text().split()
            yield int(most) / int(period)  # "max" means no limit
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            most, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(most) > 0:  # -1 means no limit
                yield int(most) / int(period)


def _folders(root: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups and of their parent groups, if they are visible."""
    yield root  # in a container that sees only its own group
    for line in told_by(own).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        tops = [root / controllers, root / "cpu"] if controllers else [root]
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for top in tops:
            yield top
            yield from (top.joinpath(*parts[: n + 1]) for n in range(len(parts)))


def last_level_cache(cpus: Sequence[int] = (0,)) -> int:
    """Return the bytes of the last-level caches of ``cpus`` together, or a guess if the system does not report them.

    A cache that processors share counts once. A large processor may have a dozen, each for a few of its cores.
    """
    found: dict[str, int] = {}  # by the processors that share it
    for cpu in cpus:
        caches = []
        for folder in (CPUS / f"cpu{cpu}" / "cache").glob("index*"):
            if match := re.fullmatch(r"(\d+)([KM]?)", told_by(folder / "size").strip()):
                size = int(match[1]) * {"": 1, "K": 2**10, "M": 2**20}[match[2]]
                caches.append((size, told_by(folder / "shared_cpu_list").strip()))
        if caches:
            largest, shared_by = max(caches)
            found[shared_by] = largest
    return sum(found.values()) or UNKNOWN_CACHE


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
        "virtual": "hypervisor" in told_by("/proc/cpuinfo"),
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
    if "hypervisor" in told_by("/proc/cpuinfo"):
        found.append("this is a virtual machine: neighbours on the same host are not visible from here")
    if platform.system() == "Linux" and psutil.cpu_times().steal > 0:
        found.append(f"the host took {psutil.cpu_times().steal:.0f} s of processor time since start (steal)")
    governor = told_by("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
    if governor and governor != "performance":
        found.append(f"the frequency governor is '{governor}', not 'performance'")
    devices = ["cuda", *(f"cuda:{place}" for place in range(1, len(gpus.names())))]
    found += [reason for device in devices if (reason := gpus.one_process(device))]
    for place, hold in enumerate(gpus.holds()):
        if hold.asked in (None, hold.usual):
            clock = hold.usual or hold.highest or "MHZ"
            found.append(
                f"the clock of GPU {place} may change unless it is locked, which NVML does not report; to lock: sudo "
                f"nvidia-smi --id={hold.uuid or place} --lock-gpu-clocks={clock},{clock} (--reset-gpu-clocks undoes it)"
            )
    boost = told_by("/sys/devices/system/cpu/cpufreq/boost").strip()
    turbo = told_by("/sys/devices/system/cpu/intel_pstate/no_turbo").strip()
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


class Watch:
    """Watches the machine from its construction to ``stop``; reads nothing in between."""

    def __init__(self, device: str = "cpu") -> None:
        self._clocks = gpus.clocks(device)
        self._start, self._steal, self._switches = time.perf_counter(), _steal(), _switches()

    def stop(self) -> Disturbance:
        """Return what happened since the start; unknown values are None. A GPU must still be busy at this moment."""
        clocks = self._clocks()
        wall = time.perf_counter() - self._start
        steal, switches = _steal(), _switches()
        return Disturbance(
            steal=None if steal is None or self._steal is None else max(0.0, steal - self._steal) / wall,
            switches=None if switches is None or self._switches is None else switches - self._switches,
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            sm_mhz=clocks.sm_mhz,
            throttle=list(clocks.throttle),
        )


def _steal() -> float | None:
    """Return the seconds of processor time that the host has taken from this virtual machine, of all cores."""
    with contextlib.suppress(OSError, RuntimeError):
        taken = getattr(psutil.cpu_times(), "steal", None)
        return None if taken is None else float(taken)
    return None


def _switches() -> int | None:
    """Return how often this process was taken off a processor against its will."""
    return None if resource is None else int(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
