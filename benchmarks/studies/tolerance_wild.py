"""Does the gate refuse honest programs of wild models? None of 1,000 models may be.

Wild is what leaves much to rounding: data in a range that it hardly resolves, columns that are constant, layers of one
unit, critics of up to nine layers, batch norm over three rows, lr up to 0.1, any loss, any penalty. Where even correct
programs differ in a group of outputs by more than could be told from no step at all, the gate does not compare that
group; how often, is told.

JAX takes six seconds to compile each, so it comes later (``pool``).

Three hours on 2 cores: ``python benchmarks/studies/tolerance_wild.py``
"""

import random
import warnings

import numpy as np
from pool import in_pool, none_refused
from tolerance import ACTIVATIONS, piece  # asks JAX for float64, too

from ganbench.gan import STAGED_BATCHES, GANSpec
from ganbench.losses import LOSSES

MODELS = 1000
TARGETS = (("numpy", "numpy.inplace", "torch", "torch.manual"), ("jax",))


def main() -> None:
    in_pool("tolerance_wild", __doc__, MODELS, TARGETS, tried, judge)


def tried(wanted: tuple[int, tuple[str, ...]]) -> dict:
    """Return what the gate says of one wild model on some targets."""
    number, targets = wanted
    rng = random.Random(f"wild model {number}")
    spec = model(rng)
    with np.errstate(all="ignore"), warnings.catch_warnings():  # what trains so wildly may overflow
        warnings.simplefilter("ignore")
        return piece(f"wild {number}", spec, data(rng, spec), targets)


def model(rng: random.Random) -> GANSpec:
    """Return any wild model."""

    def width() -> int:
        return rng.choice([1, 2, 3, rng.randint(1, 40), rng.randint(1, 40)])

    generator, hidden = [width() for _ in range(rng.randint(2, 6))], [width() for _ in range(rng.randint(0, 8))]
    batch_norm, loss = rng.random() < 0.5, rng.choice(sorted(LOSSES))
    critic = {"critic_steps": rng.choice([1, 1, 2, 5])}
    if LOSSES[loss].penalised:
        critic["penalty"] = rng.choice([0.0, 0.1, 10.0, 1000.0])
    return GANSpec(
        name="wild",
        generator=tuple(generator),
        discriminator=(generator[-1], *hidden, 1),
        batch=rng.randint(3, 5) if batch_norm else rng.choice([1, 2, 3, 5, rng.randint(1, 32)]),
        batch_norm=batch_norm,
        generator_activations=tuple(rng.choice(ACTIVATIONS) for _ in generator[1:]),
        discriminator_activations=(*(rng.choice(ACTIVATIONS) for _ in hidden), "identity"),
        loss=loss,
        lr=rng.choice([2e-4, 1e-2, 0.1, 0.1]),
        beta1=rng.choice([0.0, 0.5, 0.9]),
        beta2=rng.choice([0.9, 0.99, 0.999]),
        **critic,
    )


def data(rng: random.Random, spec: GANSpec) -> np.ndarray:
    """Return data in the whole range of a model, or in one that rounding hardly resolves; some columns constant."""
    low, high = spec.data_range
    draw = np.random.default_rng(rng.randrange(2**32))
    share = draw.uniform(0, 1, (STAGED_BATCHES * spec.batch, spec.img_dim))
    extent = rng.choice([1.0, 1.0, 1e-3, 1e-6, 1e-7, 0.0])
    bottom = rng.choice([low, 0.0, 0.5, high - extent])
    found = np.clip(bottom + (high - bottom if extent == 1 else extent) * share, low, high)
    if rng.random() < 0.3:
        found[:, draw.uniform(0, 1, spec.img_dim) < 0.5] = rng.choice([low, 0.0, 0.5, high])
    return found


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: no honest program is refused."""
    return none_refused(pieces, TARGETS, MODELS, "wild models")


if __name__ == "__main__":
    main()
