"""Does the gate refuse honest programs? None of 500 random models, and none of 1,000 rounds of real ones, may be.

Any widths up to 128, any activations, batch norm or none, both losses, any of Adam's usual numbers: ``gan_iteration``
of each passes the gate on NumPy, PyTorch and JAX in both dtypes, or not. Then the presets, as each later round of a run
draws them: 250 draws of each, after one iteration, on NumPy and PyTorch. A model of 200,000 parameters meets there what
is one in a million.

Half an hour on 2 cores: ``python benchmarks/studies/tolerance.py``
"""

import functools
import os
import random
import time
from collections.abc import Collection, Sequence

import numpy as np
from study import Study, options

from ganbench import registry
from ganbench.backend import Backend
from ganbench.data import load_images, staged_images
from ganbench.gan import GANSpec, preset
from ganbench.operations.networks import GANIteration
from ganbench.precision import FULL
from ganbench.testing import images
from ganbench.verification.answers import Answers
from ganbench.verification.choose_inputs import SEEDS
from ganbench.verification.emulation import answer
from ganbench.verification.gate import verify

os.environ.setdefault("JAX_ENABLE_X64", "1")  # before JAX is imported
MODELS = 500
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "identity")
BACKENDS = ("numpy", "torch", "jax")
DRAWN, DRAWS = ("tiny", "mnist-mlp", "mnist-mlp-bn", "deep"), 250


def main() -> None:
    chosen = options("tolerance", __doc__, resumable=True).parse_args()
    models, backends = (3, BACKENDS[:2]) if chosen.short else (MODELS, BACKENDS)
    draws = [(name, number) for name in DRAWN for number in range(2 if chosen.short else DRAWS)]
    study = Study(chosen, models=models, backends=backends, drawn=DRAWN, draws=len(draws))
    pieces: list[tuple[str, int]] = [("random", number) for number in range(models)] + draws
    for name, number in pieces[len(study.pieces) :]:
        start = time.monotonic()
        if name == "random":
            spec = model(random.Random(number))
            rows = gated(spec, images(spec), backends)
        else:
            rows = drawn(name, number)
        study.add({"model": f"{name} {number}", "rows": rows, "seconds": time.monotonic() - start})
        if len(study.pieces) % 50 == 0:
            study.say(f"{len(study.pieces)} of {len(pieces)}: {judge(study.pieces)['measured']}")
    study.conclude(judge(study.pieces))


def drawn(name: str, number: int) -> list[list]:
    """Return the rows of one draw of a preset, as a later round of a run has it."""
    case = GANIteration(preset(name))
    seen = staged_images(load_images(case.spec, None), case.spec, number)
    return shares(case, answer(case, "float32", "ieee", seen, number * SEEDS, (1,)), "float32", seen, BACKENDS[:2])


def gated(spec: GANSpec, seen: np.ndarray, targets: tuple[str, ...], without64: Collection[str] = ()) -> list[list]:
    """Return the rows of one random model on its data, in both dtypes; of ``without64`` in float32 alone."""
    case, rows = GANIteration(spec), []
    for dtype, names in zip(FULL, (targets, [name for name in targets if name not in without64]), strict=True):
        if names:
            rows += shares(case, answer(case, dtype, "ieee", seen), dtype, seen, names)
    return rows


def piece(
    name: str, spec: GANSpec, seen: np.ndarray, targets: tuple[str, ...], without64: Collection[str] = ()
) -> dict:
    """Return a piece of a study: ``gated`` of one model, and how many groups of outputs it has."""
    start = time.monotonic()
    rows, groups = gated(spec, seen, targets, without64), {output.group for output in GANIteration(spec).outputs()}
    return {"model": name, "groups": len(groups), "rows": rows, "seconds": time.monotonic() - start}


def shares(
    case: GANIteration, expected: Answers, dtype: str, seen: np.ndarray, targets: Sequence[str]
) -> list[list]:  # fmt: skip
    """Return target, dtype, largest share of a tolerance, groups not compared after 1 iteration, what the gate said.

    There is no share where nothing could be compared.
    """
    inputs, groups = case.inputs(expected.seed, dtype, seen), {output.group for output in case.outputs()}
    rows = []
    for name in targets:
        found = verify(backend(name).prepare(case, inputs), case, expected, dtype)
        share = max((round(entry.error / entry.tolerance, 3) for entry in found.errors), default=None)
        left = groups - {entry.group for entry in found.errors if entry.iterations == 1}
        rows.append([name, dtype, share, len(left), found.reason])
    return rows


@functools.cache
def backend(target: str) -> Backend:
    """Return the backend of a target, made once: to look for plug-ins takes as long as a small model."""
    name, _, mode = target.partition(".")
    return registry.load(name)(mode)


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
    nearest = max((row for row in rows if row[3] is not None), key=lambda row: row[3])
    return {
        "passed": len(pieces) >= MODELS + len(DRAWN) * DRAWS and not refused,
        "goal": f"0 of {MODELS} random models and of {len(DRAWN) * DRAWS:,} draws of presets refused on any backend",
        "measured": f"{len(refused)} of {len(rows):,} gates on {len(pieces):,} models and draws refused; the nearest: "
        f"{nearest[0]} on {nearest[1]} in {nearest[2]}, {nearest[3]:.2f} of its tolerance",
        "refused": refused,
    }


if __name__ == "__main__":
    main()
