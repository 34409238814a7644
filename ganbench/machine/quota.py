"""The processor time that the control groups of this process allow."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cpu_quota(root: Path = ROOT, own: Path = OWN) -> float | None:
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
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    yield root  # in a container that sees only its own group
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        tops = [root / controllers, root / "cpu"] if controllers else [root]
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for top in tops:
            yield top
            yield from (top.joinpath(*parts[: n + 1]) for n in range(len(parts)))
