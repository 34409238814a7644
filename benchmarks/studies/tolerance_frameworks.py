"""Does the gate refuse honest programs of TensorFlow, Keras and MLX? None of 500 random models may be.

The models of ``tolerance``. MLX computes exponentials of float64 in float32; the gate says so, as it should, and MLX is
tried in float32 alone. Keras is tried on TensorFlow: a process has one of its frameworks.

Two hours on 2 cores: ``PYTHONPATH=.frameworks python benchmarks/studies/tolerance_frameworks.py``
"""

import random

from pool import in_pool, none_refused
from tolerance import MODELS, model, piece  # asks JAX for float64, too

from ganbench.testing import images

TARGETS = (("tensorflow", "keras", "mlx"), ("tensorflow.xla", "mlx.compile"))
WITHOUT_FLOAT64 = ("mlx", "mlx.compile")


def main() -> None:
    in_pool("tolerance_frameworks", __doc__, MODELS, TARGETS, tried, judge)


def tried(wanted: tuple[int, tuple[str, ...]]) -> dict:
    """Return what the gate says of one random model on some targets."""
    number, targets = wanted
    spec = model(random.Random(number))
    return piece(f"random {number}", spec, images(spec), targets, WITHOUT_FLOAT64)


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: no honest program is refused."""
    return none_refused(pieces, TARGETS, MODELS, "random models")


if __name__ == "__main__":
    main()
