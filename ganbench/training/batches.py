"""The batches of a training: shuffled real rows and noise, the same numbers for every backend.

Each epoch has its own random stream, which follows from the seed and the epoch's number. So a resumed training gets the
same batches as without the interruption.
"""

from collections.abc import Iterator

import numpy as np

from ..gan import GANSpec

ROWS = "rows.npy"  # the real data of a training, in its dtype, on the way to its process
SAMPLES = 100  # rows generated for the picture, from noise that never changes
SAMPLE_STREAM = 0  # epochs are counted from 1

Batch = tuple[
    np.ndarray, ...
]  # real, z_d, z_g; where there is a penalty, u as well, and real, z_d and u of each of its steps


def stream(rows: np.ndarray, spec: GANSpec, seed: int, step: int) -> Iterator[Batch]:
    """Yield the batches of every iteration after ``step``, without end, in the dtype of ``rows``.

    An epoch is a new permutation of the rows, divided into the batches of whole iterations. The rows that are left over
    are other rows in every epoch.
    """
    taken = spec.real_rows
    per_epoch = len(rows) // taken
    epoch, done = divmod(step, per_epoch)
    while True:
        epoch += 1
        rng = _stream(seed, epoch)
        order = rng.permutation(len(rows))
        for index in range(per_epoch):
            # Drawn in float64 whatever the dtype, and drawn even where it is skipped.
            noise = [array.astype(rows.dtype) for array in _drawn(rng, spec)]
            if index >= done:
                real = rows[order[index * taken : (index + 1) * taken]]
                shape = (spec.critic_steps, spec.batch, -1) if spec.stacked else real.shape
                yield real.reshape(shape), *noise
        done = 0


def _drawn(rng: np.random.Generator, spec: GANSpec) -> tuple[np.ndarray, ...]:
    """Return z_d and z_g of one iteration; where there is a penalty, u as well."""
    b, steps = spec.batch, spec.critic_steps
    z_d, z_g = rng.standard_normal((steps, b, spec.z_dim)), rng.standard_normal((b, spec.z_dim))
    if spec.objective.penalised:
        return z_d, z_g, rng.uniform(size=(steps, b, 1))
    return z_d if spec.stacked else z_d[0], z_g


def sample_noise(spec: GANSpec, seed: int) -> np.ndarray:
    """Return the noise from which every picture of a training is generated."""
    return _stream(seed, SAMPLE_STREAM).standard_normal((SAMPLES, spec.z_dim))


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
