"""Has CuPy's kernels compiled for the host, with ``shim.h``, instead of by NVRTC; to be imported before CuPy works."""

import functools
import hashlib
import os
import re
import subprocess
from pathlib import Path

import cupy
from cupy.cuda import compiler

HERE = Path(__file__).parent
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
    *(f"-I{one}" for one in HEADERS),
]
# What every kernel includes is compiled once: half of the time of each.
USUAL = "complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h"


@functools.cache
def usual():
    """Return the header that stands before every kernel; beside it lies what the compiler has made of it."""
    header = Path(os.environ["CUPY_CACHE_DIR"], "usual.h")
    header.write_text(f'#include "{HERE / "shim.h"}"\n' + "".join(f"#include <cupy/{name}>\n" for name in USUAL))
    run(*FLAGS, "-x", "c++-header", header, "-o", header.with_suffix(".h.gch"))
    return header


def run(*arguments):
    """Run the compiler."""
    done = subprocess.run([os.environ["CXX"], *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def compile_for_the_host(source, options=(), *_, **named):
    """Return in the place of compiled code the path of a library, which the driver of ``fake_driver`` loads."""
    names = re.findall(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(', source)
    waits = int("__syncthreads" in source)
    text = source + "\n" + "".join(f"EMU_KERNEL({name}, {waits})\n" for name in names)
    defines = [option for option in options if option.startswith("-D")]
    key = hashlib.sha256("\0".join([text, *defines]).encode()).hexdigest()[:24]
    path = Path(os.environ["CUPY_CACHE_DIR"], f"{key}.cpp")
    library = path.with_suffix(".so")
    if not library.exists():
        path.write_text(text)
        run(*FLAGS, *defines, "-include", usual(), path, "-o", library)
    return b"EMU:" + str(library).encode() + b"\0", {}


for name in ("compile_using_nvrtc", "_compile_using_nvrtc_no_warning"):  # CuPy 13, CuPy 14
    if hasattr(compiler, name):
        setattr(compiler, name, compile_for_the_host)
