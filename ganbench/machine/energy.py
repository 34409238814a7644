"""The energy that a device uses, from a counter that moves in steps: NVML's of a GPU, or RAPL's of a processor.

What such a counter shows may be 100 ms old, longer than a visit. So it is looked at again and again while the device
does one thing, and only what lies between two of its steps counts.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .. import gpus
from ..errors import UnavailableError

POWERCAP = Path("/sys/class/powercap")
LEAST_S = 0.5  # between the two steps
STUCK_S = 3.0  # in which a counter that works would have moved


class Counter(NamedTuple):
    """Who tells, and what returns the joules since some beginning."""

    source: str
    read: Callable[[], float]


class Stretch(NamedTuple):
    """What was used between two steps of a counter, and how much was done; ``doubt`` is a share of either."""

    joules: float
    seconds: float
    done: int
    doubt: float


def counter(device: str) -> Counter:
    """Return the counter of ``device``: a whole GPU, or all packages of processors. Raises ``UnavailableError``."""
    if device == "cpu":
        return _processor()

    def read() -> float:
        joules = gpus.energy(device)
        if joules is None:
            raise UnavailableError(
                "NVML tells no energy of it: whole GPUs from Volta on do, with nvidia-ml-py installed"
            )
        return joules

    read()
    return Counter("NVML", read)


def _processor() -> Counter:
    zones = {path: _text(path / "name") for path in POWERCAP.glob("*") if re.fullmatch(r"intel-rapl:\d+", path.name)}
    # Where there is none of the processor alone, that of the whole platform has to do.
    kind = "package" if any(name.startswith("package") for name in zones.values()) else "psys"
    chosen = [_Zone(path) for path, name in sorted(zones.items()) if name.startswith(kind)]
    if not chosen:
        raise UnavailableError(f"there is no RAPL counter in {POWERCAP}: most virtual machines have none")
    return Counter(f"RAPL {kind}", lambda: sum(zone.joules() for zone in chosen))


class _Zone:
    """A counter of microjoules that begins anew whenever it has reached its range."""

    def __init__(self, folder: Path) -> None:
        self._file, self._range = folder / "energy_uj", _number(folder / "max_energy_range_uj")
        self._seen, self._sum = _number(self._file), 0

    def joules(self) -> float:
        """Return the joules since the first look; to be asked again before the range is passed."""
        now = _number(self._file)
        self._sum += (now - self._seen) % (self._range + 1)
        self._seen = now
        return self._sum / 1e6


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isdecimal():
        raise UnavailableError(f"{path} says {text!a}, which is no number")
    return int(text)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except PermissionError as error:
        raise UnavailableError(f"only root may read it: sudo chmod a+r {path}") from error
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror}") from error


def stretch(read: Callable[[], float], start: Callable[[], None], finish: Callable[[], int]) -> Stretch:
    """Return what is used while pieces of work are done one after the other, from one step of a counter to another.

    ``start`` begins a piece, the counter is read while it is under way, and ``finish`` waits for its end and returns
    how much was done. Raises ``UnavailableError`` for a counter that does not move.
    """
    done, level, looked = 0, read(), time.perf_counter()
    first: tuple[float, float, int, float] | None = None
    moved = looked
    while True:
        start()
        before, looked = looked, time.perf_counter()
        now = read()
        if now != level:
            step = looked, now, done, looked - before  # it may have moved any time since the look before
            if first is None:
                first = step
            elif looked - first[0] >= LEAST_S:
                seconds = looked - first[0]
                return Stretch(now - first[1], seconds, done - first[2], (step[3] + first[3]) / seconds)
            level, moved = now, looked
        elif looked - moved > STUCK_S:
            raise UnavailableError(f"the counter of energy has not moved for {STUCK_S:g} s")
        done += finish()
