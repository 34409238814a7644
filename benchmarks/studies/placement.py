"""Is the luck of a process where its arrays lie, or on which processor it runs?

NumPy twice and PyTorch, on operations of one thread and of two, in rounds of fresh workers. In every second round the
visits of a pass begin on the same processor, as ``compare`` has it; in the others every worker is left where the system
has put it. The variance between rounds, beyond what the scatter of single visits explains, is what no number of visits
averages out.

Four minutes on 2 cores: ``python benchmarks/studies/placement.py``
"""

import math
from pathlib import Path

import numpy as np
from study import CONTROL, Study, options
from visits import logs_of, one_round

from ganbench.gan import preset as find_preset
from ganbench.machine.workspace import workspace
from ganbench.measure.member import Ledger
from ganbench.measure.plan import make_plan
from ganbench.measure.rounds import ask_oracle, stage
from ganbench.results.statistics import components
from ganbench.verification.answers import IMAGES

OPERATIONS, TARGETS = ("batch_norm", "adam_step", "matmul"), (CONTROL, "torch")


def main() -> None:
    parser = options("placement", __doc__, resumable=True)
    parser.add_argument("--rounds", type=int, default=24, help="of both kinds together")
    chosen = parser.parse_args()
    rounds, passes, preset = (4, 3, "tiny") if chosen.short else (chosen.rounds, 16, "mnist-mlp")
    operations = OPERATIONS[:1] if chosen.short else OPERATIONS
    study = Study(chosen, operations=operations, preset=preset, rounds=rounds, passes=passes)
    plan = make_plan(find_preset(preset), backends="numpy,torch", ops=list(operations), ceilings=False)
    with workspace() as folder:
        np.save(Path(folder) / IMAGES, stage(plan))
        ask_oracle(plan, folder)
        ledger = Ledger(lambda record: None)
        for number in range(1, rounds + 1):
            visits = one_round(plan, folder, ledger, number, passes, (1.0,), placed=number % 2 == 0)
            if number > len(study.pieces):
                study.add({"round": number, "placed": number % 2 == 0, "visits": visits})
                study.say(f"round {number} of {rounds}")
    verdict = judge(study.pieces)
    for line in verdict["lines"]:
        print(line)
    study.conclude(verdict)


def scatters(pieces: list[dict]) -> dict[tuple[str, str, bool], tuple[float, float]]:
    """Return the scatter of one pair and of rounds, by operation, target and whether visits began on one processor."""
    found: dict[tuple[str, str, bool], tuple[float, float]] = {}
    for operation in dict.fromkeys(visit[0] for visit in pieces[0]["visits"]):
        for target in TARGETS:
            for placed in (False, True):
                rounds = [[log for _, _, log in logs_of(piece["visits"], operation, "numpy", target)]
                          for piece in pieces if piece["placed"] == placed]  # fmt: skip
                both = components(rounds)
                found[operation, target, placed] = math.sqrt(both.within), math.sqrt(both.between)
    return found


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: with a common processor, less is left between rounds on operations of one thread."""
    found = scatters(pieces)
    lines = [
        f"{operation:<12} numpy against {'its copy' if target == CONTROL else target:<9} "
        f"{'same processor ' if placed else 'left alone     '} one pair {within:5.1%}, between rounds {between:5.1%}"
        for (operation, target, placed), (within, between) in found.items()
    ]

    def between(placed: bool) -> float:
        single = [b for (name, _, p), (_, b) in found.items() if p == placed and name != "matmul"]
        return math.sqrt(sum(b * b for b in single) / len(single))

    return {
        "passed": between(True) < between(False),
        "goal": "beginning on the same processor leaves less variance between rounds, where one thread computes",
        "measured": f"between rounds {between(False):.1%} left alone, {between(True):.1%} on the same processor",
        "lines": lines,
    }


if __name__ == "__main__":
    main()
