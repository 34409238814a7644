"""Which PyTorch, JAX and CuPy for CUDA 12 and for CUDA 13 does pip put into one environment?

pip resolves each of the two extras for this Python, from its index, and installs nothing (``--dry-run``). A piece
says what was asked for, and the versions that came of it, or pip's own words. Nothing of it has run on a GPU.

Minutes, with a network, from the repository's root: ``python benchmarks/studies/cuda_installs.py``
"""

import json
import subprocess
import sys

from study import Study, options

FRAMEWORKS = ("torch", "jax", "cupy-cuda12x", "cupy-cuda13x")
SHOWN = (
    *FRAMEWORKS,
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "nvidia-ml-py",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
)
SETS = {"CUDA 13": ".[gpu13]", "CUDA 12": ".[gpu12]"}  # the extras of pyproject.toml


def main() -> None:
    chosen = options("cuda_installs", __doc__, resumable=True).parse_args()
    study = Study(chosen, python=sys.version.split()[0])
    for name, requirement in [*SETS.items()][len(study.pieces) :]:
        versions, said = resolved(requirement)
        study.add({"name": name, "requirement": requirement, "versions": versions, "said": said})
        study.say(f"{name}: {_listed(versions) or said}")
    study.conclude(judge(study.pieces))


def resolved(requirement: str) -> tuple[dict[str, str], str]:
    """Return the versions that pip would install of what is ``SHOWN``; nothing, and its words, where it refuses."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*pip, "--only-binary", ":all:", requirement], capture_output=True, text=True)
    if done.returncode:
        return {}, " ".join(done.stderr.split())[-500:]
    made = {one["metadata"]["name"].lower(): one["metadata"]["version"] for one in json.loads(done.stdout)["install"]}
    return {name: made[name] for name in SHOWN if name in made}, ""


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: each set is resolved."""
    good = [piece for piece in pieces if piece["versions"]]
    words = "; ".join(f"{one['name']}: {_listed(one['versions'])}" for one in good)
    return {
        "passed": len(good) == len(SETS),
        "goal": "pip finds PyTorch, JAX and CuPy for CUDA 12, and for CUDA 13, that fit into one environment",
        "measured": words or "none",
    }


if __name__ == "__main__":
    main()
