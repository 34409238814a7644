"""What does a framework cost where arithmetic costs nothing?

``matmul``, ``adam_step`` and ``gan_iteration`` of ``tiny`` (16 rows, layers of at most 36 units) in every mode, in
one interleaved run. The few FLOP there take microseconds at the rate of the best matrix product, so what is timed
is what each framework adds: dispatch, autograd, the optimiser's bookkeeping, Python between the calls. Beside it
stands the smallest call of each library, a product of two numbers, measured in the same run.

Six minutes: ``python benchmarks/studies/framework_overhead.py``; ``--write`` puts its file into docs/limit.md.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

from study import RESULTS, Study, options, read_lines

import ganbench
from ganbench.report.table import seconds
from ganbench.results.bounds import Ceilings

TARGETS = ("torch.textbook", "torch", "torch.manual", "torch.compile", "jax", "jax.scan", "numpy", "numpy.inplace")
OPERATIONS = ("matmul", "adam_step", "gan_iteration")
MODES_OF = "gan_iteration"  # the others are the default mode's own in every mode
LIMIT = 0.10
DOCUMENT = Path("docs/limit.md")
BEGIN, END = "<!-- framework_overhead -->\n", "<!-- end framework_overhead -->"


def main() -> None:
    parser = options("framework_overhead", __doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--write", action="store_true", help=f"measure nothing: the file's table into {DOCUMENT}")
    chosen = parser.parse_args()
    if chosen.write:
        path = chosen.output or RESULTS / "framework_overhead.jsonl"
        DOCUMENT.write_text(written(DOCUMENT.read_text(), path))
        return
    targets, rounds = (("numpy", "numpy.inplace"), 1) if chosen.short else (TARGETS, chosen.rounds)
    study = Study(chosen, preset="tiny", targets=targets, operations=OPERATIONS, rounds=rounds)
    comparison = ganbench.compare(
        targets,
        preset="tiny",
        ops=OPERATIONS,
        rounds=rounds,
        results=None if chosen.short else "results",
        progress=lambda share, doing: print(f"{share:4.0%} {doing}", file=sys.stderr),
    )
    for piece in pieces_of(comparison):
        study.add(piece)
        print(in_words(piece))
    run = comparison.path and comparison.path.name
    study.conclude(judge(study.pieces, targets) | {"run": run})


def pieces_of(comparison: ganbench.Comparison) -> Iterator[dict]:
    """Yield each library's smallest call, then what each target takes for each operation."""
    limits = Ceilings(comparison.records)
    product = limits.product("cpu")
    for best in limits.of("latency", "cpu"):
        yield {"operation": "smallest call", "target": best.library, "seconds": best.ceiling.value}
    for row in comparison.to_pandas().to_dict("records"):
        default = "." not in row["target"]
        if row["operation"] != MODES_OF and not default and row["target"] != row["baseline"]:
            continue
        yield {
            "operation": row["operation"],
            "target": row["target"],
            "status": row["status"],
            "reason": row["reason"],
            "seconds": _number(row["median_s"]),
            "low": _number(row["ci_low_s"]),
            "high": _number(row["ci_high_s"]),
            "ratio": _number(row["ratio"]),
            "ratio_low": _number(row["ratio_low"]),
            "ratio_high": _number(row["ratio_high"]),
            "baseline": row["baseline"],
            "arithmetic_s": row["flops"] / product.ceiling.value if product else None,
        }


def in_words(piece: dict) -> str:
    """Return one piece as it is printed."""
    return "  ".join(cell.ljust(width) for cell, width in zip(_cells(piece), (14, 15, 29, 18), strict=True)).rstrip()


def _cells(piece: dict) -> tuple[str, str, str, str]:
    """Return operation, target, time and ratio as text."""
    about = piece["operation"], piece["target"]
    if piece["seconds"] is None:
        return *about, f"{piece['status']}: {piece['reason']}", ""
    time, ratio = seconds(piece["seconds"]), piece.get("ratio")
    if piece.get("low") is not None:
        time += f" [{seconds(piece['low'])}, {seconds(piece['high'])}]"
    if ratio is None:
        return *about, time, ""
    interval = f" [{piece['ratio_low']:.2f}, {piece['ratio_high']:.2f}]" if piece["ratio_low"] is not None else ""
    return *about, time, f"{ratio:.2f}{interval}"


def judge(pieces: list[dict], targets: tuple[str, ...] = TARGETS) -> dict:
    """Return the verdict: what an iteration costs, and that next to nothing of it is arithmetic."""
    found = {p["target"]: p for p in pieces if p["operation"] == MODES_OF and p["seconds"] is not None}
    share = max((p["arithmetic_s"] / p["seconds"] for p in found.values() if p["arithmetic_s"]), default=math.inf)
    ranked = sorted(found.values(), key=lambda piece: piece["seconds"])
    whole = set(found) == set(targets) == set(TARGETS) and all(p["low"] is not None for p in ranked)
    calls = [f"{p['target']} {seconds(p['seconds'])}" for p in pieces if p["operation"] == "smallest call"]
    costs = [f"{p['target']} {seconds(p['seconds'])}" for p in ranked]
    return {
        "passed": whole and share <= LIMIT,
        "goal": f"at most {LIMIT:.0%} of any iteration of 'tiny' is arithmetic, so that the rest is the framework's",
        "measured": f"at most {share:.1%} is arithmetic; an iteration takes {', '.join(costs) or 'nothing measured'}; "
        f"the smallest call {', '.join(calls)}",
        "share": None if math.isinf(share) else share,
    }


def written(text: str, path: Path) -> str:
    """Return a document with its table as the file now is."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table(path) + END + rest.partition(END)[2]


def table(path: Path) -> str:
    """Return Markdown of what was measured, or that nothing has been."""
    if not path.exists():
        return "Not run yet.\n"
    head, *pieces, verdict = read_lines(path)
    baseline = next(piece["baseline"] for piece in pieces if "baseline" in piece)
    rows = ["| " + " | ".join(cells) + " |" for cells in map(_cells, pieces)]
    top = [f"| operation | target | time | speed against `{baseline}` |", "|---|---|---|---|"]
    where = f"`{head['machine']}`, {head['date'][:10]}, {head['settings']['rounds']} rounds: {verdict['measured']}."
    return "\n".join([where, "", *top, *rows]) + "\n"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


if __name__ == "__main__":
    main()
