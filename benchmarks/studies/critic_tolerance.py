"""Does the gate refuse honest programs of the Wasserstein loss? None of 60 random models and 50 rounds may be.

Random models as in ``tolerance.py``, in both dtypes, on NumPy, PyTorch and ``jax.scan``; then ``mnist-wgan-gp``
as each later round of a run draws it. ``jax.scan`` makes eight iterations a call, over which correct programs may part;
where they part in everything, it cannot be verified, and such gates are counted apart.

Ten minutes on 2 cores: ``python benchmarks/studies/critic_tolerance.py``
"""

import random

from msgspec.structs import replace
from study import Study, options
from tolerance import drawn, gated, model  # asks JAX for float64, too

from ganbench.gan import GANSpec

MODELS, DRAWS = 60, 50
PRESET = "mnist-wgan-gp"
TARGETS = ("numpy", "torch", "jax.scan")


def main() -> None:
    chosen = options("critic_tolerance", __doc__, resumable=True).parse_args()
    models, draws, targets = (2, 2, TARGETS[:2]) if chosen.short else (MODELS, DRAWS, TARGETS)
    study = Study(chosen, models=models, targets=targets, drawn=PRESET, draws=draws)
    for number in range(len(study.pieces), models + draws):
        if number < models:
            study.add({"model": f"random {number}", "rows": gated(critic(random.Random(number)), targets)})
        else:
            study.add({"model": f"{PRESET} {number - models}", "rows": drawn(PRESET, number - models)})
    study.conclude(judge(study.pieces))


def critic(rng: random.Random) -> GANSpec:
    """Return any model with this loss."""
    spec = replace(model(rng), loss="wgan-gp")
    return replace(spec, critic_steps=rng.choice([1, 2, 5]), penalty=rng.choice([0.1, 1.0, 10.0]))


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: no honest program is refused."""
    rows = [(piece["model"], *row) for piece in pieces for row in piece["rows"]]
    parted = [row for row in rows if row[-1].startswith("it cannot be verified")]
    refused = [row for row in rows if row[-1] and row not in parted]
    nearest = max((row for row in rows if row not in parted), key=lambda row: row[3])
    return {
        "passed": len(pieces) >= MODELS + DRAWS and not refused,
        "goal": f"0 of {MODELS} random models with the Wasserstein loss and of {DRAWS} draws of {PRESET} refused",
        "measured": f"{len(refused)} of {len(rows):,} gates refused; the nearest: {nearest[0]} on {nearest[1]} in "
        f"{nearest[2]}, {nearest[3]:.2f} of its tolerance; {len(parted)} of jax.scan could not be verified",
        "refused": refused,
        "could not be verified": parted,
    }


if __name__ == "__main__":
    main()
