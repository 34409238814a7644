"""Is the page of 100,000 rows made within twenty seconds, a later one within ten, and is it smaller than 5 MB?

One real run (NumPy, PyTorch and JAX on five operations of ``tiny``, six rounds) is written 6,667 times, each time as
another run: of another second, of one of twenty machines, of another commit. Then the command is timed as a user would:
``ganbench report FOLDER --html page.html``, first with rows that nobody has worked out before, then with rows that are
kept, which is how every later page is made.

Five minutes on 2 cores, 700 MB on the disk: ``python benchmarks/studies/large_report.py``
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from study import Study, options

import ganbench

ROWS, BYTES = 100_000, 5e6
MOST_S = {"first": 20.0, "later": 10.0}  # a later page finds kept what the first had to work out
MACHINES = 20


def main() -> None:
    parser = options("large_report", __doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    chosen = parser.parse_args()
    rows, targets = (300, ("numpy",)) if chosen.short else (chosen.rows, ("numpy", "torch", "jax"))
    study = Study(chosen, rows=rows, machines=MACHINES)
    with tempfile.TemporaryDirectory() as folder:
        results, page = Path(folder) / "results", Path(folder) / "page.html"
        made = ganbench.compare(targets, preset="tiny", rounds=6, ceilings=False, results=Path(folder) / "one")
        count = -(-rows // len(made.to_pandas()))
        spread(made.path.read_text(), results, count)
        study.say(f"{count:,} runs, {sum(path.stat().st_size for path in results.rglob('*.jsonl')) / 1e6:.0f} MB")
        command = [sys.executable, "-m", "ganbench.cli", "report", str(results), "--html", str(page)]
        env = {**os.environ, "GANBENCH_CACHE": str(Path(folder) / "cache")}
        found = {}
        for name in ("first", "later"):
            start = time.monotonic()
            subprocess.run(command, env=env, check=True)
            found[name] = time.monotonic() - start
            study.add({"page": name, "seconds": found[name], "bytes": page.stat().st_size})
            study.say(f"{name} page: {found[name]:.1f} s")
        study.conclude(judge(study.pieces, rows))


def spread(run: str, results: Path, count: int) -> None:
    """Write one run many times, each as another one."""
    head, _, rest = run.partition("\n")
    header = json.loads(head)
    for number in range(count):
        time_of = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        name = f"{time_of:%Y%m%dT%H%M%SZ}-{number:04x}"
        machine = f"machine-{number % MACHINES:02}"
        changed = {"run_id": name, "timestamp": time_of.isoformat(), "machine": machine, "commit": f"{number:040x}"}
        path = results / machine / "compare" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(header | changed) + "\n" + rest)


def judge(pieces: list[dict], rows: int) -> dict:
    """Return the verdict on both pages."""
    largest, in_time = max(piece["bytes"] for piece in pieces), all(p["seconds"] <= MOST_S[p["page"]] for p in pieces)
    said = ", ".join(f"the {piece['page']} page {piece['seconds']:.1f} s" for piece in pieces)
    return {
        "passed": rows >= ROWS and in_time and largest <= BYTES,
        "goal": f"the first page of {ROWS:,} rows within {MOST_S['first']:.0f} s, a later one within "
        f"{MOST_S['later']:.0f} s, {BYTES / 1e6:.0f} MB",
        "measured": f"{rows:,} rows: {said}; {largest / 1e6:.2f} MB",
    }


if __name__ == "__main__":
    main()
