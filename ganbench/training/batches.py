"""What an iteration is fed: shuffled real rows and noise, the same numbers for every backend.

Each epoch has a random stream of its own, derived from the seed and the epoch's number. So a training that
is resumed at any iteration is fed what it would have been fed without the interruption.
"""

from collections.abc import Iterator

import numpy as np

from ..gan import GANSpec

ROWS = "rows.npy"  # the real data of a training, in its dtype, on the way to its process
SAMPLES = 100  # rows generated for the picture, from noise that never changes
SAMPLE_STREAM = 0  # epochs are counted from 1

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # real, z_d, z_g


def stream(rows: np.ndarray, spec: GANSpec, seed: int, step: int) -> Iterator[Batch]:
    """Yield the batches of every iteration after ``step``, without end, in the dtype of ``rows``.

    An epoch is a new permutation of the rows, cut into whole batches; the rows left over, fewer than a
    batch, are others in every epoch.
    """
    per_epoch = len(rows) // spec.batch
    epoch, done = divmod(step, per_epoch)
    while True:
        epoch += 1
        rng = _stream(seed, epoch)
        order = rng.permutation(len(rows))
        for index in range(per_epoch):
            # Drawn in float64 whatever the dtype, and drawn even where it is skipped.
            z_d, z_g = rng.standard_normal((2, spec.batch, spec.z_dim)).astype(rows.dtype)
            if index >= done:
                yield rows[order[index * spec.batch : (index + 1) * spec.batch]], z_d, z_g
        done = 0


def sample_noise(spec: GANSpec, seed: int) -> np.ndarray:
    """Return the noise from which every picture of a training is generated."""
    return _stream(seed, SAMPLE_STREAM).standard_normal((SAMPLES, spec.z_dim))


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
