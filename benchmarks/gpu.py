"""One act for whoever has a card: GPU tests, every mode in every precision on CUDA, the asv suite's GPU cases.

``make gpu``, or ``python benchmarks/gpu.py`` from the repository's root, with whatever PyTorch, JAX and CuPy this
Python has; nothing is installed. A framework in another Python is used there: ``--python jax=/opt/jax/bin/python``, or
``make gpu PYTHONS="jax=/opt/jax/bin/python"``. Under ten minutes: every step has its share, and what others leave.
What is finished stays finished: run it again to go on where time ran out. Results go where they always go, below
``my-results/<machine>/``; logs and the list of steps to ``gpu/`` there.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

RESULTS = Path("my-results")
# Precisions that `ganbench compare` knows, as its options. One more is one more line.
PRECISIONS = {
    "float32": ("--dtype", "float32", "--energy"),
    "tf32": ("--dtype", "float32", "--math", "tf32"),
    "bfloat16": ("--dtype", "bfloat16"),
    "float16": ("--dtype", "float16"),
}
ROUNDS = "6"  # one more than decides anything
SECONDS = {"tests": 110, "float32": 180, "asv": 90}  # 590 in all
OTHER_PRECISION = 70
FRAMEWORKS = ("torch", "jax", "cupy")
NEEDED = ("click", "msgspec", "numpy", "pandas", "psutil", "rich", "threadpoolctl")
TESTS = ("tests/test_gpu.py", "tests/test_backends.py")  # the longest last
# Without conftest.py, which needs what developers have; no warning fails; with a plug-in that keeps what is done.
PYTEST = ("-m", "pytest", "-q", "--noconftest", "-o", "filterwarnings=", "-p", "gpu_tests", "-m", "gpu")
SUPPORT = Path(__file__).resolve().parents[1] / "tests" / "support"
NO_TESTS, CUT = 5, 124  # exit codes
WORSE = ("skipped", "done", "cut", "failed")
TIMED = r"±\S+s\b"  # a time as asv prints it
MOST_SAID = 900_000  # bytes of a log that are kept, so that every file can be sent
GRACE = 15  # seconds in which an interrupted step may write down what it has


class Step(NamedTuple):
    """One part of the act; ``run`` gets the seconds it may take and returns how it ended."""

    name: str
    seconds: float
    run: Callable[[float], "Outcome"]


class Outcome(NamedTuple):
    """``done``, ``failed``, ``skipped`` or ``cut`` (out of time), and why."""

    status: str
    reason: str = ""


class Record:
    """The steps that were finished, one line each in a file of the machine; lines of other code do not count."""

    def __init__(self, folder: Path, code: str) -> None:
        self.path, self.code = folder / "steps.jsonl", code  # not .json: asv would take that for its own

    def done(self) -> set[str]:
        """Return the names of the steps that need not be run again."""
        return {line["step"] for line in self._lines() if line["status"] == "done" and line["code"] == self.code}

    def began(self, step: str) -> str | None:
        """Return when the last start of an unfinished step was, as run ids are written; None without one."""
        lines = [line for line in self._lines() if line["step"] == step and line["code"] == self.code]
        started = [line["at"] for line in lines if line["status"] == "started"]
        return started[-1] if started and lines[-1]["status"] in ("started", "cut") else None

    def add(self, step: str, status: str, reason: str = "", seconds: float = 0.0) -> None:
        """Append one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = {"step": step, "status": status, "reason": reason, "seconds": round(seconds), "at": _now()}
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")  # by a kill in mid-write
        with self.path.open("a") as file:
            file.write("\n" * torn + json.dumps(line | {"code": self.code}) + "\n")

    def _lines(self) -> list[dict]:
        lines = []
        for text in self.path.read_text().splitlines() if self.path.exists() else ():
            with contextlib.suppress(ValueError):  # a torn line says nothing
                lines.append(json.loads(text))
        return lines


def act(steps: Sequence[Step], record: Record, clock: Callable[[], float] = time.monotonic) -> int:
    """Run what is not done yet and print a summary; return 0 where every step is done or skipped, else 1."""
    began, limit, done = clock(), sum(step.seconds for step in steps), record.done()
    outcomes: list[tuple[str, Outcome, float]] = []
    for place, step in enumerate(steps):
        if step.name in done:
            outcomes.append((step.name, Outcome("done", "before"), 0.0))
            continue
        start, later = clock(), sum(other.seconds for other in steps[place + 1 :] if other.name not in done)
        allowed = limit - later - (start - began)
        print(f"[{start - began:4.0f} s] {step.name}, at most {allowed:.0f} s", flush=True)
        if record.began(step.name) is None:
            record.add(step.name, "started")
        outcome = step.run(allowed)
        record.add(step.name, *outcome, seconds=clock() - start)
        outcomes.append((step.name, outcome, clock() - start))
    print("\nsummary")
    for name, outcome, seconds in outcomes:
        print(f"  {name:<10} {outcome.status:<8} {seconds:4.0f} s  {outcome.reason}".rstrip())
    if any(outcome.status == "cut" for _, outcome, _ in outcomes):
        print("out of time: run it again to go on from here")
    return int(any(outcome.status in ("failed", "cut") for _, outcome, _ in outcomes))


def command(log: Path, seconds: float, arguments: Sequence[str], environment: dict[str, str] | None = None) -> int:
    """Run a command with its output in ``log``; return its exit code, or ``CUT`` where it was stopped for its time."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"\n$ {' '.join(arguments)}\n")
        file.flush()
        process = subprocess.Popen(
            arguments, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        try:
            return process.wait(max(1.0, seconds))
        except subprocess.TimeoutExpired:
            return CUT
        finally:
            if process.poll() is None:
                _stop(process)
            said = log.read_bytes()
            if len(said) > MOST_SAID:  # its beginning and its end are left
                log.write_bytes(said[: MOST_SAID // 2] + b"\n[...]\n" + said[-MOST_SAID // 2 :])


def _stop(process: subprocess.Popen) -> None:
    """Interrupt a command as Ctrl-C does, so that what is measured is kept; kill it where it does not end."""
    for how in (signal.SIGINT, signal.SIGKILL):
        os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return


def outcome_of(code: int, log: Path) -> Outcome:
    """Return what an exit code means, with the last words of a step that failed."""
    if code == CUT:
        return Outcome("cut", f"see {log}")
    said = log.read_text(errors="replace").strip().splitlines()[-1]
    return Outcome("done") if code == 0 else Outcome("failed", f"{said} (exit code {code}, see {log})")


def all_steps(folder: Path, record: Record, targets: Sequence[str], words: Sequence[str] = ()) -> Iterator[Step]:
    """Yield every step, in order of importance; ``words`` are the options of ``ganbench`` that all share."""
    yield Step("tests", SECONDS["tests"], partial(tests, folder / "tests.log", record.code, targets, words))
    for name in PRECISIONS:
        yield Step(name, SECONDS.get(name, OTHER_PRECISION), partial(compared, name, folder, record, targets, words))
    yield Step("asv", SECONDS["asv"], partial(suite, folder / "asv.log"))


def tests(log: Path, code: str, targets: Sequence[str], words: Sequence[str], seconds: float) -> Outcome:
    """Run the tests that need a GPU, in the environment that a worker would have; each framework that is there."""
    from ganbench import registry
    from ganbench.launch import program

    began, ended = time.monotonic(), []
    known = registry.parse_targets(targets, pythons=registry.parse_pythons(words[1::2]))
    names = dict.fromkeys(target.backend for target in known)
    for place, name in enumerate(names):  # in a process each: they disturb one another's libraries
        share = (seconds - (time.monotonic() - began)) / (len(names) - place)
        target, *_ = mine = [one for one in known if one.backend == name]
        python = program(target.python) or sys.executable
        tested = subprocess.run([python, "-c", "import pytest"], capture_output=True).returncode == 0  # else verified
        asked = ["--backends", ",".join(map(str, mine)), "--ops", "all", "--preset", "tiny", *words]
        arguments = [sys.executable, "-m", "ganbench.cli", "verify", *asked]
        with tempfile.TemporaryDirectory(prefix="ganbench-") as cache:
            environment = {}
            if tested:
                kept = {"GPU_TESTS_DONE": str(log.with_suffix(".jsonl").absolute()), "GPU_TESTS_CODE": code}
                path = os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))
                environment = registry.environment(target, "float64", "ieee", cache) | kept
                environment |= {"GPU_TESTS_SECONDS": str(share - GRACE), "PYTHONPATH": path}
                arguments = [python, *PYTEST, "-k", name, *TESTS]
            done = command(log, share, arguments, environment)
        if done != NO_TESTS or not tested:
            ended.append(outcome_of(done, log))
    return max(ended, key=lambda outcome: WORSE.index(outcome.status), default=Outcome("skipped", "no test applies"))


def compared(
    name: str, folder: Path, record: Record, targets: Sequence[str], words: Sequence[str], seconds: float
) -> Outcome:
    """Compare every target in one precision, or go on with the run that was cut."""
    log, base = folder / f"{name}.log", [sys.executable, "-m", "ganbench.cli", "compare"]
    asked = ["--backends", ",".join(targets), "--ops", "gan_iteration", "--rounds", ROUNDS, *PRECISIONS[name]]
    asked += [*words, "--results", str(RESULTS)]
    began, since = time.monotonic(), record.began(name)
    if since is not None and (run := interrupted(RESULTS, since, ["compare", *asked])) is not None:
        code = command(log, seconds, [*base, "--resume", str(run)])
        if code != 2:  # else it has ended, or something differs that must not be pooled
            return outcome_of(code, log)
    return outcome_of(command(log, seconds - (time.monotonic() - began), [*base, *asked]), log)


def interrupted(results: Path, since: str, asked: Sequence[str]) -> Path | None:
    """Return the newest run since then of exactly this command that wrote no end; None where there is none."""
    from ganbench.errors import StorageError
    from ganbench.measure.session import shareable
    from ganbench.results.records import RunEnd, RunHeader
    from ganbench.results.store import read_run

    for path in sorted(results.glob("*/compare/*.jsonl"), key=lambda path: path.stem, reverse=True):
        if path.stem < since:
            break
        try:
            head, *rest = read_run(path)
        except StorageError:
            continue
        ours = isinstance(head, RunHeader) and head.command[1:] == [*map(shareable, asked)]
        if ours and not any(isinstance(line, RunEnd) for line in rest):
            return path
    return None


def suite(log: Path, seconds: float) -> Outcome:
    """Run the cases of the quick asv suite that need a GPU, in float32; asv keeps nothing of a run that is cut."""
    if importlib.util.find_spec("asv") is None:
        return Outcome("skipped", f"needs {_pip(['asv>=0.6.6,<0.7', 'asv_runner>=0.3.2,<0.4'])}")
    cases = r"'(\w+(\.\w+)?@cuda|cupy)', 'float32'"
    outcome = outcome_of(command(log, seconds, [sys.executable, "-m", "asv", "run", "-b", cases]), log)
    said = log.read_text(errors="replace").rpartition("\n$ ")[2]
    if outcome.status == "done" and not re.search(TIMED, said):
        return Outcome("failed", f"no case was timed, see {log}")
    return outcome


def obstacle(said: Sequence[str] = ()) -> str:
    """Return why nothing can be measured here, and what to do about it; '' if all is well."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        return f"{sys.executable} lacks {', '.join(missing)}: {_pip(missing)}"
    try:
        importlib.metadata.distribution("ganbench")
    except importlib.metadata.PackageNotFoundError:
        return f"ganbench is not installed in {sys.executable}: {sys.executable} -m pip install --no-deps -e ."
    from ganbench import gpus, registry
    from ganbench.errors import GanbenchError

    try:
        pythons = registry.parse_pythons(said)
        targets = gpu_targets(*pythons.items())  # first: it forgets what plug-ins said before
        probes = {name: registry.about(name, pythons.get(name, "")).probe for name in FRAMEWORKS}
    except GanbenchError as error:  # another Python that cannot be
        return str(error)
    if not gpus.count():
        return "no NVIDIA GPU found: neither its driver's /proc/driver/nvidia nor pynvml (nvidia-ml-py) shows one"
    if not targets:
        return "; ".join(f"{name}: {probe.reasons.get('cuda', '')}, {probe.install}" for name, probe in probes.items())
    return gpus.one_process("cuda")


@cache  # a plug-in is asked in a process of its own
def gpu_targets(*pythons: tuple[str, str]) -> list[str]:
    """Return every mode of the frameworks that can use the GPU, PyTorch's default, the baseline, first."""
    from ganbench import registry

    found = [registry.parse_target(label) for label in registry.available(dict(pythons))]
    return sorted((one.label for one in found if one.device != "cpu"), key=lambda label: label != "torch@cuda")


def code_state(pythons: Mapping[str, str]) -> str:
    """Return what a finished step depends on: commit, changes, and the versions of the frameworks."""
    from ganbench import registry
    from ganbench.machine import environment

    versions = [registry.version(name, pythons.get(f"{name}@cuda") or pythons.get(name, "")) for name in FRAMEWORKS]
    return " ".join([str(environment.source_state()[0]), environment.source_changes(), *versions])


def _pip(packages: Sequence[str]) -> str:
    return f"{sys.executable} -m pip install {' '.join(map(repr, packages))}"


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", default=[], metavar="FRAMEWORK=PYTHON", help="where one is")
    said = parser.parse_args().python
    if reason := obstacle(said):
        print(f"cannot measure a GPU here: {reason}", file=sys.stderr)
        sys.exit(2)
    from ganbench.machine.environment import machine_name
    from ganbench.registry import parse_pythons

    pythons, folder = parse_pythons(said), RESULTS / machine_name() / "gpu"
    words = [word for pair in pythons.items() for word in ("--python", "=".join(pair))]
    record, targets = Record(folder, code_state(pythons)), gpu_targets(*pythons.items())
    print(f"{', '.join(targets)}; logs in {folder}")
    if importlib.util.find_spec("pynvml") is None:
        print(f"neither clocks nor energy will be known: {_pip(['nvidia-ml-py'])}")
    try:
        sys.exit(act(list(all_steps(folder, record, targets, words)), record))
    except KeyboardInterrupt:
        print("interrupted: run it again to go on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
