"""Where does an iteration of ``torch.manual`` go, kernel by kernel?

torch.profiler watches ``gan_iteration`` of ``mnist-mlp`` in float32 from the staged state. Watching costs each call
of a kernel some microseconds, so shares are what counts, not the sum.

Seconds on 2 cores: ``python benchmarks/studies/kernels.py``
"""

import os
import time
from collections import defaultdict

from study import Study, options

from ganbench.data import load_images, staged_images
from ganbench.gan import preset as find_preset
from ganbench.measure.environment import usable_cpus
from ganbench.operations import operation as make_operation

TARGET = "manual"
ITERATIONS = 200
EXPLAINED = 0.95
PRODUCTS = ("aten::mm", "aten::addmm")


def main() -> None:
    chosen = options("kernels", __doc__).parse_args()
    preset, iterations = ("tiny", 4) if chosen.short else ("mnist-mlp", ITERATIONS)
    study = Study(chosen, target=f"torch.{TARGET}", preset=preset, iterations=iterations)
    for piece in profiled(preset, iterations):
        study.add(piece)
        print(f"{piece['kernel']:32} {piece['calls']:5.1f} calls {piece['us']:8.1f} µs  {piece['share']:6.1%}")
    study.conclude(judge(study.pieces))


def profiled(preset: str, iterations: int) -> list[dict]:
    """Return each kernel's own microseconds and calls per iteration, the slowest first."""
    os.environ.setdefault("OMP_NUM_THREADS", str(len(usable_cpus())))
    from ganbench.backends.torch_backend import TorchBackend
    from torch.profiler import ProfilerActivity, profile

    spec = find_preset(preset)
    operation = make_operation("gan_iteration", spec)
    inputs = operation.inputs(0, "float32", staged_images(load_images(spec, None), spec, 0))
    program = TorchBackend(TARGET).prepare(operation, inputs)
    for _ in range(iterations):
        program()
    program.reset()
    start = time.perf_counter()
    for _ in range(iterations):
        program()
    bare_us = (time.perf_counter() - start) / iterations * 1e6
    program.reset()
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        for _ in range(iterations):
            program()
    own: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for event in watched.key_averages():
        own[event.key][0] += event.self_cpu_time_total / iterations
        own[event.key][1] += event.count / iterations
    total = sum(us for us, _ in own.values())
    kernels = sorted(own.items(), key=lambda item: -item[1][0])
    return [
        {"kernel": name, "us": us, "calls": calls, "share": us / total, "bare_us": bare_us}
        for name, (us, calls) in kernels
        if us / total >= 0.002
    ]


def judge(pieces: list[dict]) -> dict:
    """Return how much of an iteration are matrix products, and what the rest is."""
    products = sum(piece["share"] for piece in pieces if piece["kernel"] in PRODUCTS)
    rest = [piece for piece in pieces if piece["kernel"] not in PRODUCTS]
    said = ", ".join(f"{piece['kernel'].removeprefix('aten::')} {piece['share']:.1%}" for piece in rest[:6])
    return {
        "passed": sum(piece["share"] for piece in pieces) > EXPLAINED,
        "goal": f"to name the kernels of {EXPLAINED:.0%} of an iteration",
        "measured": f"matrix products with their biases {products:.1%}, {said}; "
        f"{pieces[0]['bare_us'] if pieces else 0:.0f} µs an iteration unwatched",
        "products": products,
    }


if __name__ == "__main__":
    main()
