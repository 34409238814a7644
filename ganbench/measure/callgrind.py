"""Instructions instead of seconds: Valgrind's callgrind counts those of a worker's calls.

The worker runs under Valgrind from its start, but callgrind counts only between two requests of the worker's own. So
imports, compilers and the gate are about ten times slower than alone, and only the few counted calls fifty times.
"""

import ctypes
import mmap
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..backend import Backend, Program
from ..errors import UnavailableError, UsageError
from ..operation import Operation
from ..results.collector import collector_off
from .engine import caller, most_calls

VALGRIND = "valgrind"
ENVIRONMENT = {"PYTHONHASHSEED": "0"}  # the order of sets moves counts
SLOWER = 10  # times as long as alone a worker may take to answer
WARM = 10  # calls that are not counted: after some of them, Python adapts its bytecode to what it has seen
COUNTS = 3  # of a case
FEWEST, MOST, WORK = 2, 10, 2e9  # calls of a count: so many that they do WORK FLOP, within these limits
IDLE = (
    "Eigen::ThreadPoolTempl*::MaybeGetTask*"  # where threads of XLA and TensorFlow spin for work; chance says how often
)
OUT = "callgrind-"  # begins the name of the file to which callgrind writes

# A request to Valgrind on x86-64, from its valgrind.h: a function of the default answer and the address of six words.
# The four rotations leave their register as it was: alone, a processor does nothing here, and Valgrind answers.
REQUEST = bytes.fromhex("4889fa 4889f0 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
RUNNING = 0x1001
DUMP, START, STOP = (ord("C") << 24 | ord("T") << 16 | number for number in (0, 4, 5))


def check() -> None:
    """Raise ``UsageError`` where nothing can count instructions here."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        here = f"{platform.system()} on {platform.machine()}"
        raise UsageError(f"instructions are counted by Valgrind, on Linux and x86-64 only: this is {here}")
    if not shutil.which(VALGRIND):
        raise UsageError("instructions are counted by Valgrind, which is not installed: apt install valgrind")


def version() -> str:
    """Return the version of Valgrind; '' where it is not installed."""
    if not shutil.which(VALGRIND):
        return ""
    said = subprocess.run([VALGRIND, "--version"], capture_output=True, text=True).stdout
    return said.strip().removeprefix("valgrind-")


def before(folder: str) -> list[str]:
    """Return what stands before the command of a worker that counts; callgrind writes below ``folder``."""
    file = f"--callgrind-out-file={folder}/{OUT}%p"
    but_idle = f"--toggle-collect={IDLE}", "--collect-atstart=yes"
    return [VALGRIND, "--quiet", "--tool=callgrind", "--instr-atstart=no", *but_idle, "--vgdb=no", file]


def count(
    backend: Backend, operation: Operation, program: Program, stage: Callable[[int], None], folder: str
) -> list[float]:
    """Return the instructions of one iteration, counted ``COUNTS`` times, all threads of this process together.

    ``stage`` begins with the inputs of a seed, which are the same in every run. Raises ``UnavailableError`` outside of
    Valgrind.
    """
    request = _Requests()
    if not request(RUNNING):
        raise UnavailableError("its process does not run under Valgrind: is its Python started by a script?")
    call, longest = caller(backend, program), most_calls(operation, program)
    calls = min(max(FEWEST, min(MOST, int(WORK / (operation.flops * program.iterations)))), longest - 1)

    def make(number: int) -> None:
        for _ in range(number):
            call()
        backend.synchronize(program.result)

    def counted(number: int) -> int:
        request(START)
        make(number)
        request(STOP)
        request(DUMP)
        (file,) = Path(folder).glob(f"{OUT}{os.getpid()}.*")
        totals = next(line for line in file.read_bytes().splitlines() if line.startswith(b"totals:"))
        file.unlink()
        return int(totals.split()[1])

    found = []
    with collector_off():
        stage(0)
        make(min(WARM, longest))
        besides = counted(0)  # the requests, and a wait for nothing
        for seed in range(1, COUNTS + 1):
            stage(seed)
            make(1)
            found.append((counted(calls) - besides) / (calls * program.iterations))
    return found


class _Requests:
    """Makes requests to Valgrind, and returns its answers; outside of Valgrind, 0."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, len(REQUEST), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._memory.write(REQUEST)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._ask = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p)(address)

    def __call__(self, number: int) -> int:
        words = (ctypes.c_uint64 * 6)(number)
        return int(self._ask(0, ctypes.addressof(words)))
