"""The energy that a device uses, from a counter that moves in steps: NVML's of a GPU, or RAPL's of a processor.

Its value may be 100 ms old, which is longer than a visit. So it is read again and again while the device repeats the
same work, and only the work between two steps of the counter is used.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .. import gpus
from ..errors import UnavailableError
from ..registry import Target
from ..results.records import PowerRecord, digits

POWERCAP = Path("/sys/class/powercap")
LEAST_S = 0.5  # between the two steps
REST_S = 0.002  # between two looks at a device that does nothing
STUCK_S = 3.0  # after which a counter that has not changed does not work


class Counter(NamedTuple):
    """The source of the numbers, and a function that returns joules since an arbitrary start."""

    source: str
    read: Callable[[], float]


class Stretch(NamedTuple):
    """Energy and time between two steps of a counter, and the work done; ``doubt`` is their relative error."""

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
                "NVML does not report its energy: this needs a whole GPU, Volta or newer, and nvidia-ml-py"
            )
        return joules

    read()
    return Counter("NVML", read)


def _processor() -> Counter:
    zones = {path: _text(path / "name") for path in POWERCAP.glob("*") if re.fullmatch(r"intel-rapl:\d+", path.name)}
    # If there is no counter of the processor, that of the whole platform is used.
    kind = "package" if any(name.startswith("package") for name in zones.values()) else "psys"
    chosen = [_Zone(path) for path, name in sorted(zones.items()) if name.startswith(kind)]
    if not chosen:
        raise UnavailableError(f"there is no RAPL counter of energy in {POWERCAP}: most virtual machines have none")
    return Counter(f"RAPL {kind}", lambda: sum(zone.joules() for zone in chosen))


class _Zone:
    """A counter of microjoules that starts from zero again when it has reached its range."""

    def __init__(self, folder: Path) -> None:
        self._file, self._range = folder / "energy_uj", _number(folder / "max_energy_range_uj")
        self._seen, self._sum = _number(self._file), 0

    def joules(self) -> float:
        """Return the joules since the first call; call it often enough to notice each restart of the counter."""
        now = _number(self._file)
        self._sum += (now - self._seen) % (self._range + 1)
        self._seen = now
        return self._sum / 1e6


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isdecimal():
        raise UnavailableError(f"{path} says {text!a}, which is not a number")
    return int(text)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except PermissionError as error:
        raise UnavailableError(f"only root may read it: sudo chmod a+r {path}") from error
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror}") from error


def stretch(read: Callable[[], float], start: Callable[[], None], finish: Callable[[], int]) -> Stretch:
    """Do pieces of work one after the other; return energy, time and work between two steps of a counter.

    ``start`` begins a piece, the counter is read during it, and ``finish`` waits for its end and returns the amount of
    work. Raises ``UnavailableError`` for a counter that does not change.
    """
    done, level, looked = 0, read(), time.perf_counter()
    first: tuple[float, float, int, float] | None = None
    moved = looked
    while True:
        start()
        before, looked = looked, time.perf_counter()
        now = read()
        if now != level:
            step = looked, now, done, looked - before  # it may have changed at any time since the last reading
            if first is None:
                first = step
            elif looked - first[0] >= LEAST_S:
                seconds = looked - first[0]
                return Stretch(now - first[1], seconds, done - first[2], (step[3] + first[3]) / seconds)
            level, moved = now, looked
        elif looked - moved > STUCK_S:
            raise UnavailableError(f"the counter of energy has not changed for {STUCK_S:g} s: it does not work")
        done += finish()


def at_rest(round_number: int, targets: Iterable[Target]) -> Iterator[PowerRecord]:
    """Yield the power of each device while every worker is stopped, or why it is not known."""
    for device in dict.fromkeys(target.device for target in targets):
        try:
            told = counter(device)
            found = stretch(told.read, lambda: None, _rest)
        except UnavailableError as error:
            yield PowerRecord(round=round_number, device=device, reason=str(error))
        else:
            watts = digits(found.joules / found.seconds)
            yield PowerRecord(round=round_number, device=device, source=told.source, watts=watts)


def _rest() -> int:
    time.sleep(REST_S)
    return 0
