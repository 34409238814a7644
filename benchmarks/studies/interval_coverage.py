"""How often does the 95 % interval exclude 1 where there is no difference?

*Recorded*: every choice of a baseline, its copy and a target in the rounds that ``aa_verdicts.py`` kept, real visits
to real operations. A worker takes part in several, which leaves the expected rate as it is but makes the count less
certain than so many independent ones; disjoint pairs, which share nothing, stand beside it.

*Resampled*: rounds drawn at random from the recorded ones of one framework and operation, less their median ratio:
the tails of this machine, without whatever ties one round to the next.

*Simulated*: normal and heavy-tailed (Student's t with 3 and 1.5 degrees of freedom) passes, of which the rounds scatter
as they did. Whether 1 is excluded does not depend on that; whether the whole interval leaves the band of 2 %, a false
verdict, does.

*Planned*: runs that choose the number of rounds and passes as they go, from the noise that they have seen. Rounds
differ by 1 %, or in one run of ten by 5 %, which is more than their passes let expect.

A minute: ``python benchmarks/studies/interval_coverage.py``
"""

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from aa_verdicts import disjoint_pairs, sigmas, triples
from study import RESULTS, Recorded, Study, log_ratios, options, read_lines, speed, upper_bound

from ganbench.measure.schedule import LEAST as LEAST_VISITS, MOST, ROUNDS_TO_LEARN, assumed, room_of_round
from ganbench.results.statistics import (
    BAND,
    MIN_ROUNDS,
    Estimate,
    Visits,
    components,
    hodges_lehmann,
    trimmed_error,
    trimmed_mean,
)

LIMIT, LEAST = 0.06, 2000
RUNS = 8000  # planned runs of each kind
PLANNED, UNEVEN = "planned", "planned, some uneven"
LIMIT_UNEVEN = 0.07
PASSES = 8  # of a simulated round
EDGE = float(np.log1p(BAND))
TAILS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "t3": lambda rng, n: rng.standard_t(3, n) / 3**0.5,  # of unit variance
    "t1.5": lambda rng, n: rng.standard_t(1.5, n) / 3**0.5,  # has no variance: stalls of any length
}


def main() -> None:
    parser = options("interval_coverage", __doc__)
    parser.add_argument("--recorded", type=Path, default=RESULTS / "aa_verdicts.jsonl")
    parser.add_argument("--simulations", type=int, help="per case; default 4000, with --short 400")
    chosen = parser.parse_args()
    simulations = chosen.simulations or (400 if chosen.short else 4000)
    study = Study(chosen, recorded=chosen.recorded.name, simulations=simulations, seed=0)
    runs = [line for line in read_lines(chosen.recorded) if line["type"] == "piece"]
    rng = np.random.default_rng(0)
    for kind, cases in (
        ("recorded, every choice", recorded(runs, every=True)),
        ("recorded, disjoint pairs", recorded(runs, every=False)),
        ("resampled", resampled(runs, rng, LEAST)),
    ):
        study.add({"kind": kind, **count(cases)})
    rounds = round(
        statistics.median(len(one) for run in runs for visits in run["visits"].values() for one in visits.values())
    )
    for tail, draw in TAILS.items():
        for name, sigma in sorted(sigmas(runs).items()):
            scale = sigma * PASSES**0.5
            cases = [of_passes((scale * draw(rng, (rounds, PASSES))).tolist()) for _ in range(simulations)]
            study.add({"kind": f"simulated {tail}", "case": name, "sigma": sigma, **count(cases)})
    rng = np.random.default_rng(0)  # so that planned runs do not depend on what was drawn before them
    for share, name in ((0.0, PLANNED), (0.1, UNEVEN)):
        cases = [of_passes(planned(rng, rng.random() < share)) for _ in range(RUNS)]
        study.add({"kind": name, **count(cases)})
    for entry in study.pieces:
        case = f"{entry['case']} (sigma {entry['sigma']:.1%})" if "case" in entry else ""
        rate, beyond = (entry[key] / entry["intervals"] for key in ("excluded", "beyond_band"))
        print(f"{entry['kind']:<26}{case:<38} 1 excluded {rate:5.1%}, beyond the band {beyond:5.2%}"
              f" of {entry['intervals']}")  # fmt: skip
    study.conclude(judge(study.pieces))


def recorded(runs: list[dict], every: bool) -> list[Estimate]:
    """Return the log-ratio of each recorded choice, or of disjoint pairs."""
    cases = []
    for run in runs:
        for visits in run["visits"].values():
            pairs = [([one], other) for one, other in disjoint_pairs(visits)]
            cases += [log_ratio(*case) for case in (triples(visits) if every else pairs)]
    return cases


def resampled(runs: list[dict], rng: np.random.Generator, number: int) -> list[Estimate]:
    """Return ``number`` log-ratios, each of rounds drawn from one framework and operation."""
    pools: dict[tuple[str, str], list[tuple[Visits, Visits]]] = {}
    rounds = MIN_ROUNDS
    for run in runs:
        for operation, blocks in run["visits"].items():
            for one, other in disjoint_pairs(blocks):
                rounds = max(rounds, len(one))
                pools.setdefault((run["framework"], operation), []).extend(zip(one, other, strict=False))
    centred = []
    for pool in pools.values():
        middle = math.exp(statistics.median(log_ratios([[one]], [other])[0] for one, other in pool))
        centred.append([(one, {number: middle * seconds for number, seconds in other.items()}) for one, other in pool])
    drawn = [rng.choice(len(pool), rounds) for pool in centred for _ in range(-(-number // len(centred)))]
    places = [place for place in range(len(centred)) for _ in range(-(-number // len(centred)))]
    cases = [[centred[place][i] for i in chosen] for place, chosen in zip(places, drawn, strict=True)]
    return [log_ratio([[one for one, _ in case]], [other for _, other in case]) for case in cases[:number]]


def log_ratio(baseline: Sequence[Recorded], target: Recorded) -> Estimate:
    """Return the logarithm of the time of the baseline's copies ÷ that of the target."""
    return Estimate(*map(math.log, speed(baseline, target)))


def of_passes(rounds: Sequence[Sequence[float]]) -> Estimate:
    """Return the log-ratio of rounds that have these passes."""
    return hodges_lehmann([*map(trimmed_mean, rounds)], statistics.fmean(map(trimmed_error, rounds)))


def planned(rng: np.random.Generator, heavy: bool) -> list[list[float]]:
    """Return the passes of the rounds of one run, which plans them as ``measure/schedule.py`` does."""
    left_s, start_s, pass_s, logs = 72.0, 2.0, 0.5, []
    while not logs or left_s > start_s + LEAST_VISITS * pass_s:
        noise = assumed([components(logs)] if len(logs) > ROUNDS_TO_LEARN else [])
        room_s = room_of_round([*map(len, logs)], left_s, start_s, pass_s, noise)
        passes = min(max(round(room_s / pass_s), LEAST_VISITS), MOST)
        logs.append((rng.normal(0, 0.05 if heavy else 0.01) + rng.normal(0, 0.12, passes)).tolist())
        left_s -= start_s + passes * pass_s
    return logs


def count(estimates: list[Estimate]) -> dict:
    """Return in how many cases the interval excludes 1, and lies wholly beyond the band."""
    return {
        "intervals": len(estimates),
        "excluded": sum(excludes(e, 0.0) for e in estimates),
        "beyond_band": sum(excludes(e, EDGE) for e in estimates),
    }


def excludes(estimate: Estimate, edge: float) -> bool:
    """Whether the interval of a log-ratio lies wholly beyond ± ``edge``."""
    return estimate.low > edge or estimate.high < -edge


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: each kind of case by its own rate."""
    rates = {}
    for kind in dict.fromkeys(entry["kind"] for entry in pieces):
        same = [entry for entry in pieces if entry["kind"] == kind]
        rates[kind] = [sum(entry[key] for entry in same) for key in ("excluded", "intervals")]
    decisive = {kind: rate for kind, rate in rates.items() if "disjoint" not in kind}
    limits = {kind: LIMIT_UNEVEN if kind == UNEVEN else LIMIT for kind in decisive}
    good = [n >= LEAST and hits <= limits[kind] * n for kind, (hits, n) in decisive.items()]
    passed = bool(good) and all(good)
    said = [f"{kind} {hits}/{n} = {hits / n:.1%}" for kind, (hits, n) in rates.items() if n]
    few, many = rates.get("recorded, disjoint pairs", [0, 0])
    bound = upper_bound(few, many) if many else 1.0
    return {
        "passed": passed,
        "goal": f"the 95 % interval excludes 1 in at most {LIMIT:.0%} of {LEAST} comparisons without difference, "
        f"and in {LIMIT_UNEVEN:.0%} where one run in ten has uneven rounds",
        "measured": "; ".join(said),
        "rates": rates,
        "disjoint_upper_bound": bound,
    }


if __name__ == "__main__":
    main()
