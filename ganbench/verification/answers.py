"""The oracle's answers, and the folder in which its process leaves them for the workers.

The folder holds the staged images, two files for each operation (``.npy``, every number of the answers in a row, which
workers read without a copy, and ``.npz``, what must be known of them), and nothing that could be unpickled.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import GanbenchError
from ..operation import Inputs, Operation

IMAGES = "images.npy"


class Answers(NamedTuple):
    """What every program of an operation must produce on the inputs drawn from ``seed``, whose hash is ``digest``.

    After ``most`` iterations a program is compared, and after one; where a call makes more, after as many as that.
    ``after`` maps a number of iterations to the float64 outputs. By group and number of iterations, ``deviations`` says
    how far honest arithmetic is off, and ``changes`` by how much of itself the group has moved from where it started.
    ``allowed`` maps iterations and the place of an output to by how much each of its elements may be off besides.
    """

    seed: int
    digest: str
    most: int
    after: dict[int, list[np.ndarray]]
    deviations: dict[tuple[str, int], float]
    changes: dict[tuple[str, int], float]
    allowed: dict[int, dict[int, np.ndarray]] = {}  # noqa: RUF012 (never changed)


def write_answers(folder: Path, made: Operation, answers: Answers) -> None:
    """Write the answers of one operation to ``folder``, for ``read_answers``."""
    numbers = [np.ravel(array) for outputs in answers.after.values() for array in outputs]
    np.save(folder / f"{made.name}.npy", np.concatenate(numbers) if numbers else np.empty(0))
    emulated: dict[str, np.ndarray] = {}
    for part in ("deviations", "changes"):
        for (group, count), value in getattr(answers, part).items():
            emulated[f"{part}/{count}/{group}"] = np.array(value)
    for count, places in answers.allowed.items():
        emulated |= {f"allowed/{count}/{place}": array for place, array in places.items()}
    np.savez(
        folder / f"{made.name}.npz",
        allow_pickle=False,
        seed=np.array(answers.seed),
        most=np.array(answers.most),
        digest=np.array(answers.digest),
        counts=np.array([*answers.after]),
        **emulated,
    )


def read_answers(folder: Path, made: Operation, dtype: str) -> tuple[Inputs, Answers]:
    """Return the inputs, drawn anew, and the oracle's answers to them.

    Raises ``GanbenchError`` where the inputs are not, number for number, what the oracle answered.
    """
    with np.load(folder / f"{made.name}.npz", allow_pickle=False) as stored:
        seed, digest, most = int(stored["seed"]), str(stored["digest"]), int(stored["most"])
        counts = [int(count) for count in stored["counts"]]
        emulated: dict[str, dict[tuple[str, int], float]] = {"deviations": {}, "changes": {}}
        allowed: dict[int, dict[int, np.ndarray]] = {}
        for part, count, group in (key.split("/") for key in stored.files if "/" in key):
            value = stored[f"{part}/{count}/{group}"]
            if part == "allowed":
                allowed.setdefault(int(count), {})[int(group)] = value
            else:
                emulated[part][group, int(count)] = float(value)
    numbers = np.load(folder / f"{made.name}.npy", mmap_mode="r", allow_pickle=False)
    sizes = [math.prod(output.shape) for output in made.outputs()]
    parts = iter(np.split(numbers, np.cumsum(sizes * len(counts))[:-1]))
    after = {
        count: [part.reshape(output.shape) for output, part in zip(made.outputs(), parts, strict=False)]
        for count in counts
    }
    images = np.load(folder / IMAGES, allow_pickle=False)
    inputs = made.inputs(seed, dtype, images)
    if inputs.digest() != digest:
        raise GanbenchError(f"the inputs of {made.name} differ from those that the reference was computed from")
    return inputs, Answers(seed, digest, most, after, **emulated, allowed=allowed)
