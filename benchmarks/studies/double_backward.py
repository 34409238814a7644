"""What does the second derivative cost, by autograd and by hand?

``penalty_grad``, the gradient of the gradient penalty for D's parameters, and ``gan_iteration`` of ``mnist-wgan-gp`` in
every mode, in one interleaved run. PyTorch's own way is ``create_graph=True`` (`torch`, `torch.textbook`), JAX's is
``grad`` of ``grad``; by hand are `torch.manual`, `torch.compile`, `numpy`, and `jax_by_hand`, which only this study
has. Last, whether ``torch.compile`` takes ``create_graph=True``, in three ways.

Ten minutes: ``python benchmarks/studies/double_backward.py``
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from study import Study, options, use_plugin

import ganbench
from ganbench.gan import LEAKY_SLOPE, preset

PRESET = "mnist-wgan-gp"
TARGETS = (
    "torch.textbook", "torch", "torch.manual", "torch.compile", "jax", "jax.scan", "jax_by_hand", "numpy",
    "numpy.inplace",
)  # fmt: skip
OPERATIONS = ("penalty_grad", "gan_iteration")
BY_HAND = {"torch.manual": "torch", "torch.compile": "torch", "jax_by_hand": "jax"}  # and autograd's
FASTER, OF_FLOOR = 1.8, 65


def main() -> None:
    parser = options("double_backward", __doc__)
    parser.add_argument("--rounds", type=int, default=8)
    chosen = parser.parse_args()
    use_plugin()
    targets, rounds = (("torch.textbook", "torch", "numpy.inplace"), 1) if chosen.short else (TARGETS, chosen.rounds)
    study = Study(chosen, preset=PRESET, targets=targets, operations=OPERATIONS, rounds=rounds)
    comparison = ganbench.compare(
        targets,
        preset=PRESET,
        ops=OPERATIONS,
        rounds=rounds,
        timeout_s=600.0,
        results=None if chosen.short else "results",
        progress=lambda share, doing: print(f"{share:4.0%} {doing}", file=sys.stderr),
    )
    for piece in pieces_of(comparison):
        study.add(piece)
    for piece in compiled():
        study.add(piece)
    run = comparison.path and comparison.path.name
    study.conclude(judge(study.pieces, targets) | {"run": run})


def pieces_of(comparison: ganbench.Comparison) -> Iterator[dict]:
    """Yield what each target takes for each operation."""
    for row in comparison.to_pandas().to_dict("records"):
        numbers = ("median_s", "ci_low_s", "ci_high_s", "ratio", "ratio_low", "ratio_high", "percent_of_floor")
        words = {name: row[name] for name in ("operation", "target", "status", "reason")}
        yield words | {name: None if math.isnan(row[name]) else row[name] for name in numbers}


def compiled() -> Iterator[dict]:
    """Yield what ``torch.compile`` does with a penalty that is written with ``create_graph=True``, in three ways."""
    import torch

    spec = preset(PRESET)
    torch.manual_seed(0)
    leaves = [torch.randn(128, 784) / 28, torch.randn(128), torch.randn(1, 128) / 11]
    leaves, rows = [leaf.requires_grad_() for leaf in leaves], torch.rand(spec.batch, spec.img_dim)

    def judge(rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.leaky_relu(rows @ leaves[0].T + leaves[1], LEAKY_SLOPE) @ leaves[2].T

    def penalty(rows: torch.Tensor, judge: Callable[[torch.Tensor], torch.Tensor] = judge) -> torch.Tensor:
        rows = rows.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(judge(rows).sum(), rows, create_graph=True)
        return ((slopes.norm(2, dim=1) - 1) ** 2).mean()

    def gradient(penalty: Callable[[torch.Tensor], torch.Tensor]) -> Sequence[torch.Tensor]:
        return torch.autograd.grad(penalty(rows), leaves, materialize_grads=True)

    tries = {
        "the penalty compiled": lambda: gradient(torch.compile(penalty, fullgraph=True)),
        "the critic compiled": lambda: gradient(partial(penalty, judge=torch.compile(judge))),
        "both gradients compiled, trace_autograd_ops on": torch.compile(partial(gradient, penalty), fullgraph=True),
    }
    for name, attempt in tries.items():
        torch._dynamo.reset()
        with torch._dynamo.config.patch(trace_autograd_ops="trace" in name):
            yield {"operation": name, "target": "torch"} | outcome(attempt, gradient(penalty))


def outcome(attempt: Callable[[], Sequence[Any]], wanted: Sequence[Any]) -> dict:
    """Return whether gradients are refused, right or wrong, and why or by how much."""
    try:
        found = attempt()
    except Exception as error:  # whatever it raises is the finding
        return {"status": "refused", "reason": " ".join(str(error).split())[:300]}
    error = max(float((a - b).norm() / (b.norm() or 1)) for a, b in zip(found, wanted, strict=True))
    return {"status": "right" if error < 1e-4 else "wrong", "reason": f"off by {error:.2g}"}


def judge(pieces: list[dict], targets: tuple[str, ...] = TARGETS) -> dict:
    """Return the verdict: what writing the gradient by hand gains, and how near the floor the best comes."""
    seconds = {(p["operation"], p["target"]): p["median_s"] for p in pieces if p.get("median_s")}
    floor = {p["target"]: p["percent_of_floor"] for p in pieces if p.get("percent_of_floor")}
    iterations = {target: s for (operation, target), s in seconds.items() if operation == "gan_iteration"}
    gains = [
        f"{hand} {seconds['penalty_grad', auto] / seconds['penalty_grad', hand]:.2f}"
        for hand, auto in BY_HAND.items()
        if {("penalty_grad", hand), ("penalty_grad", auto)} <= seconds.keys()
    ]
    ours = [
        iterations["torch.textbook"] / s for t, s in iterations.items() if t.startswith("torch.") and "book" not in t
    ]
    best, nearest = max(ours, default=math.nan), max(floor.values(), default=math.nan)
    said = ", ".join(f"{p['operation']}: {p['status']}" for p in pieces if "compiled" in p["operation"])
    return {
        "passed": len(seconds) == len(targets) * len(OPERATIONS) == len(TARGETS) * len(OPERATIONS)
        and best >= FASTER
        and nearest >= OF_FLOOR,
        "goal": f"every mode passes the gate; the best of PyTorch is {FASTER} times its textbook, and the best of all "
        f"reaches {OF_FLOOR} % of the floor of an iteration",
        "measured": f"penalty_grad by hand against autograd: {', '.join(gains) or 'nothing'}; an iteration: the "
        f"best of PyTorch {_number(best)} times its textbook, at best {_number(nearest)} % of the floor; "
        f"create_graph under torch.compile: {said or 'not tried'}",
        "best_torch": None if math.isnan(best) else best,
        "percent_of_floor": None if math.isnan(nearest) else nearest,
    }


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3g}"


if __name__ == "__main__":
    main()
