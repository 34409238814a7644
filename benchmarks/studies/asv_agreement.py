"""Do asv's median and compare's median agree within 10 % for the same case, in one sitting?

Runs both in turns, three times each, and compares the medians of the three. Usage, from the repository's root:

    python benchmarks/studies/asv_agreement.py
"""

import json
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import ganbench
from ganbench.machine.environment import machine_name

TARGETS = ("numpy", "torch", "jax")
SHAPES = {"adam_step": "218128", "matmul": "128x256x784", "gan_iteration": "128x64x256x784x128x1"}
GOAL = 0.10
TURNS = 3
OUTPUT = Path("results/studies/asv_agreement.jsonl")


def run_asv() -> None:
    # One process per target, all shapes of the suites that are compared; asv's results go where it keeps them.
    pattern = "|".join(
        rf"track_call\('{shape}', '{target}', 'float32'" for shape in SHAPES.values() for target in TARGETS
    )
    command = [sys.executable, "-m", "asv", "run", "-b", f"^(adam_step|matmul|gan_iteration)\\..*({pattern})"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def medians(table: "ganbench.results.pd.DataFrame") -> dict[tuple[str, str], float]:
    rows = table[(table["dtype"] == "float32") & (table["status"] == "ok")]
    return {
        (row.operation, row.target): row.median_s
        for row in rows.itertuples()
        if SHAPES.get(row.operation) == row.shape and row.target in TARGETS
    }


def main() -> None:
    found: dict[str, dict[tuple[str, str], list[float]]] = {"asv": {}, "compare": {}}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS):
            run_asv()
            table = ganbench.load_results("results")
            newest = (
                table[table["source"] == "asv"]
                .sort_values("timestamp")
                .drop_duplicates(["operation", "shape", "target", "dtype"], keep="last")
            )
            for case, seconds in medians(newest).items():
                found["asv"].setdefault(case, []).append(seconds)
            comparison = ganbench.compare(TARGETS, ops=list(SHAPES), rounds=2, results=folder, ceilings=False)
            for case, seconds in medians(comparison.to_pandas()).items():
                found["compare"].setdefault(case, []).append(seconds)
            print(f"turn {turn + 1} of {TURNS} done", file=sys.stderr)
    lines = []
    for case in sorted(found["compare"]):
        by_asv, by_compare = (statistics.median(found[source][case]) for source in ("asv", "compare"))
        ratio = by_asv / by_compare
        passed = abs(ratio - 1) <= GOAL
        lines.append({"operation": case[0], "target": case[1], "asv_s": by_asv, "compare_s": by_compare,
                      "ratio": ratio, "goal": GOAL, "passed": passed, "machine": machine_name(),
                      "date": datetime.now(UTC).date().isoformat()})  # fmt: skip
        verdict = "pass" if passed else "apart"
        print(f"{case[0]:<14} {case[1]:<6} asv {by_asv:.3e} s, compare {by_compare:.3e} s: {ratio:.3f} {verdict}")
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{sum(line['passed'] for line in lines)} of {len(lines)} within {GOAL:.0%}; written to {OUTPUT}")


if __name__ == "__main__":
    main()
