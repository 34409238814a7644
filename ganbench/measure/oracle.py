"""The oracle's own process: it answers every operation of a run once, in float64, into a folder.

Run as ``python -m ganbench.measure.oracle`` with an ``OracleJob`` on standard input.
"""

from pathlib import Path

import numpy as np

from ..gan import GANSpec
from ..operations import operation
from ..verification.answers import IMAGES, write_answers
from ..verification.emulation import answer
from .child import ChildJob, begin


class OracleJob(ChildJob, frozen=True, kw_only=True):
    """Which operations of which model to answer, and where."""

    spec: GANSpec
    operations: list[str]
    dtype: str
    precision: str
    folder: str


def main() -> None:
    job, _ = begin(OracleJob)
    folder = Path(job.folder)
    images = np.load(folder / IMAGES, allow_pickle=False)
    for name in job.operations:
        made = operation(name, job.spec)
        if job.spec.batch >= made.minimum_batch:
            write_answers(folder, made, answer(made, job.dtype, job.precision, images))


if __name__ == "__main__":
    main()
