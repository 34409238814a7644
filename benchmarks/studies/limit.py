"""How near every framework comes to its limit: the targets of docs/limit.md, measured in one run.

``gan_iteration`` on ``mnist-mlp`` in float32, every mode against ``torch.textbook`` and against the matrix
products alone, in interleaved rounds; the independent yardstick runs once in every round, while all workers
are stopped. From the repository's root: ``python benchmarks/studies/limit.py`` (under nine minutes).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import ganbench
from ganbench.measure.environment import machine_name, usable_cpus
from ganbench.measure.process import child_environment
from ganbench.measure.statistics import Estimate, speed_ratio
from ganbench.records import Measurement

MODES = ("torch", "torch.manual", "torch.compile", "jax", "jax.scan", "numpy", "numpy.inplace")
YARDSTICK = Path(__file__).with_name("yardstick.py")
ITERATION, FLOOR = "gan_iteration", "gan_products"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="two rounds on 'tiny' without a compiler: does it run?")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("results/studies/limit.jsonl"))
    options = parser.parse_args()
    modes = [mode for mode in MODES if mode != "torch.compile"] if options.short else MODES
    yardsticks: list[dict] = []

    def between_blocks(share: float, doing: str) -> None:
        print(f"{share:4.0%} {doing}", file=sys.stderr)
        if doing.endswith(f"timing {ITERATION}"):
            yardsticks.append(yardstick(options.threads))

    began = time.monotonic()
    comparison = ganbench.compare(
        ["torch.textbook", *modes],
        preset="tiny" if options.short else "mnist-mlp",
        ops=[ITERATION],
        baseline="torch.textbook",
        rounds=2 if options.short else options.rounds,
        threads=options.threads,
        results=None,
        progress=between_blocks,
    )
    seconds = medians(comparison.records)
    lines = list(judge(seconds, [found["textbook_s"] for found in yardsticks], modes))
    about = {
        "preset": "tiny" if options.short else "mnist-mlp",
        "rounds": len(yardsticks),
        "threads": options.threads,
        "seconds": round(time.monotonic() - began),
        "machine": machine_name(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("".join(json.dumps({**line, **about}) + "\n" for line in lines))
    for line in lines:
        interval = f"[{line['ratio_low']:.2f}, {line['ratio_high']:.2f}]" if line["ratio_low"] else "[too few rounds]"
        share = f"{line['percent_of_floor']:.0f} % of the floor" if line["percent_of_floor"] else ""
        print(f"{line['target']:<44} {line['ratio']:.2f} {interval}  {share:<18} goal {line['goal']:<30} "
              f"{'pass' if line['passed'] else 'below target'}")  # fmt: skip
    print(f"written to {options.output}")


def yardstick(threads: int) -> dict:
    """Return what the independent loop measures on the same processors."""
    done = subprocess.run(
        [sys.executable, str(YARDSTICK)], env=child_environment({}, threads), stdout=subprocess.PIPE, check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, usable_cpus()[:threads]),
    )  # fmt: skip
    return json.loads(done.stdout)


def medians(records) -> dict[tuple[str, str], list[float]]:
    """Return the seconds of every round by (operation, target), the control left out."""
    found: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if isinstance(record, Measurement) and record.samples and not record.copy:
            found.setdefault((record.operation, record.target), []).append(statistics.median(record.samples))
    return found


def judge(seconds: dict[tuple[str, str], list[float]], yardsticks: list[float], modes):
    """Yield a line for every target; each mode beside the targets has one without a goal."""
    textbook = seconds[ITERATION, "torch.textbook"]
    floors = {label.split(".")[0]: found for (name, label), found in seconds.items() if name == FLOOR}
    best_floor = min(floors.values(), key=statistics.median)

    def line(target, mode, goal, passed, floor=None):
        taken = seconds[ITERATION, mode]
        ratio = speed_ratio(textbook, taken)
        share = speed_ratio(floor, taken).value * 100 if floor else None
        return row(f"{target}: {mode}", ratio, share, goal, bool(passed(ratio.value, share)))

    def best(library=""):
        candidates = [m for m in modes if m.startswith(library) and (ITERATION, m) in seconds]
        return max(candidates, key=lambda mode: speed_ratio(textbook, seconds[ITERATION, mode]).value)

    yield line("best torch mode", best("torch"), "2.3x", lambda r, s: r >= 2.3, floors["torch"])
    yield line("best jax mode", best("jax"), "2.1x", lambda r, s: r >= 2.1, floors["jax"])
    yield line("numpy in place", "numpy.inplace", "1.45x", lambda r, s: r >= 1.45, floors["numpy"])
    yield line("best of all", best(), "68 % of the floor", lambda r, s: s >= 68, best_floor)
    yield line("numpy in place", "numpy.inplace", "55 % of its own floor", lambda r, s: s >= 55, floors["numpy"])
    same = speed_ratio(yardsticks, textbook)
    yield row("yardstick / torch.textbook", same, None, "within 8 %", abs(same.value - 1) <= 0.08)


def row(target: str, ratio: Estimate, share: float | None, goal: str, passed: bool) -> dict:
    low, high = (ratio.low, ratio.high) if ratio.has_interval else (None, None)
    return {"target": target, "ratio": ratio.value, "ratio_low": low, "ratio_high": high,
            "percent_of_floor": share, "goal": goal, "passed": passed}  # fmt: skip


if __name__ == "__main__":
    main()
