"""The oracle's answers, and their file format, which has no pickles."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

IMAGES = "images.npy"  # the staged images, in the folder of a run


class Answers(NamedTuple):
    """The right outputs of an operation on the inputs that are drawn from ``seed`` and have the hash ``digest``.

    A program is compared after 1 and after ``most`` iterations, or after the iterations of one call if these are more.
    ``after`` maps a number of iterations to the float64 outputs. ``deviations`` has, by group and number of iterations,
    the relative error of correct arithmetic; ``changes`` has the relative change of the group since the start.
    ``allowed`` maps iterations and the index of an output to an additional allowance for each of its elements.
    """

    seed: int
    digest: str
    most: int
    after: dict[int, list[np.ndarray]]
    deviations: dict[tuple[str, int], float]
    changes: dict[tuple[str, int], float]
    allowed: dict[int, dict[int, np.ndarray]] = {}  # noqa: RUF012 (never changed)


def joined(parts: Iterable[Answers]) -> Answers:
    """Return what the first of ``parts`` is, with what all know of their numbers of iterations."""
    first, *others = parts
    for more in others:
        told = {
            name: getattr(first, name) | getattr(more, name) for name in ("after", "deviations", "changes", "allowed")
        }
        first = first._replace(**told)
    return first


def write_answers(file: Path | BinaryIO, answers: Answers) -> None:
    """Write answers as one ``.npz`` file, for ``read_answers``."""
    arrays: dict[str, Any] = {"seed": answers.seed, "digest": answers.digest, "most": answers.most}
    for count, outputs in answers.after.items():
        arrays |= {f"after/{count}/{place}": array for place, array in enumerate(outputs)}
    for count, places in answers.allowed.items():
        arrays |= {f"allowed/{count}/{place}": array for place, array in places.items()}
    for part in ("deviations", "changes"):
        arrays |= {f"{part}/{count}/{group}": value for (group, count), value in getattr(answers, part).items()}
    np.savez(file, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()})


def read_answers(file: Path) -> Answers:
    """Return the answers in a file of ``write_answers``, each number checked against its checksum."""
    after: dict[int, list[np.ndarray]] = {}
    allowed: dict[int, dict[int, np.ndarray]] = {}
    emulated: dict[str, dict[tuple[str, int], float]] = {"deviations": {}, "changes": {}}
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        for name in stored.files:
            part, _, rest = name.partition("/")
            count, _, which = rest.partition("/")
            if part == "after":
                after.setdefault(int(count), []).append(stored[name])
            elif part == "allowed":
                allowed.setdefault(int(count), {})[int(which)] = stored[name]
            elif part in emulated:
                emulated[part][which, int(count)] = float(stored[name])
        seed, digest, most = int(stored["seed"]), str(stored["digest"]), int(stored["most"])
    return Answers(seed, digest, most, after, **emulated, allowed=allowed)
