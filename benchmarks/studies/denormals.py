"""What denormals cost in a long training, and what each framework can do about them.

Units that die leave Adam's moments to decay, by 0.9 in every iteration, until they are denormal numbers,
on which some processors compute many times slower. This trains ``mnist-mlp`` for some thousand iterations on
each target, in a process of its own, with and without a remedy, and writes the time of every hundred. Then it
times ``adam_step`` alone, with all moments normal and with all of them denormal: the worst that can happen.

Run it from the repository's root: ``python benchmarks/studies/denormals.py`` (about three minutes, or with
``--short`` half a minute, which shows that it runs and nothing else).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np

from ganbench import __version__, registry
from ganbench.data import load_images, staged_images
from ganbench.gan import STAGED_BATCHES, preset
from ganbench.machine.environment import machine_name, usable_cpus
from ganbench.measure.process import child_environment
from ganbench.operations.networks import AdamStep, GANIteration, initial_state
from ganbench.training.batches import stream

CLEARING = "moments below 1e-30 set to 0, every 100 iterations"
FLUSHING = "torch.set_flush_denormal(True)"
RUNS = (
    ("numpy", ""),
    ("numpy", CLEARING),
    ("torch.textbook", ""),
    ("torch.textbook", FLUSHING),
    ("torch", ""),
    ("torch", FLUSHING),
    ("jax", ""),
)
BLOCK = 100  # iterations to a row; their median, because a machine may have other work
ITERATIONS, SHORT = 2400, 200  # the first denormals appear after some 800
TINY = np.finfo(np.float32).tiny
MOMENTS = {"normal": 1e-10, "denormal": 1e-40}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help=f"{SHORT} iterations instead of {ITERATIONS}")
    parser.add_argument("--threads", type=int, default=1)  # beside other work, two would wait for each other
    parser.add_argument("--output", type=Path, default=Path("results/studies/denormals.jsonl"))
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)  # the number of one of RUNS, in its own process
    options = parser.parse_args()
    if options.run is not None:
        target, remedy = RUNS[options.run]
        for row in measure(target, remedy, SHORT if options.short else ITERATIONS, options.threads):
            print(json.dumps(row), flush=True)
        return
    options.output.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": machine_name(),
        "threads": options.threads,
        "preset": "mnist-mlp",
        "dtype": "float32",
        "data": "UCI handwritten digits",
    }
    with options.output.open("w") as file, tempfile.TemporaryDirectory() as cache:
        for number in range(len(RUNS)):
            rows = in_a_process_of_its_own(number, options, cache)
            file.writelines(json.dumps({**about, **row}) + "\n" for row in rows)
            file.flush()
            print(summary(rows), flush=True)
    print(f"written to {options.output}")


def in_a_process_of_its_own(number: int, options: argparse.Namespace, cache: str) -> list[dict]:
    """Return the rows of one run; its environment must be set before its framework is imported."""
    target = registry.parse_target(RUNS[number][0])
    extra = registry.load(target.backend).environment(target.device, "float32", "ieee", cache)
    done = subprocess.run(
        [sys.executable, __file__, "--run", str(number), "--threads", str(options.threads),
         *(["--short"] if options.short else [])],
        env=child_environment(extra, options.threads), stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def measure(label: str, remedy: str, iterations: int, threads: int) -> list[dict]:
    """Train, and return a row for every ``BLOCK`` iterations."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, usable_cpus()[:threads])
    if remedy == FLUSHING:
        import torch

        torch.set_flush_denormal(True)  # before torch starts its threads: they inherit the setting
    target = registry.parse_target(label)
    backend = registry.load(target.backend)(target.mode, target.device)
    spec = preset("mnist-mlp")
    case, data = GANIteration(spec), load_images(spec, None)
    program = backend.prepare(case, case.inputs(0, "float32", staged_images(data, spec, 0)))
    program()  # compiled, and allocated
    batches = stream(data.astype(np.float32), spec, seed=0, step=0)
    program.feed(list(islice(batches, STAGED_BATCHES)), initial_state(np.random.default_rng(0), spec, "float32"))
    rows, ready = [], STAGED_BATCHES
    for end in range(BLOCK, iterations + 1, BLOCK):
        seconds = []
        for _ in range(BLOCK):
            if not ready:  # feeding is not what is asked about
                program.feed(list(islice(batches, STAGED_BATCHES)))
                ready = STAGED_BATCHES
            start = time.perf_counter()
            program()
            backend.synchronize(program.result)
            seconds.append(time.perf_counter() - start)
            ready -= 1
        rows.append(
            {
                "target": label,
                "remedy": remedy,
                "iteration": end,
                "seconds_per_iteration": statistics.median(seconds),
                "denormals": count_denormals(case, program),
            }
        )
        if remedy == CLEARING:
            clear_tiny_moments(program)
    for kind, value in MOMENTS.items() if remedy != CLEARING else ():  # which leaves none to time
        seconds = adam_alone(backend, spec, value)
        rows.append({"target": label, "remedy": remedy, "adam_step": kind, "seconds_per_iteration": seconds})
    return rows


def adam_alone(backend, spec, value: float) -> float:
    """Return the median time of a step on the generator, all of whose moments are ``value``."""
    case = AdamStep.of(spec)
    inputs = case.inputs(0, "float32", np.empty(0))
    grads, filled = (
        [make(p) for p in inputs.state.params] for make in (np.zeros_like, lambda p: np.full_like(p, value))
    )
    state = inputs.state._replace(m=filled, v=filled, step=np.int32(1000))
    program = backend.prepare(case, inputs._replace(fixed=(grads,), state=state))
    seconds = []
    for _ in range(30):
        program.reset()
        backend.synchronize(program.result)
        start = time.perf_counter()
        program()
        backend.synchronize(program.result)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def count_denormals(case: GANIteration, program) -> int:
    """Return how many of Adam's moments are denormal now."""
    moments = [
        array
        for array, output in zip(program.outputs(), case.outputs(), strict=True)
        if output.group.endswith((" m", " v"))
    ]
    return sum(int(((array != 0) & (abs(array) < TINY)).sum()) for array in moments)


def clear_tiny_moments(program) -> None:
    """Set to zero, in place, the moments that can no longer change a float32 weight."""
    for network in program.result[0][:2]:
        for moment in (*network.m, *network.v):
            moment[abs(moment) < 1e-30] = 0


def summary(rows: list[dict]) -> str:
    """Return one line: the beginning, the end, and how many moments were denormal."""
    adam = {row["adam_step"]: 1e6 * row["seconds_per_iteration"] for row in rows if "adam_step" in row}
    rows = [row for row in rows if "iteration" in row]
    times = [row["seconds_per_iteration"] for row in rows]
    part = max(1, len(times) // 6)
    first, last = statistics.median(times[:part]), statistics.median(times[-part:])
    most = max(row["denormals"] for row in rows)
    name = rows[0]["target"] + (f" with {rows[0]['remedy']}" if rows[0]["remedy"] else "")
    line = f"{name}: {1e3 * first:.2f} -> {1e3 * last:.2f} ms ({last / first:.2f}), up to {most:,} denormal moments"
    return line + (f"; adam_step alone {adam['normal']:.0f} -> {adam['denormal']:.0f} µs" if adam else "")


if __name__ == "__main__":
    main()
