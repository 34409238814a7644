"""Does a ratio depend on how long a visit is, on who was visited before, or on how far apart partners were visited?

Three frameworks and the second copy of the baseline, in rounds of fresh workers as ``compare`` has them. In every
pass each worker is visited three times, for 10, 20 and 40 ms, the lengths in random order: so the lengths are
compared in the very same rounds. What a ratio changes from the shortest visits to the longest, and from partners
that were visited directly after one another to partners that were not, is a log-ratio a round, and gets an interval
as any ratio does.

Six minutes on 2 cores: ``python benchmarks/studies/visits.py``
"""

import math
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from study import CONTROL, Study, options

from ganbench.gan import preset as find_preset
from ganbench.machine.workspace import workspace
from ganbench.measure.engine import VISIT_S
from ganbench.measure.fork_server import ForkServer
from ganbench.measure.ledger import Ledger
from ganbench.measure.member import Member
from ganbench.measure.oracle_client import OracleClient
from ganbench.measure.passes import orders, turns
from ganbench.measure.plan import Plan, make_plan
from ganbench.measure.rounds import stage
from ganbench.results.statistics import BAND, Estimate, hodges_lehmann, trimmed_mean
from ganbench.verification.answers import IMAGES

BACKENDS, OPERATIONS = ("numpy", "torch", "jax"), ("matmul", "adam_step", "gan_iteration")
SCALES = (0.5, 1.0, 2.0)  # of a visit as ``compare`` makes it
LONGEST = SCALES[-1] / SCALES[0]


def main() -> None:
    parser = options("visits", __doc__, resumable=True)
    parser.add_argument("--rounds", type=int, default=12)
    chosen = parser.parse_args()
    rounds, passes, preset = (2, 3, "tiny") if chosen.short else (chosen.rounds, 14, "mnist-mlp")
    backends, operations = (BACKENDS[:2], OPERATIONS[:1]) if chosen.short else (BACKENDS, OPERATIONS)
    study = Study(chosen, backends=backends, operations=operations, preset=preset, rounds=rounds, passes=passes,
                  visit_s=VISIT_S, scales=SCALES)  # fmt: skip
    plan = make_plan(find_preset(preset), backends=list(backends), ops=list(operations), ceilings=False)
    with workspace() as folder:
        np.save(Path(folder) / IMAGES, stage(plan))
        ledger = Ledger(lambda record: None)
        for number in range(1, rounds + 1):
            start = time.monotonic()
            visits = one_round(plan, folder, ledger, number, passes, SCALES)
            if number > len(study.pieces):
                study.add({"round": number, "visits": visits, "seconds": time.monotonic() - start})
                study.say(f"round {number} of {rounds}")
    verdict = judge(study.pieces)
    for line in verdict["effects"]:
        print(line)
    study.conclude(verdict)


def one_round(
    plan: Plan, folder: str, ledger: Ledger, number: int, passes: int, scales: Sequence[float],
    placed: bool = True, made: Mapping[str, ForkServer] = MappingProxyType({}),
) -> list[list]:  # fmt: skip
    """Return every visit of a round: operation, target, pass, place in it, scale, seconds per iteration.

    ``placed``: the visits of a pass begin on the same processor. Workers are forked from ``made``, if that is given.
    """
    rng = random.Random(number)
    judge = OracleClient(plan, folder)
    members = [
        Member(plan, folder, ledger, judge, number, target, copy, made.get(target.label))
        for target, copy in plan.members
    ]
    rng.shuffle(members)
    found: list[list] = []
    try:
        judge.draw(number)
        for member in members:
            member.prepare()
        for name in plan.operations:
            cpus = turns(plan.cpus if placed else (None,), rng)
            found += visited(members, name, ledger, passes, scales, cpus, rng)
    finally:
        judge.stop()
        for member in members:
            member.stop()
    return found


def visited(
    members: list[Member], name: str, ledger: Ledger, passes: int, scales: Sequence[float],
    cpus: Iterator[int | None], rng: random.Random,
) -> list[list]:  # fmt: skip
    """Visit every worker in turns, with each scale once a pass."""
    whole = {m.target.label: ledger.numbers[m.target.label, name] for m in members if m.can_time(name)}
    places: dict[tuple[Member, int], int] = {}
    for number, order, cpu in zip(range(passes), orders(members, rng), cpus, strict=False):
        for index in rng.sample(range(len(scales)), len(scales)):
            for place, member in enumerate(order):
                label, key = member.target.label, len(scales) * number + index
                ledger.numbers[label, name] = max(1, round(scales[index] * whole[label]))
                member.visit(name, key, place, cpu)
                places[member, key] = place
    for member in members:
        ledger.numbers[member.target.label, name] = whole[member.target.label]
        member.finish(name)
    return [
        [name, CONTROL if member.copy else member.target.label, key // len(scales), places[member, key],
         scales[key % len(scales)], seconds]
        for member in members
        for key, seconds in ledger.visits[member.case(name)][max(ledger.visits[member.case(name)])].items()
    ]  # fmt: skip


def changes(pieces: list[dict]) -> dict[str, Estimate]:
    """Return by how much each log-ratio changes, with the length of a visit and with the distance of its partners."""
    effects = {}
    for operation in dict.fromkeys(visit[0] for visit in pieces[0]["visits"]):
        labels = dict.fromkeys(visit[1] for visit in pieces[0]["visits"])
        baseline, *others = sorted(labels, key=lambda label: BACKENDS.index(label) if label in BACKENDS else 9)
        for other in others:
            rounds = [logs_of(piece["visits"], operation, baseline, other) for piece in pieces]
            effects[f"{operation} {other}, visits {LONGEST:g} times as long"] = change(rounds, long, short)
            effects[f"{operation} {other}, partners apart instead of next to one another"] = change(rounds, far, near)
    return effects


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: no ratio may change by more than the band, as far as its interval says."""
    effects = changes(pieces)
    beyond = [name for name, e in effects.items() if e.low > math.log1p(BAND) or e.high < -math.log1p(BAND)]
    lines = [
        f"{name:<70} {100 * e.value:+5.1f} % [{100 * e.low:+.1f}, {100 * e.high:+.1f}]" for name, e in effects.items()
    ]
    values = [100 * e.value for e in effects.values()]
    widths = [(e.high - e.low) / 2 for e in effects.values()]
    return {
        "passed": not beyond and statistics.median(widths) <= BAND,  # wide intervals reach everywhere
        "goal": f"no ratio changes by more than {BAND:.0%} with the length of a visit or the distance of its partners",
        "measured": f"of {len(effects)} changes {len(effects) - len(beyond)} have an interval that reaches into "
        f"± {BAND:.0%} (changes: {min(values):+.1f} to {max(values):+.1f} %, median half-width "
        f"{100 * statistics.median(widths):.1f} %)"
        + "".join(f"; not {name}" for name in beyond),
        "effects": lines,
    }  # fmt: skip


def logs_of(visits: list[list], operation: str, baseline: str, other: str) -> list[tuple[float, int, float]]:
    """Return scale, distance and log-ratio of every pair of visits of one round."""
    places = {(label, number, scale): (place, seconds)
              for name, label, number, place, scale, seconds in visits if name == operation}  # fmt: skip
    pairs = []
    for (label, number, scale), (place, seconds) in places.items():
        if label == other:
            at, base = places[baseline, number, scale]
            pairs.append((scale, abs(place - at), math.log(base / seconds)))
    return pairs


def short(scale: float, distance: int) -> bool:
    """Whether a pair was visited for the shortest time."""
    return scale == SCALES[0]


def long(scale: float, distance: int) -> bool:
    """Whether a pair was visited for the longest time."""
    return scale == SCALES[-1]


def near(scale: float, distance: int) -> bool:
    """Whether a pair was visited one directly after the other."""
    return distance == 1


def far(scale: float, distance: int) -> bool:
    """Whether another worker was visited in between."""
    return distance > 1


def change(rounds: list[list[tuple[float, int, float]]], after, before) -> Estimate:
    """Return by how much the log-ratio of pairs that are ``after`` exceeds that of those that are ``before``."""
    changes = []
    for pairs in rounds:
        sides = [[log for scale, distance, log in pairs if which(scale, distance)] for which in (after, before)]
        if all(sides):
            changes.append(trimmed_mean(sides[0]) - trimmed_mean(sides[1]))
    return hodges_lehmann(changes)


if __name__ == "__main__":
    main()
