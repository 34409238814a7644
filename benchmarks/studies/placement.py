"""Is the luck of a process where its arrays lie, or on which processor it runs? And is it new where workers are forked?

NumPy twice and PyTorch, on operations of one thread and of two, in rounds of new workers of three kinds in turns:
*left alone*, where the system puts them; *on the same processor*, where the visits of a pass begin on one; and
*forked* from a process that has imported the framework, on the same processor too, as ``compare`` has it from the
second round on. The variance between rounds, beyond what the scatter of single visits explains, is what no number
of visits averages out.

Six minutes on 2 cores: ``python benchmarks/studies/placement.py``
"""

import contextlib
import math
from pathlib import Path

import numpy as np
from study import CONTROL, Study, options
from visits import logs_of, one_round

from ganbench.gan import preset as find_preset
from ganbench.machine.workspace import workspace
from ganbench.measure.launching import fork_servers
from ganbench.measure.ledger import Ledger
from ganbench.measure.plan import make_plan
from ganbench.measure.rounds import stage
from ganbench.results.statistics import components
from ganbench.verification.answers import IMAGES

KINDS = ("left alone", "same processor", "forked")
LEAST = 24  # rounds, of all kinds together
MOST_FORKED = 0.02  # of variance between rounds, as a standard deviation: the band itself
OPERATIONS, TARGETS = ("batch_norm", "adam_step", "matmul"), (CONTROL, "torch")


def main() -> None:
    parser = options("placement", __doc__, resumable=True)
    parser.add_argument("--rounds", type=int, default=42, help="of all kinds together")
    chosen = parser.parse_args()
    rounds, passes, preset = (6, 3, "tiny") if chosen.short else (chosen.rounds, 16, "mnist-mlp")
    operations = OPERATIONS[:1] if chosen.short else OPERATIONS
    study = Study(chosen, operations=operations, preset=preset, rounds=rounds, passes=passes)
    plan = make_plan(find_preset(preset), backends="numpy,torch", ops=list(operations), ceilings=False)
    with workspace() as folder, contextlib.ExitStack() as stack:
        np.save(Path(folder) / IMAGES, stage(plan))
        made = fork_servers(plan, folder, stack)
        ledger = Ledger(lambda record: None)
        for number in range(1, rounds + 1):
            kind = KINDS[number % len(KINDS)]
            forked = made if kind == "forked" else {}
            visits = one_round(plan, folder, ledger, number, passes, (1.0,), kind != "left alone", forked)
            if number > len(study.pieces):
                study.add({"round": number, "kind": kind, "visits": visits})
                study.say(f"round {number} of {rounds}")
    verdict = judge(study.pieces)
    for line in verdict["lines"]:
        print(line)
    study.conclude(verdict)


def scatters(pieces: list[dict]) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Return the scatter of one pair and of rounds, by operation, target and kind of rounds."""
    found: dict[tuple[str, str, str], tuple[float, float]] = {}
    for operation in dict.fromkeys(visit[0] for visit in pieces[0]["visits"]):
        for target in TARGETS:
            for kind in KINDS:
                rounds = [[log for _, _, log in logs_of(piece["visits"], operation, "numpy", target)]
                          for piece in pieces if piece["kind"] == kind]  # fmt: skip
                both = components(rounds)
                found[operation, target, kind] = math.sqrt(both.within), math.sqrt(both.between)
    return found


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: with a common processor less is left between rounds, and forking adds nothing to it."""
    found = scatters(pieces)
    lines = [
        f"{operation:<12} numpy against {'its copy' if target == CONTROL else target:<9} {kind:<15} "
        f"one pair {within:5.1%}, between rounds {between:5.1%}"
        for (operation, target, kind), (within, between) in found.items()
    ]

    def between(kind: str, target: str) -> float:
        """Return the root mean square over operations of one thread."""
        single = [b for (name, who, k), (_, b) in found.items() if (who, k) == (target, kind) and name != "matmul"]
        return math.sqrt(sum(b * b for b in single) / len(single))

    own = {kind: between(kind, CONTROL) for kind in KINDS}
    return {
        "passed": len(pieces) >= LEAST and own["same processor"] < own["left alone"] and own["forked"] <= MOST_FORKED,
        "goal": "NumPy against its copy, one thread: less variance between rounds where visits begin on the same "
        f"processor than left alone, and at most {MOST_FORKED:.0%} where workers are forked",
        "measured": "between rounds, NumPy against its copy: "
        + ", ".join(f"{kind} {value:.1%}" for kind, value in own.items())
        + "; PyTorch against NumPy: "
        + ", ".join(f"{kind} {between(kind, 'torch'):.1%}" for kind in KINDS),
        "lines": lines,
    }


if __name__ == "__main__":
    main()
