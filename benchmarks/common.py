"""What every asv benchmark of ganbench shares: one gate, one engine, one way to skip.

Parameters are fixed lists, never what happens to be installed, so that results of different machines have
the same shape; what is missing is n/a. Only frameworks that few people have are left out where they are missing.
Frameworks are imported in ``setup``: one that is missing must not hide the others. ``GANBENCH_PROFILE=full`` makes more
visits.
"""

import itertools
import os
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ganbench import registry
from ganbench.data import load_images, staged_images
from ganbench.errors import GanbenchError, UnavailableError, UnsupportedError
from ganbench.machine.environment import can_pin, usable_cpus
from ganbench.machine.processes import spread_threads
from ganbench.measure import engine
from ganbench.measure.plan import RIGORS
from ganbench.operation import ModelOperation, Operation
from ganbench.verification.answers import IMAGES, read_answers, write_answers
from ganbench.verification.emulation import answer
from ganbench.verification.gate import verify

PROFILE = os.environ.get("GANBENCH_PROFILE", "quick")
FULL = PROFILE == "full"
if PROFILE not in RIGORS:
    raise SystemExit(f"GANBENCH_PROFILE '{PROFILE}' is not valid (known: {', '.join(RIGORS)})")

FEW_HAVE = ("keras", "mlx", "tensorflow")
TARGETS = ["numpy", "torch", "jax", "torch@cuda", "jax@cuda", "cupy", *filter(registry.version, FEW_HAVE)]
DTYPES = ["float32", "float64"] if FULL else ["float32"]
VISITS = 40 if FULL else 12


class Case:
    """One program, prepared, verified and ready to be timed; raises ``NotImplementedError`` for n/a."""

    def __init__(self, operation: Operation, label: str, dtype: str, answers: Path) -> None:
        target = registry.parse_target(label)
        cls = registry.load(target.backend)
        os.environ.update(cls.environment(target.device, dtype, "ieee", str(Path.cwd() / "cache")))
        try:
            if reason := cls.probe().reasons.get(target.device.partition(":")[0]):
                raise UnavailableError(reason)
            self.backend = cls(target.mode, target.device)
            expected = read_answers(answers / f"{operation.name}.npz")
            inputs = operation.inputs(expected.seed, dtype, np.load(answers / IMAGES))
            self.program, prepare_s, first_run_s = engine.first_call(self.backend, operation, inputs)
        except (UnavailableError, UnsupportedError) as error:
            print(f"n/a: {label}: {error}", file=sys.stderr)
            raise NotImplementedError(str(error)) from error
        if inputs.digest() != expected.digest:
            raise GanbenchError(f"the inputs of {operation.name} are not those that the reference was computed from")
        self.operation, self.first_call_s = operation, prepare_s + first_run_s
        check = verify(self.program, operation, expected, dtype)
        if not check.passed:
            raise GanbenchError(f"invalid: {label} {operation.name} {dtype}: {check.reason}")
        self.max_rel_error = check.max_rel_error

    def samples(self) -> dict[str, Any]:
        """Return what asv takes for timing data: seconds per iteration of each visit."""
        cap_s = RIGORS[PROFILE].warm_cap_s
        number = engine.warm_up(self.backend, self.operation, self.program, cap_s).number
        cpus = itertools.cycle(usable_cpus() if can_pin() else [None])
        timings = []
        for cpu, _ in zip(cpus, range(VISITS), strict=False):
            with spread_threads(os.getpid(), cpu):
                pass  # it begins here, and may go where the system sends it
            timings.append(engine.time_visit(self.backend, self.operation, self.program, number))
        return {"samples": [t.seconds for t in timings], "number": number * self.program.iterations}


class Suite(ABC):
    """One operation over shapes, targets and dtypes; a subclass lists it at each of its shapes."""

    operations: ClassVar[dict[str, Operation]]  # by shape, as asv shows it
    targets: ClassVar[list[str]] = TARGETS
    dtypes: ClassVar[list[str]] = DTYPES
    params: ClassVar[list[list[str]]]
    param_names = ("shape", "target", "dtype")
    timeout = 300

    def __init_subclass__(cls) -> None:
        if hasattr(cls, "operations"):
            cls.params = [list(cls.operations), cls.targets, cls.dtypes]

    @abstractmethod  # asv takes no class for benchmarks that lacks a method
    def setup_cache(self) -> None:
        """Call ``answer``."""

    def answer(self) -> None:
        """Let the oracle answer every shape into asv's working folder; each ``setup_cache`` calls this.

        asv runs a ``setup_cache`` once, in a process of its own, and tells them apart by file and line; one
        that was inherited would be run for a single class and serve all the others with its answers.
        """
        for shape, operation in self.operations.items():
            images = _images(operation)
            for dtype in DTYPES:
                folder = _folder(shape, dtype)
                folder.mkdir(parents=True)
                np.save(folder / IMAGES, images)
                write_answers(folder / f"{operation.name}.npz", answer(operation, dtype, "ieee", images))

    def setup(self, shape: str, target: str, dtype: str) -> None:
        self.case = Case(self.operations[shape], target, dtype, _folder(shape, dtype))


def tracked(unit: str, **more: Any) -> Any:
    """Mark a ``track_`` method that returns one number in ``unit``; ``more`` is what else asv is to know of it."""

    def mark(method: Any) -> Any:
        version = f"engine {engine.VERSION}"  # asv would hash this file, which says nothing of the engine
        vars(method).update(unit=unit, version=version, **more)
        return method

    return mark


class Timed(Suite):
    """A suite that times its operation."""

    # asv takes {"samples", "number"} for timing data whatever the type says; this makes it look so too.
    @tracked("seconds", type="time", rounds=2 if FULL else 1)
    def track_call(self, shape: str, target: str, dtype: str) -> dict[str, Any]:
        return self.case.samples()


def by_shape(*operations: Operation) -> dict[str, Operation]:
    """Return operations by their shape, spelled as ``compare`` spells it."""
    return {str(one.shape): one for one in operations}


def _images(operation: Operation) -> np.ndarray:
    """Return real images where the operation works on a model, and nothing where it does not."""
    if isinstance(operation, ModelOperation):
        return staged_images(load_images(operation.spec, None), operation.spec, seed=0)
    return np.empty(0)


def _folder(shape: str, dtype: str) -> Path:
    return Path.cwd() / "answers" / shape / dtype
