"""Has CuPy's kernels compiled for the host, with ``shim.h``, instead of by NVRTC; to be imported before CuPy works."""

import hashlib
import os
import re
import subprocess
from pathlib import Path

import cupy
from cupy.cuda import compiler

HERE = Path(__file__).parent
HEADERS = HERE / "include", Path(cupy.__file__).parent / "_core/include"
FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-shared", "-w", "-fpermissive"]


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
        command = [os.environ["CXX"], *FLAGS, *defines, "-include", HERE / "shim.h", *(f"-I{one}" for one in HEADERS)]
        done = subprocess.run([*command, path, "-o", library], capture_output=True, text=True)
        assert done.returncode == 0, f"{names}: {done.stderr}"
    return b"EMU:" + str(library).encode() + b"\0", {}


for name in ("compile_using_nvrtc", "_compile_using_nvrtc_no_warning"):  # CuPy 13, CuPy 14
    if hasattr(compiler, name):
        setattr(compiler, name, compile_for_the_host)
