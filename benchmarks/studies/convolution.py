"""How fast is an iteration of a convolutional GAN in every mode, against the textbook loop and against its products?

``gan_iteration`` on ``dcgan-28`` and ``dcgan-32`` in float32, every mode against ``torch.textbook``, in turns. The
floor is ``gan_products`` of the framework that does them fastest. It multiplies zeros of padding, too, so a mode may
be faster than it.

Twenty minutes on 2 cores: ``python benchmarks/studies/convolution.py``
"""

import math

from study import Study, options

import ganbench
from ganbench.machine.environment import usable_cpus
from ganbench.operations.products import FLOOR
from ganbench.results.statistics import speed_of

ITERATION, TEXTBOOK = "gan_iteration", "torch.textbook"
MODES = ("torch", "torch.manual", "torch.compile", "jax", "jax.custom", "jax.scan", "numpy", "numpy.inplace")
PRESETS, JUDGED, ROUNDS = ("dcgan-28", "dcgan-32"), "dcgan-32", 6
OF_FLOOR = 0.6
# What is to be how many times as fast as what; the first is the best of those that begin so.
GOALS = (("torch", TEXTBOOK, 1.4), ("jax", "jax", 1.9), ("numpy.inplace", TEXTBOOK, 1.3))


def main() -> None:
    chosen = options("convolution", __doc__, resumable=True).parse_args()
    modes, presets, rounds = (MODES[-2:], ("dcgan-8",), 1) if chosen.short else (MODES, PRESETS, ROUNDS)
    threads = min(2, len(usable_cpus()))
    study = Study(chosen, modes=modes, presets=presets, rounds=rounds, threads=threads)
    for preset in presets[len(study.pieces) :]:
        run = ganbench.compare(
            (TEXTBOOK, *modes), preset=preset, ops=[ITERATION], baseline=TEXTBOOK, rounds=rounds, threads=threads,
            results=None,
        )  # fmt: skip
        found = {mode: figures(run, mode) for mode in (TEXTBOOK, *modes)}
        failed = {f"{one.target}: {one.reason}" for one in run.measurements if one.status != "ok"}
        study.add({"preset": preset, "seconds": run.records[-1].seconds, "modes": found, "failed": sorted(failed)})
        study.say(f"{preset}: {told(found)}")
    study.conclude(judge(study.pieces))


def figures(run, mode: str) -> dict[str, float | None]:
    """Return the seconds of an iteration and of the products in a mode, and its speed with the interval of it."""
    took, products = (run.visits(name, mode) for name in (ITERATION, FLOOR))
    speed = None if mode == TEXTBOOK else speed_of(run.copies(ITERATION, TEXTBOOK), [took])
    known = speed is not None and speed.has_interval
    return {
        "iteration_s": seconds(took),
        "products_s": seconds(products),
        "speed": speed and speed.value,
        "low": speed.low if known else None,
        "high": speed.high if known else None,
    }


def seconds(visits: dict[int, dict[int, float]]) -> float | None:
    """Return the geometric mean of all visits of a case; None where there are none."""
    every = [math.log(one) for found in visits.values() for one in found.values()]
    return math.exp(math.fsum(every) / len(every)) if every else None


def judge(pieces: list[dict]) -> dict:
    """Return the verdict on ``JUDGED``: the goals' ratios, and the best iteration's share of the floor."""
    modes = {piece["preset"]: piece["modes"] for piece in pieces}.get(JUDGED, pieces[-1]["modes"])
    took = {mode: one["iteration_s"] for mode, one in modes.items() if one["iteration_s"]}
    held = []
    for first, other, least in GOALS:
        best = min((took[mode] for mode in took if mode.startswith(first) and mode != TEXTBOOK), default=math.inf)
        held.append((f"the best of {first}", took.get(other, 0.0) / best, other, least))
    products = [one["products_s"] for one in modes.values() if one["products_s"]]
    share = min(products, default=0.0) / min(took.values(), default=math.inf)
    return {
        "passed": JUDGED in [piece["preset"] for piece in pieces]
        and share >= OF_FLOOR
        and all(ratio >= least for _, ratio, _, least in held),
        "goal": ", ".join(f"{name} {least} times as fast as {other}" for name, _, other, least in held)
        + f", and the best of all at {OF_FLOOR:.0%} of the floor on {JUDGED}",
        "measured": ", ".join(f"{name} {ratio:.2f} times {other}" for name, ratio, other, _ in held)
        + f", {share:.0%} of the floor; "
        + "; ".join(f"{one['preset']}: {told(one['modes'])}" for one in pieces),
    }


def told(modes: dict[str, dict]) -> str:
    """Return the times of all modes, the fastest first."""
    known = sorted((one["iteration_s"], mode) for mode, one in modes.items() if one["iteration_s"])
    return ", ".join(f"{mode} {1e3 * took:.1f} ms" for took, mode in known)


if __name__ == "__main__":
    main()
