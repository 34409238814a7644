"""Does the gate refuse honest programs? Of 500 random models none may be, on NumPy, PyTorch and JAX, in both dtypes.

Any widths up to 128, any activations, batch norm or none, both losses, any of Adam's usual numbers: ``gan_iteration``
of each passes the gate or not. JAX compiles every model anew, which takes most of the time.

Twenty minutes on 2 cores: ``python benchmarks/studies/tolerance.py``
"""

import os
import random
import time

from study import Study, options

from ganbench import registry
from ganbench.gan import GANSpec
from ganbench.operations.networks import GANIteration
from ganbench.testing import images
from ganbench.verification.emulation import answer
from ganbench.verification.gate import verify

os.environ.setdefault("JAX_ENABLE_X64", "1")  # before JAX is imported
MODELS = 500
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "identity")
BACKENDS = ("numpy", "torch", "jax")


def main() -> None:
    chosen = options("tolerance", __doc__, resumable=True).parse_args()
    models, backends = (3, BACKENDS[:2]) if chosen.short else (MODELS, BACKENDS)
    study = Study(chosen, models=models, backends=backends)
    for number in range(len(study.pieces), models):
        start = time.monotonic()
        rows = [row for dtype in ("float32", "float64") for row in gated(number, dtype, backends)]
        study.add({"model": number, "rows": rows, "seconds": time.monotonic() - start})
        if number % 50 == 49:
            study.say(f"{number + 1} of {models}: {judge(study.pieces)['measured']}")
    study.conclude(judge(study.pieces))


def gated(number: int, dtype: str, backends: tuple[str, ...]) -> list[list]:
    """Return backend, dtype, largest share of a tolerance, and what the gate said."""
    case = GANIteration(model(random.Random(number)))
    expected = answer(case, dtype, "ieee", images(case.spec))
    inputs = case.inputs(expected.seed, dtype, images(case.spec))
    rows = []
    for name in backends:
        found = verify(registry.load(name)().prepare(case, inputs), case, expected, dtype)
        share = max((entry.error / entry.tolerance for entry in found.errors), default=float("inf"))
        rows.append([name, dtype, round(share, 3), found.reason])
    return rows


def model(rng: random.Random) -> GANSpec:
    """Return any model."""
    generator = [rng.randint(1, 128) for _ in range(rng.randint(2, 6))]
    hidden = [rng.randint(1, 128) for _ in range(rng.randint(0, 5))]
    batch_norm = rng.random() < 0.5
    return GANSpec(
        name="random",
        generator=tuple(generator),
        discriminator=(generator[-1], *hidden, 1),
        batch=rng.randint(3 if batch_norm else 1, 64),
        batch_norm=batch_norm,
        generator_activations=tuple(rng.choice(ACTIVATIONS) for _ in generator[1:]),
        discriminator_activations=(*(rng.choice(ACTIVATIONS) for _ in hidden), "identity"),
        loss=rng.choice(["saturating", "non-saturating"]),
        lr=rng.choice([1e-5, 2e-4, 1e-3, 1e-2]),
        beta1=rng.choice([0.0, 0.5, 0.9, 0.99]),
        beta2=rng.choice([0.9, 0.99, 0.999]),
        eps=rng.choice([1e-8, 1e-7, 1e-6]),
    )


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: no honest program is refused."""
    rows = [(piece["model"], *row) for piece in pieces for row in piece["rows"]]
    refused = [row for row in rows if row[-1]]
    nearest = max(rows, key=lambda row: row[3])
    return {
        "passed": len(pieces) >= MODELS and not refused,
        "goal": f"0 of {MODELS} random models refused on any backend",
        "measured": f"{len(refused)} of {len(rows)} gates on {len(pieces)} models refused; the nearest: "
        f"model {nearest[0]} on {nearest[1]} in {nearest[2]}, {nearest[3]:.2f} of its tolerance",
        "refused": refused,
    }


if __name__ == "__main__":
    main()
