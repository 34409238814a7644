"""The tests of numbers once more for each kind of kernel that a library has, as other processors would choose them.

    python tests/kernels.py [NAME ...] [-- more arguments of pytest]

What a test expects must follow from what is measured here, so all must pass with each. Kernels that this processor
cannot run are named and left out.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# What computes numbers and compares them; test_backends.py in default modes and small models, odd ones too.
NUMERIC = (
    "answers backends data examined frozen_oracle gan gan_critic losses precision reference scanned sound statistics "
    "tolerance verify wasserstein"
).split()
UNMARKED = "not (large or modes or workers or gpu)"
KERNELS = {
    "haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "zen": {"OPENBLAS_CORETYPE": "Zen"},
    "epyc": {"OPENBLAS_CORETYPE": "Zen", "NPY_DISABLE_CPU_FEATURES": "X86_V4"},  # no AVX-512 in NumPy's own loops
    "skylakex": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "nehalem": {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"},
    "mkl-compatible": {"MKL_CBWR": "COMPATIBLE"},
    "mkl-avx2": {"MKL_CBWR": "AVX2"},
    "aten-default": {"ATEN_CPU_CAPABILITY": "default"},
    "aten-avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "xla-avx2": {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"},
}
SHOW = "import numpy, threadpoolctl; print(*[p.get('architecture') for p in threadpoolctl.threadpool_info()])"


def chosen(environment):
    """Return the kernels that OpenBLAS takes with these variables."""
    return subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True).stdout.split()


def main():
    names, more = sys.argv[1:], []
    if "--" in names:
        place = names.index("--")
        names, more = names[:place], names[place + 1 :]
    files = [path for name in NUMERIC if (path := HERE / f"test_{name}.py").exists()]
    failed = []
    for name in names or KERNELS:
        environment = {**os.environ, **KERNELS[name]}
        wanted = KERNELS[name].get("OPENBLAS_CORETYPE")
        taken = chosen(environment)  # its own, where the processor cannot; Zen may be called Haswell
        if wanted and wanted not in taken and taken == chosen(dict(os.environ)):
            print(f"{name}: this processor has no such kernels")
            continue
        command = [sys.executable, "-m", "pytest", "-q", "-m", UNMARKED, *files, *more]
        code = subprocess.run(command, env=environment).returncode
        print(f"{name}: {'passed' if code == 0 else 'FAILED'}", flush=True)
        failed += [name] * (code != 0)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
