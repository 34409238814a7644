"""How near every framework comes to its limit, measured in one run.

``gan_iteration`` on ``mnist-mlp`` in float32, every mode against ``torch.textbook`` and against the matrix products
alone, in interleaved rounds; the independent yardstick runs before and after the blocks of every round, while all
workers are stopped. From the repository's root: ``python benchmarks/studies/limit.py`` (under nine minutes).
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from study import read_lines

import ganbench
from ganbench.machine.environment import machine_name, source_state, usable_cpus
from ganbench.measure.process import child_environment
from ganbench.operations.products import FLOOR
from ganbench.results.run import Run, find_run, open_run
from ganbench.results.statistics import Estimate, speed_ratio
from ganbench.results.table import run_table

MODES = ("torch", "torch.manual", "torch.compile", "jax", "jax.scan", "numpy", "numpy.inplace")
YARDSTICK = Path(__file__).with_name("yardstick.py")
ITERATION, TEXTBOOK = "gan_iteration", "torch.textbook"
BLOCKS = re.compile(rf"round (\d+): timing (?:{ITERATION}|{FLOOR})$", re.M)  # the floor's blocks come next
Yardsticks = dict[str, list[float]]  # by round: seconds before the blocks of iterations, and after them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="one round on 'tiny', few modes: does it run?")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=min(2, len(usable_cpus())))
    parser.add_argument("--output", type=Path, default=Path("results/studies/limit.jsonl"))
    parser.add_argument("--judge", metavar="RUN", help="judge this run, with the yardsticks that the file has")
    options = parser.parse_args()
    today = datetime.now(UTC).date().isoformat()
    if options.judge:
        before = read_lines(options.output)[0]
        run = open_run(find_run(options.judge, Path("results")))
        report(options.output, judge(run, before["yardstick_s"]), before | {"run": run.path.name, "judged": today})
        return
    modes = ["torch.manual", "jax.scan", "numpy.inplace"] if options.short else MODES
    yardsticks: Yardsticks = {}
    about = {
        "preset": "tiny" if options.short else "mnist-mlp",
        "threads": options.threads,
        "machine": machine_name(),
        "commit": source_state()[0],
        "yardstick_s": yardsticks,
        "date": today,
    }

    def between_blocks(share: float, doing: str) -> None:
        print(f"{share:4.0%} {doing}", file=sys.stderr)
        if blocks := BLOCKS.search(doing):
            took = yardstick(options.threads, 3 if options.short else 25)["textbook_s"]
            yardsticks.setdefault(blocks[1], []).append(took)
            report(options.output, [], about)  # what is known if the study ends here

    began = time.monotonic()
    comparison = ganbench.compare(
        [TEXTBOOK, *modes],
        preset="tiny" if options.short else "mnist-mlp",
        ops=[ITERATION],
        baseline=TEXTBOOK,
        rounds=1 if options.short else options.rounds,
        threads=options.threads,
        results=None if options.short else "results",
        ceilings=not options.short,
        progress=between_blocks,
    )
    about |= {"rounds": len(yardsticks), "seconds": round(time.monotonic() - began)}
    about["run"] = comparison.path and comparison.path.name
    report(options.output, judge(comparison, yardsticks), about)
    print(f"written to {options.output}")


def report(path: Path, lines: Iterable[dict], about: dict) -> None:
    """Write the lines, each with what they are about, and print them."""
    lines = list(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(about | line) + "\n" for line in lines or [{}]))
    for line in lines:
        print(in_words(line))


def in_words(line: dict) -> str:
    """Return one line of the file as it is printed."""
    interval = f"[{line['ratio_low']:.2f}, {line['ratio_high']:.2f}]" if line["ratio_low"] else "[too few rounds]"
    ratio = f"{line['ratio']:.2f} {interval}" if line["ratio"] else "not measured"
    share = f"{line['percent_of_floor']:.0f} % of the floor" if line["percent_of_floor"] else ""
    verdict = ("pass" if line["passed"] else "below target") if line["goal"] else ""
    return f"{line['target']:<36} {ratio:<20}  {share:<18}  {line['goal']:<24} {verdict}".rstrip()


def yardstick(threads: int, blocks: int) -> dict:
    """Return what the independent loop measures on the same processors, in so many blocks."""
    done = subprocess.run(
        [sys.executable, str(YARDSTICK), str(blocks)], env=child_environment({}, threads), stdout=subprocess.PIPE,
        check=True, preexec_fn=lambda: os.sched_setaffinity(0, usable_cpus()[:threads]),
    )  # fmt: skip
    return json.loads(done.stdout)


def judge(comparison: Run, yardsticks: Yardsticks) -> Iterator[dict]:
    """Yield a line for every goal, then one without a goal for every other mode that was measured.

    The yardstick is compared in the rounds that have it twice, and a time of the textbook's.
    """
    table = run_table(comparison).set_index("target")
    rows = {label: found for label, found in table.iterrows() if found["status"] == "ok"}
    best_floor = min(filter(None, (medians(comparison, FLOOR, label) for label in rows)), key=statistics.median)

    def line(name: str, label: str | None, goal: str, passed: Callable[[float, float], bool], best: bool = False):
        if label is None:
            return row(name, Estimate(math.nan, math.nan, math.nan), None, goal, passed=False)
        found = rows[label]
        floor = best_floor, medians(comparison, ITERATION, label)
        share = 100 * speed_ratio(*floor).value if best else float(found["percent_of_floor"])
        ratio = Estimate(*found[["ratio", "ratio_low", "ratio_high"]])
        return row(f"{name}: {label}", ratio, share, goal, bool(passed(ratio.value, share)))

    def fastest(library: str = "") -> str | None:
        candidates = [label for label in rows if label.startswith(library) and label != TEXTBOOK]
        return max(candidates, key=lambda label: rows[label]["ratio"], default=None)

    in_place = "numpy.inplace" if "numpy.inplace" in rows else None
    yield line("best torch mode", fastest("torch"), "2.3x", lambda ratio, share: ratio >= 2.3)
    yield line("best jax mode", fastest("jax"), "2.1x", lambda ratio, share: ratio >= 2.1)
    yield line("numpy in place", in_place, "1.45x", lambda ratio, share: ratio >= 1.45)
    yield line("best of all", fastest(), "68 % of the best floor", lambda ratio, share: share >= 68, best=True)
    yield line("numpy in place", in_place, "55 % of its own floor", lambda ratio, share: share >= 55)
    own = {str(number): found for number, found in comparison.levels(ITERATION, TEXTBOOK).items()}
    both = [number for number, around in yardsticks.items() if len(around) == 2 and number in own]
    pairs = [(statistics.mean(yardsticks[number]), own[number]) for number in both]
    same = speed_ratio(*zip(*pairs, strict=True)) if pairs else Estimate(math.nan, math.nan, math.nan)
    yield row("yardstick / torch.textbook", same, None, "within 8 %", abs(same.value - 1) <= 0.08)
    for label in rows:
        yield line("mode", label, "", lambda ratio, share: True)


def medians(comparison: Run, operation: str, label: str) -> list[float]:
    """Return the typical seconds of each round of one case, the control left out."""
    return [*comparison.levels(operation, label).values()]


def row(target: str, ratio: Estimate, share: float | None, goal: str, passed: bool) -> dict:
    value, low, high = (None if math.isnan(bound) else bound for bound in ratio)
    return {"target": target, "ratio": value, "ratio_low": low, "ratio_high": high,
            "percent_of_floor": share, "goal": goal, "passed": passed}  # fmt: skip


if __name__ == "__main__":
    main()
