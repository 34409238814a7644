"""Does the gate refuse honest programs of TensorFlow, Keras and MLX? None of 500 random models may be.

The models of ``tolerance``. MLX computes exponentials of float64 in float32; the gate says so, as it should, and MLX is
tried in float32 alone. Keras is tried on TensorFlow: a process has one of its frameworks.

Two hours on 2 cores: ``PYTHONPATH=.frameworks python benchmarks/studies/tolerance_frameworks.py``
"""

import random
import time

from pool import in_pool, none_refused, pool_options
from study import Study
from tolerance import MODELS, gated, model  # asks JAX for float64, too

from ganbench.operations.networks import GANIteration
from ganbench.testing import images

TARGETS = (("tensorflow", "keras", "mlx"), ("tensorflow.xla", "mlx.compile"))
WITHOUT_FLOAT64 = ("mlx", "mlx.compile")


def main() -> None:
    chosen = pool_options("tolerance_frameworks", __doc__).parse_args()
    models, targets = (2, TARGETS[:1]) if chosen.short else (MODELS, TARGETS)
    in_pool(Study(chosen, models=models, targets=targets), chosen.budget, tried, judge)


def tried(wanted: tuple[int, tuple[str, ...]]) -> dict:
    """Return what the gate says of one random model on some targets."""
    start, (number, targets) = time.monotonic(), wanted
    spec = model(random.Random(number))
    rows = gated(spec, images(spec), targets, WITHOUT_FLOAT64)
    groups = len({output.group for output in GANIteration(spec).outputs()})
    return {"model": f"random {number}", "groups": groups, "rows": rows, "seconds": time.monotonic() - start}


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: no honest program is refused."""
    return none_refused(pieces, TARGETS, MODELS, "random models")


if __name__ == "__main__":
    main()
