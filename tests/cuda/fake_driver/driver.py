"""Puts the driver of ``cuda.c`` under CuPy; to be imported before CuPy does anything.

CuPy's wheel has CUDA's runtime inside, and CUB, which is compiled; a driver alone does not reach them. So each of their
functions is made to begin with a jump to its fake.
"""

import ctypes
import os
import re
import subprocess
from pathlib import Path

from cupy.cuda import cub
from cupy_backends.cuda.api import runtime

DRIVER = ctypes.CDLL("libcuda.so.1")
WAITS = {"streamSynchronize", "deviceSynchronize", "eventSynchronize", "copyDeviceToHost"}
PAGE = 0x1000
ALL = 7  # of mprotect: read, write, execute


def redirect(module, fake_of):
    """Make each function of a loaded library jump to the fake that ``fake_of`` finds for its name, if it finds one."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    base = next(int(line.partition("-")[0], 16) for line in maps if line.endswith(module.__file__))
    names = subprocess.run(["nm", module.__file__], capture_output=True, text=True, check=True).stdout
    libc = ctypes.CDLL(None, use_errno=True)
    for offset, name in re.findall(r"^([0-9a-f]+) [tT] (\w+)$", names, re.M):
        if (fake := fake_of(name)) is None:
            continue
        at, target = base + int(offset, 16), ctypes.cast(fake, ctypes.c_void_p).value
        pages = ctypes.c_void_p(at // PAGE * PAGE), ctypes.c_size_t(2 * PAGE)
        assert libc.mprotect(*pages, ALL) == 0, os.strerror(ctypes.get_errno())
        ctypes.memmove(at, b"\x48\xb8" + target.to_bytes(8, "little") + b"\xff\xe0", 12)  # mov rax, target; jmp rax


def _of_the_runtime(name):
    if re.match(r"cuda[A-Z]", name):
        return getattr(DRIVER, name.removesuffix("_v2"), DRIVER.fake_unsupported)


def _of_cub(name):
    if re.match(r"_Z\d+cub_device_", name):
        return DRIVER.fake_cub_workspace if "workspace" in name else DRIVER.fake_cub


redirect(runtime, _of_the_runtime)
redirect(cub, _of_cub)
