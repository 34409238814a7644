"""Where does an iteration go, kernel by kernel: ``torch.manual``, ``jax``, ``jax.scan`` and ``numpy.inplace``?

``gan_iteration`` of ``mnist-mlp`` in float32 from the staged state, each mode in a process of its own, watched by
what its library has for that: torch.profiler, jax.profiler (XLA's thunks, two of which may run at once), and for
NumPy a clock around each kernel. Watching costs each call some microseconds, so shares are what counts, not the sum.
Before that, unwatched: time, CPU time, and how often a thread had to leave its processor to another.

Half a minute on 2 cores: ``python benchmarks/studies/kernels.py``
"""

import os
import re
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

from study import Study, options

from ganbench import registry
from ganbench.backend import Program
from ganbench.data import load_images, staged_images
from ganbench.gan import preset as find_preset
from ganbench.machine.environment import usable_cpus
from ganbench.operations import operation as make_operation

ITERATIONS = 200
EXPLAINED = 0.95
PRODUCTS = ("aten::mm", "aten::addmm", "dot_general", "dot", "product", "dense")
Own = dict[str, list[float]]  # seconds spent in a kernel itself, and how often it was called


def main() -> None:
    chosen = options("kernels", __doc__).parse_args()
    preset, iterations = ("tiny", 8) if chosen.short else ("mnist-mlp", ITERATIONS)
    study = Study(chosen, targets=list(WATCHERS), preset=preset, iterations=iterations)
    for target in WATCHERS:
        with get_context("spawn").Pool(1) as process:
            pieces = process.apply(profiled, (target, preset, iterations))
        print(
            "{target}: {bare_us:.0f} µs an iteration unwatched, {cpu_us:.0f} µs of CPU time, "
            "{preempted:.1f} involuntary switches".format(**pieces[0])
        )
        for piece in pieces:
            study.add(piece)
            print(f"  {piece['kernel']:32} {piece['calls']:5.1f} calls {piece['us']:8.1f} µs  {piece['share']:6.1%}")
    study.conclude(judge(study.pieces))


def profiled(target: str, preset: str, iterations: int) -> list[dict]:
    """Return each kernel's own microseconds and calls per iteration, the slowest first."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("OMP_NUM_THREADS", str(len(usable_cpus())))
        given = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{given} --xla_dump_to={folder}"  # the compiled program names what a thunk does
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # from a cache, nothing is compiled and nothing dumped
        name, _, mode = target.partition(".")
        spec = find_preset(preset)
        operation = make_operation("gan_iteration", spec)
        inputs = operation.inputs(0, "float32", staged_images(load_images(spec, None), spec, 0))
        backend = registry.load(name)(mode)
        program = backend.prepare(operation, inputs)
        calls = max(1, iterations // program.iterations)

        def run() -> float:
            program.reset()
            backend.synchronize(program.result)
            start = time.perf_counter()
            for _ in range(calls):
                program()
            backend.synchronize(program.result)
            return (time.perf_counter() - start) / (calls * program.iterations)

        run()
        before = resource.getrusage(resource.RUSAGE_SELF)
        bare_s = run()
        after = resource.getrusage(resource.RUSAGE_SELF)
        own = WATCHERS[target](program, run, Path(folder))
    total = sum(seconds for seconds, _ in own.values())
    per_iteration = 1 / (calls * program.iterations)
    unwatched = {
        "bare_us": bare_s * 1e6,
        "cpu_us": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * per_iteration * 1e6,
        "preempted": (after.ru_nivcsw - before.ru_nivcsw) * per_iteration,
    }
    return [
        {
            "target": target,
            "kernel": kernel,
            "us": seconds * per_iteration * 1e6,
            "calls": count * per_iteration,
            "share": seconds / total,
            **unwatched,
        }
        for kernel, (seconds, count) in sorted(own.items(), key=lambda item: -item[1][0])
        if seconds / total >= 0.002
    ]


def watch_torch(program: Program, run: Callable[[], float], folder: Path) -> Own:
    """Return what torch.profiler sees."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as watched:
        run()
    return {event.key: [event.self_cpu_time_total / 1e6, event.count] for event in watched.key_averages()}


def watch_jax(program: Program, run: Callable[[], float], folder: Path) -> Own:
    """Return XLA's thunks, those of one JAX primitive together."""
    import jax

    with jax.profiler.trace(str(folder)):
        run()
    primitives = dict(compiled(max(folder.glob("*cpu_after_optimizations.txt"), key=lambda path: path.stat().st_size)))
    own: Own = defaultdict(lambda: [0.0, 0])
    (trace,) = folder.rglob("*.xplane.pb")
    for plane in jax.profiler.ProfileData.from_file(str(trace)).planes:
        for event in (event for line in plane.lines for event in line.events if event.name in primitives):
            own[primitives[event.name]][0] += event.duration_ns / 1e9
            own[primitives[event.name]][1] += 1
    return own


def compiled(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a compiled module that computes, and the primitive it ends in."""
    for line in path.read_text().splitlines():
        found = re.match(r"\s+(?:ROOT )?%([\w.-]+) = \S+ (fusion|dot|copy|reduce)\(", line)
        if found:
            named = re.search(r'op_name="[^"]*?(\w+)"', line)
            yield found[1], found[2] if found[2] == "copy" or not named else named[1]


def watch_numpy(program: Program, run: Callable[[], float], folder: Path) -> Own:
    """Return the time of each kernel without that of kernels it calls."""
    kernels = program.iteration.kernels  # type: ignore[attr-defined]
    own: Own = defaultdict(lambda: [0.0, 0])
    inner = [0.0]  # seconds of the kernels called from the one that runs

    def clocked(name: str, kernel: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            inner.append(0.0)
            start = time.perf_counter()
            kernel(*arguments)
            seconds = time.perf_counter() - start
            own[name][0] += seconds - inner.pop()
            own[name][1] += 1
            inner[-1] += seconds

        return call

    for name in ("product", "dense", "activate", "through", "column_sums", "judge", "adam", "begin_step"):
        setattr(kernels, name, clocked(name, getattr(kernels, name)))
    run()
    return own


WATCHERS: dict[str, Callable[[Program, Callable[[], float], Path], Own]] = {
    "torch.manual": watch_torch,
    "jax": watch_jax,
    "jax.scan": watch_jax,
    "numpy.inplace": watch_numpy,
}


def judge(pieces: list[dict]) -> dict:
    """Return how much of an iteration are matrix products, and what the rest is."""
    said, products, seen = [], {}, {}
    for target in dict.fromkeys(piece["target"] for piece in pieces):
        own = [piece for piece in pieces if piece["target"] == target]
        products[target] = sum(piece["share"] for piece in own if piece["kernel"] in PRODUCTS)
        seen[target] = sum(piece["us"] for piece in own) / own[0]["bare_us"]
        rest = [piece for piece in own if piece["kernel"] not in PRODUCTS]
        most = ", ".join(f"{piece['kernel'].removeprefix('aten::')} {piece['share']:.1%}" for piece in rest[:4])
        said.append(f"{target} {products[target]:.1%} products, {most}")
    return {
        "passed": min(seen.values(), default=0.0) > EXPLAINED,
        "goal": f"kernels that take {EXPLAINED:.0%} of an unwatched iteration are seen in each mode",
        "measured": "; ".join(said),
        "products": products,
        "seen": seen,
    }


if __name__ == "__main__":
    main()
