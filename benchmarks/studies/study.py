"""What every study shares: its options, the file it leaves, and the plug-in that only studies use.

A study's file holds one line that says what was asked of which machine, one line for each finished piece,
and last the verdict. Until the verdict is known the lines stand in a ``.part`` beside it, whole after each
piece, so that ``--resume`` goes on there and a study cut short never passes for a complete one.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from scipy import stats

from ganbench import __version__
from ganbench.backend import Backend, Program
from ganbench.data import load_images, staged_images
from ganbench.gan import preset as find_preset
from ganbench.machine import environment
from ganbench.operation import Operation
from ganbench.operations import operation as make_operation
from ganbench.results.run import Run
from ganbench.results.statistics import Estimate, Verdict, judge, round_logs, speed_of
from ganbench.results.store import replace_file

PLUGIN = Path(__file__).parent / "plugin"
RESULTS = Path("results/studies")
BASELINE, CONTROL = "baseline", "control"  # the two copies that every run has, whatever its targets are called
Recorded = list[dict[int, float]]  # of one case, the seconds of the visits of each round, by pass


def use_plugin() -> None:
    """Let this process and its workers find the studies' own backends; nothing is installed."""
    sys.path.insert(0, str(PLUGIN))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PLUGIN.resolve()), os.environ.get("PYTHONPATH")]))


def options(name: str, description: str, resumable: bool = False) -> argparse.ArgumentParser:
    """Return a parser with what every study understands."""
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=description.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes: shows the form, no result")
    parser.add_argument("--output", type=Path, help=f"default {RESULTS}/{name}.jsonl, with --short below build/")
    parser.set_defaults(study=name, resume=False)
    if resumable:
        parser.add_argument("--resume", action="store_true", help="go on with what an earlier start has finished")
    return parser


class Study:
    """The file of one study; ``pieces`` are the lines that are finished."""

    def __init__(self, chosen: argparse.Namespace, **settings: object) -> None:
        folder = Path("build/studies") if chosen.short else RESULTS
        self.path: Path = chosen.output or folder / f"{chosen.study}.jsonl"
        self._part = self.path.with_suffix(".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        commit, dirty = environment.source_state()
        self.head = {
            "type": "study",
            "study": chosen.study,
            "machine": environment.machine_name(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "commit": commit,
            "dirty": dirty,
            "command": [f"benchmarks/studies/{chosen.study}.py", *_without_output(sys.argv[1:])],
            "settings": {"short": chosen.short, **settings},
            "environment": environment.metadata(),
        }
        self.pieces: list[dict] = []
        self._began = time.monotonic()
        if chosen.resume and self._part.exists():
            self._go_on()

    def _go_on(self) -> None:
        head, *self.pieces = read_lines(self._part)
        for name in ("machine", "version", "settings"):
            if head[name] != json.loads(json.dumps(self.head[name])):
                stop(f"cannot resume {self._part}: its {name} is {head[name]}, now it is {self.head[name]}")
        self.head = head
        print(f"{len(self.pieces)} finished before: {self._part}")

    def say(self, text: str) -> None:
        """Print a line of progress, with the seconds since the start."""
        print(f"[{time.monotonic() - self._began:6.0f} s] {text}", flush=True)

    def add(self, piece: dict) -> None:
        """Keep one finished piece."""
        self.pieces.append({"type": "piece", **piece})
        write_lines(self._part, [self.head, *self.pieces])

    def conclude(self, verdict: dict) -> None:
        """Write the file with its verdict (``passed``, ``goal`` and ``measured`` in words, figures), and print it."""
        write_lines(self.path, [self.head, *self.pieces, {"type": "verdict", **verdict}])
        self._part.unlink(missing_ok=True)
        outcome = "passed" if verdict["passed"] else "NOT PASSED"
        print(f"{self.head['study']}: {outcome}\n  goal      {verdict['goal']}\n  measured  {verdict['measured']}")
        print(f"written to {self.path}")


def _without_output(arguments: list[str]) -> list[str]:
    """Return a command line without where the file was to lie, which is nobody else's business."""
    place = arguments.index("--output") if "--output" in arguments else len(arguments)
    return arguments[:place] + arguments[place + 2 :]


def stop(reason: str) -> NoReturn:
    """End the program as every usage error does."""
    print(reason, file=sys.stderr)
    sys.exit(2)


def read_lines(path: Path) -> list[dict]:
    """Return the lines of a study's file; ends the program where there is no such file."""
    if not path.exists():
        stop(f"no study at {path}: run it first")
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_lines(path: Path, lines: list[dict]) -> None:
    """Write a study's file, whole or not at all."""
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
    replace_file(path, lambda file: file.write(text.encode()))


def prepared(backend: Backend, name: str, preset: str) -> tuple[Operation, Program]:
    """Return an operation of a preset in float32, and its program."""
    spec = find_preset(preset)
    images = staged_images(load_images(spec, None), spec, 0)
    operation = make_operation(name, spec)
    return operation, backend.prepare(operation, operation.inputs(0, "float32", images))


def round_visits(run: Run) -> dict[str, dict[str, Recorded]]:
    """Return, per operation and target, each round's visits, seconds by pass; the two baselines are called so."""
    baseline = run.header.baseline
    cases = {BASELINE: (baseline, False), CONTROL: (baseline, True)}
    cases |= {one.label: (one.label, False) for one in run.header.targets if one.label != baseline}
    return {
        operation: {
            name: list(found.values()) for name, case in cases.items() if (found := run.visits(operation, *case))
        }
        for operation in run.header.operations
    }


def log_ratios(baseline: Sequence[Recorded], target: Recorded) -> list[float]:
    """Return for each round the logarithm of the time of the baseline's copies ÷ that of the target."""
    return [*round_logs(*_numbered(baseline, target)).values()]


def speed(baseline: Sequence[Recorded], target: Recorded) -> Estimate:
    """Return the time of the baseline's copies ÷ that of the target."""
    found = speed_of(*_numbered(baseline, target))
    assert found is not None
    return found


def _numbered(baseline: Sequence[Recorded], target: Recorded) -> tuple[list[dict], list[dict]]:
    return [dict(enumerate(one)) for one in baseline], [dict(enumerate(target))]


def said(visits: dict[str, Recorded], name: str) -> Verdict:
    """Return what a run's table says of one of its targets."""
    copies = [visits[copy] for copy in (BASELINE, CONTROL) if copy in visits]
    control = speed(copies[:1], copies[1]) if len(copies) > 1 else None
    return judge(speed(copies, visits[name]), len(visits[name]), control)


def upper_bound(hits: int, trials: int) -> float:
    """Return the exact one-sided 95 % bound of a proportion (Clopper & Pearson 1934): without hits about 3/trials."""
    return 1.0 if hits >= trials else float(stats.beta.ppf(0.95, hits + 1, trials - hits))
