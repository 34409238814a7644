"""Has CuPy's kernels compiled for the host, with ``shim.h``, instead of by NVRTC; to be imported before CuPy works.

What was compiled is kept from run to run, by all that went into it.
"""

import contextlib
import functools
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

import cupy
from cupy.cuda import compiler

HERE = Path(__file__).parent
KEPT = Path(os.environ["HOST_KERNELS"])
HEADERS = HERE / "include", Path(cupy.__file__).parent / "_core/include"
FLAGS = [
    "-std=c++17",
    "-O1",
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
    "-w",
    "-fpermissive",
    "-U_FORTIFY_SOURCE",  # else no jump from fiber to fiber
    "-nodefaultlibs",  # the library of C++ is not needed, and takes a quarter of the time
    *(f"-I{one}" for one in HEADERS),
]
# What every kernel includes is compiled once: half of the time of each.
USUAL = "complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h"


@functools.cache
def usual():
    """Return the header that stands before every kernel; beside it lies what the compiler has made of it."""
    includes = [f'"{HERE / "shim.h"}"', *(f"<cupy/{name}>" for name in USUAL)]
    text = "".join(f"#include {one}\n" for one in includes)
    ours = [path.read_text() for path in sorted(HERE.rglob("*.*h"))]
    folder = KEPT / digest(text, run("--version"), cupy.__version__, *ours)
    if not folder.exists():
        made = Path(tempfile.mkdtemp(dir=KEPT))
        (made / "usual.h").write_text(text)
        run(*FLAGS, "-x", "c++-header", made / "usual.h", "-o", made / "usual.h.gch")
        with contextlib.suppress(OSError):  # another process was first
            made.rename(folder)
    return folder / "usual.h"


def digest(*parts):
    return hashlib.sha256("\0".join([*FLAGS, *parts]).encode()).hexdigest()[:24]


def run(*arguments):
    """Run the compiler; return what it says."""
    done = subprocess.run([os.environ["CXX"], *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def compile_for_the_host(source, options=(), *_, **named):
    """Return in the place of compiled code the path of a library, which the driver of ``fake_driver`` loads."""
    names = re.findall(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(', source)
    waits = int("__syncthreads" in source)
    text = source + "\n" + "".join(f"EMU_KERNEL({name}, {waits})\n" for name in names)
    defines = [option for option in options if option.startswith("-D")]
    library = usual().parent / f"{digest(text, *defines)}.so"
    if not library.exists():
        path = Path(os.environ["CUPY_CACHE_DIR"], library.stem).with_suffix(".cpp")
        path.write_text(text)
        made = library.with_suffix(f".{os.getpid()}")
        run(*FLAGS, *defines, "-include", usual(), path, "-lm", "-lc", "-lgcc", "-o", made)
        made.rename(library)  # whole, whoever looks for it
    return b"EMU:" + str(library).encode() + b"\0", {}


for name in ("compile_using_nvrtc", "_compile_using_nvrtc_no_warning"):  # CuPy 13, CuPy 14
    if hasattr(compiler, name):
        setattr(compiler, name, compile_for_the_host)
