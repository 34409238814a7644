"""How much of a framework's unevenness is its own, and how much is the machine's?

A visit's typical time ÷ its undisturbed time (the tenth percentile of a round's visits) says how uneven a program is.
What disturbs the machine makes NumPy uneven too, whose visits stand beside those of PyTorch and JAX; what they have
beyond NumPy is their own. With one thread each, no framework waits for a thread of its own: what is gone then is due to
how it shares its work among threads. Beside it, how often a visit's process was taken off a processor against its will.

Three minutes on 2 cores: ``python benchmarks/studies/unevenness.py``
"""

import math
import statistics

from study import Study, options

import ganbench
from ganbench.results.statistics import Estimate, half_width, hodges_lehmann, level, undisturbed

BACKENDS = ("numpy", "torch", "jax")
MOST = 0.05


def main() -> None:
    parser = options("unevenness", __doc__, resumable=True)
    chosen = parser.parse_args()
    rounds, preset = (2, "tiny") if chosen.short else (10, "mnist-mlp")
    study = Study(chosen, backends=BACKENDS, preset=preset, rounds=rounds)
    for threads in (2, 1)[len(study.pieces) :]:
        run = ganbench.compare(
            BACKENDS, preset=preset, rounds=rounds, seed=threads, threads=threads, results=None, ceilings=False
        )
        study.add({"threads": threads, "cases": {name: list(of(run, name)) for name in run.header.operations}})
        study.say(f"measured with {threads} threads")
    verdict = judge(study.pieces)
    for line in verdict["lines"]:
        print(line)
    study.conclude(verdict)


def of(run, operation):
    """Yield, of each framework, the logarithms of typical ÷ undisturbed time and the involuntary switches a visit."""
    for target in BACKENDS:
        visits = run.visits(operation, target)
        switches = [
            one.disturbance.mean.switches
            for one in run.measurements
            if (one.operation, one.target, one.copy) == (operation, target, False) and one.disturbance is not None
        ]
        yield {
            "target": target,
            "uneven": {str(number): math.log(level(one) / undisturbed(one)) for number, one in visits.items()},
            "switches": statistics.fmean(found) if (found := [n for n in switches if n is not None]) else None,
        }


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: what each framework is uneven beyond NumPy, known within five percent."""
    lines, own, widths = [], {}, []
    for piece in pieces:
        for operation, (numpy, *others) in piece["cases"].items():
            for one in others:
                both = numpy["uneven"].keys() & one["uneven"].keys()
                logs = [one["uneven"][number] - numpy["uneven"][number] for number in sorted(both)]
                found = Estimate(*map(math.exp, hodges_lehmann(logs)))
                widths.append(half_width(found))
                own.setdefault((one["target"], piece["threads"]), []).append(found.value - 1)
                itself = math.expm1(statistics.median(numpy["uneven"].values()))
                lines.append(
                    f"{operation:<14} {one['target']:<6} threads: {piece['threads']}; "
                    f"beyond NumPy {found.value - 1:+.1%} ± {widths[-1]:.1%}, NumPy itself {itself:.1%}; "
                    f"switches a visit {one['switches'] or 0:.1f}, NumPy's {numpy['switches'] or 0:.1f}"
                )
    middle = statistics.median(widths)
    return {
        "passed": len(pieces) > 1 and middle <= MOST,
        "goal": f"how much more uneven than NumPy each framework is, known within {MOST:.0%} in the median",
        "measured": "; ".join(
            f"{target} with {threads} thread{'s' * (threads > 1)}: {statistics.median(found):+.1%} in the median, "
            f"{max(found):+.1%} at most"
            for (target, threads), found in own.items()
        ) + f"; median half-width {middle:.1%}",
        "lines": lines,
    }  # fmt: skip


if __name__ == "__main__":
    main()
