"""CUDA code without a card: each framework in a pytest of its own, as far as CUDA can be pretended.

CuPy runs from its own wheels on the driver in ``fake_driver``, in the newest version and in the oldest that
pyproject.toml admits; NVRTC is real and compiles every kernel. PyTorch works on tensors that have a device, a dtype and
a shape, but no numbers (``fake_tensors``). JAX lowers its programs for CUDA (``lowered``). Only in ``numbers`` is
anything computed: there CuPy's kernels are compiled for the host, and run.

The order of these tests, and of the walk before them, is one in which two workers of pytest end at the same time.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import formats

from ganbench.registry import environment, load, parse_target

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WHEELS = ROOT / ".cuda"  # what `make cuda-env` installs
NVRTC, HEADERS = "nvidia/cuda_nvrtc/lib", "nvidia/cuda_runtime/include"
PARTS = {"cupy": "CuPy", NVRTC: "NVRTC", HEADERS: "CUDA's headers"}
ADMITTED = re.search(r"cupy-cuda12x\[(?P<extra>\w+)\]>=(?P<bound>[\d.]+)", (ROOT / "pyproject.toml").read_text())
# No limit for a suite: each of its tests has one.
pytestmark = [pytest.mark.cuda, pytest.mark.timeout(0)]


def tool(variable, *names):
    """Return the path of the program that ``variable`` names, or else of the first of ``names``; skips without one."""
    found = filter(None, map(shutil.which, [os.environ.get(variable) or names[0], *names]))
    return next(found, None) or pytest.skip(f"needs {' or '.join(names)}")


def build(compiler, source, library, *more):
    """Compile one file to a library that may be loaded."""
    command = [compiler, "-shared", "-fPIC", "-Wall", source, *more, f"-Wl,-soname,{library.name}", "-o", library]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def built_once(folder, version, compiler, source, *more):
    """Return what ``build`` makes of a file that includes headers of such a version, in this run or one before."""
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    parts = version, said, source.read_text(), compiler, *map(str, more)
    library = folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()}.so"
    if not library.exists():
        made = library.with_suffix(f".{os.getpid()}")
        build(compiler, source, made, *more)
        made.rename(library)  # whole, whoever looks for it
    return library


@pytest.fixture(scope="module", params=["newest", "oldest"])
def wheels(request):
    """The folder with one version of CuPy and with NVRTC."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("the driver of tests/cuda/fake_driver is for Linux on x86-64")
    folder = WHEELS / request.param
    for part, name in PARTS.items():
        if not (folder / part).is_dir():
            pytest.skip(f"no {name} in {folder.relative_to(ROOT)}: make cuda-env")
    return folder


@pytest.fixture(scope="module")
def libraries(wheels, tmp_path_factory):
    """A folder with the driver, and with a cuBLAS that has every function that this CuPy links to."""
    folder, compiler, nm = (
        tmp_path_factory.mktemp("cuda with a space"),
        tool("CC", "cc", "gcc", "clang"),
        tool("NM", "nm"),
    )
    (module,) = (wheels / "cupy_backends/cuda/libs").glob("cublas.*.so")
    linked = subprocess.run([nm, "-D", "--undefined-only", module], capture_output=True, text=True, check=True).stdout
    source = (HERE / "fake_driver/cublas.c").read_text()
    others = {name for name in re.findall(r" U (cublas\w+)", linked) if f"int {name}(" not in source}
    (folder / "others.h").write_text("".join(f"OTHER({name})\n" for name in sorted(others)))
    (folder / "empty.c").write_text("")
    build(compiler, HERE / "fake_driver/cuda.c", folder / "libcuda.so.1", "-ldl")
    build(compiler, HERE / "fake_driver/cublas.c", folder / "libcublas.so.12", '-DOTHERS="others.h"', f"-I{folder}",
          folder / "libcuda.so.1", "-Wl,--default-symver")  # fmt: skip
    build(compiler, folder / "empty.c", folder / "libcublasLt.so.12")  # CuPy looks for it, no more
    return folder


def python(*arguments, **variables):
    """Run Python in a process of its own, with none of the variables by which this one was told how to test."""
    hidden = ("PYTEST_", "CUPY_", "CUDA_", "JAX_", "PYTHONDONTWRITE")  # with the last, each would compile all modules
    mine = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=mine | variables, capture_output=True, text=True)


def suite(name, *chosen, **variables):
    """Run the tests of a folder; ``chosen`` are options of pytest."""
    variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # seconds; of the plug-ins only this is asked for
    # What is printed comes home with the process: to catch it for each test takes as long as some tests.
    plugins = ["-p", "pytest_timeout", "-p", "no:cacheprovider", "-p", "no:logging", "--capture", "no"]
    done = python("-m", "pytest", "-q", *plugins, "--confcutdir", HERE, HERE / name, *chosen, **variables)
    assert done.returncode == 0, done.stdout + done.stderr


def home(module, name):
    """Return the folder of a framework; skips where it is missing."""
    found = importlib.util.find_spec(module) or pytest.skip(f"needs {name}")
    return Path(found.origin).parent


def test_torch_on_fake_tensors(request):
    torch = home("torch", "PyTorch")
    if (torch / "lib/libtorch_cuda.so").exists():
        pytest.skip("needs a PyTorch that is built for CPUs only")
    linked = [f"-L{torch}/lib", f"-Wl,-rpath,{torch}/lib", "-lc10", "-ltorch_cpu"]
    compiler, headers = tool("CXX", "c++", "g++", "clang++"), ["-isystem", torch / "include"]
    library = built_once(
        request.config.cache.mkdir("fake-gpus"), (torch / "version.py").read_text(),
        compiler, HERE / "fake_tensors/gpus.cpp", "-std=c++20", *headers, *linked,
    )  # fmt: skip
    # Loaded first of all: PyTorch looks for GPUs while it is imported.
    suite("fake_tensors", PYTHONPATH=str(HERE / "fake_tensors"), LD_PRELOAD=str(library))


def cupy(age):
    """Return the distribution of CuPy that was installed for these tests."""
    found = [*importlib.metadata.distributions(name="cupy-cuda12x", path=[str(WHEELS / age)])]
    return found[0] if found else pytest.skip(f"no CuPy in {WHEELS.name}/{age}: make cuda-env")


def test_the_oldest_cupy_is_the_oldest_that_is_admitted():
    assert re.fullmatch(rf"{re.escape(ADMITTED['bound'])}(\.0)*", cupy("oldest").version)


def test_the_extra_that_is_asked_for_brings_what_cupy_needs():
    (asked,) = [line for line in cupy("newest").requires if line.endswith(f'extra == "{ADMITTED["extra"]}"')]
    assert {"cublas", "cudart", "nvrtc"} <= {*re.findall(r"\w+", asked)}


def alike(backend):
    """Return the formats of a backend in groups, each with the variables that it asks for."""
    found = {}
    for form in formats(backend):
        found.setdefault(str(backend.environment("cuda", *form, "")), []).append(form)
    return [pytest.param(group, id="+".join(map("-".join, group))) for group in sorted(found.values(), key=len)]


@pytest.mark.parametrize("group", alike(load("jax")))
def test_jax_lowered_for_cuda(group, tmp_path):
    """In a process for each set of variables, since JAX reads them when it is imported."""
    home("jax", "JAX")
    variables = environment(parse_target("jax@cuda"), *group[0], str(tmp_path))
    suite("lowered", **variables | {"JAX_PLATFORMS": "cpu", "FORMATS": " ".join(map("-".join, group))})


def test_without_a_gpu_jax_is_unavailable_and_says_why():
    """With the variables that a worker for a GPU has, of which those that say where JAX looks are always the same."""
    home("jax", "JAX")
    backend, numbers = load("jax"), ("JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION")
    first, *others = [backend.environment("cuda", *form, "") for form in formats(backend)]
    for other in others:
        assert first == other | {name: first[name] for name in numbers}
    done = python("-c", "from ganbench.registry import load; load('jax')('jit', 'cuda')", **first)
    assert re.search(r"UnavailableError: JAX [\d.]+ has no cuda device: \S+", done.stderr)


def test_cupy_on_a_fake_driver(wheels, libraries, tmp_path, request):
    suite(
        "fake_driver",
        PYTHONPATH=os.pathsep.join(map(str, [wheels, HERE / "fake_driver"])),
        LD_LIBRARY_PATH=os.pathsep.join(map(str, [libraries, wheels / NVRTC])),
        CUDA_PATH=str(wheels / HEADERS.partition("/include")[0]),
        CUPY_CACHE_DIR=str(tmp_path),
        CUPY_CACHE_SAVE_CUDA_SOURCE="1",
        COMPILED_KERNELS=str(request.config.cache.mkdir("nvrtc-kernels")),
        FAKE_CUDA_LOG=str(tmp_path / "log"),
    )


def test_numbers_of_cupy_on_the_host(wheels, libraries, tmp_path, request):
    """With the oldest version in one format: most of the time goes into compiling, which each does once for itself."""
    compiler = tool("CXX", "g++", "c++")
    suite(
        "numbers",
        *(["-k", "gan_iteration-float32-ieee"] if wheels.name == "oldest" else []),
        PYTHONPATH=os.pathsep.join(map(str, [wheels, HERE / "fake_driver", HERE / "numbers"])),
        LD_LIBRARY_PATH=os.pathsep.join(map(str, [libraries, wheels / NVRTC])),
        CUDA_PATH=str(wheels / HEADERS.partition("/include")[0]),
        CXX=compiler,
        HOST_KERNELS=str(request.config.cache.mkdir("host-kernels")),
        CUPY_CACHE_DIR=str(tmp_path),
        CUPY_TF32="0",
        CUPY_ACCELERATORS="",  # CUB comes compiled, for GPUs
        FAKE_CUDA_LOG=os.devnull,
        FAKE_CUDA_NUMBERS="1",
        GANBENCH_ANSWERS=str(request.config.cache.mkdir("ganbench")),
    )
