"""The oracle's own process: it answers every operation of a run once, in float64, into a folder.

Run as ``python -m ganbench.measure.oracle`` with an ``OracleJob`` on standard input. The folder holds the
staged images, one ``.npz`` of answers per operation, and nothing that could be unpickled.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..emulation import answer
from ..errors import GanbenchError
from ..gan import GANSpec
from ..operation import Inputs, Operation
from ..operations import operation
from ..reference import Answers

IMAGES = "images.npy"


class OracleJob(msgspec.Struct, frozen=True):
    """Which operations of which model to answer, and where."""

    spec: GANSpec
    operations: list[str]
    dtype: str
    precision: str
    folder: str
    parent: int


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=OracleJob)
    from .worker import die_with

    die_with(job.parent)
    folder = Path(job.folder)
    images = np.load(folder / IMAGES, allow_pickle=False)
    for name in job.operations:
        made = operation(name, job.spec)
        if job.spec.batch >= made.minimum_batch:
            write_answers(folder, made, answer(made, job.dtype, job.precision, images))
        print(name, flush=True)


def write_answers(folder: Path, made: Operation, answers: Answers) -> None:
    """Write the answers of one operation to ``folder``, for ``read_answers``."""
    facts = np.array([answers.seed, answers.gated, answers.loose, answers.nearest_kink])
    arrays: dict[str, Any] = {
        f"{count}.{index}": array for count, outputs in answers.after.items() for index, array in enumerate(outputs)
    }
    emulated: dict[str, Any] = {}
    for part in ("deviations", "changes"):
        for (group, count), value in getattr(answers, part).items():
            emulated[f"{part}/{count}/{group}"] = np.array(value)
    np.savez(folder / f"{made.name}.npz", facts=facts, digest=np.array(answers.digest), **arrays, **emulated)


def read_answers(folder: Path, made: Operation, dtype: str) -> tuple[Inputs, Answers]:
    """Return the inputs, drawn anew, and the oracle's answers to them.

    Raises ``GanbenchError`` where the inputs are not, number for number, what the oracle answered.
    """
    n_outputs = len(made.outputs())
    with np.load(folder / f"{made.name}.npz", allow_pickle=False) as stored:
        seed, gated, loose, nearest_kink = stored["facts"]
        digest = str(stored["digest"])
        counts = {int(key.partition(".")[0]) for key in stored.files if "." in key and "/" not in key}
        after = {count: [stored[f"{count}.{index}"] for index in range(n_outputs)] for count in counts}
        emulated: dict[str, dict[tuple[str, int], float]] = {"deviations": {}, "changes": {}}
        for part, count, group in (key.split("/") for key in stored.files if "/" in key):
            emulated[part][group, int(count)] = float(stored[f"{part}/{count}/{group}"])
    images = np.load(folder / IMAGES, allow_pickle=False)
    inputs = made.inputs(int(seed), dtype, images)
    if inputs.digest() != digest:
        raise GanbenchError(f"the inputs of {made.name} differ from those that the oracle answered")
    return inputs, Answers(int(seed), digest, float(nearest_kink), int(gated), bool(loose), after, **emulated)


if __name__ == "__main__":
    main()
