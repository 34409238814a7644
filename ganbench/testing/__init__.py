"""The conformance suite: the tests that every backend must pass, in this repository and outside.

Write a test file that names your backend, and run pytest:

    from ganbench.testing import BackendConformance

    class TestMine(BackendConformance):
        backend_class = MyBackend

Variables that the backend's ``environment`` asks for must be set before its framework is imported, in a
``conftest.py`` for example. A backend that lacks its framework or device is skipped with its own words.
"""

import contextlib
import inspect
import math
import re
import time
from collections.abc import Sequence
from types import BuiltinFunctionType
from typing import ClassVar

import numpy as np
import pytest

from ..array_ops import Array, arrays
from ..backend import API_VERSION, Backend, Probe, Program
from ..errors import UnavailableError, UnsupportedError, UsageError
from ..gan import STAGED_BATCHES, GANSpec, preset
from ..losses import LOSSES
from ..operation import Inputs, Operation
from ..operations import OPERATIONS, operation as make_operation, operations_of
from ..operations.fresh import FreshInputs
from ..operations.networks import GANIteration
from ..precision import FULL
from ..verification.choose_inputs import collected
from ..verification.emulation import answers_from
from ..verification.gate import UNVERIFIABLE, check_outputs, shown_after, verify
from ..verification.models import IMAGE_SPECS, ODD_SPECS, TINY_SPECS
from ..verification.reference import Reference
from ..verification.sync_check import left_before, unfinished
from .expected import KEPT as KEPT, LONG_RUN, answers, images, keep_answers, long_answers
from .process import ProcessConformance

TRAINED_SPECS = (*TINY_SPECS, *(spec for spec in ODD_SPECS if spec.name in ("hinge", "least-squares")), IMAGE_SPECS[1])
LONG_SPECS = tuple(map(preset, ("mnist-mlp", "mnist-mlp-bn", "mnist-wgan-gp")))
FURTHER = "convolution convolution_grad penalty_grad __init__ prepare environment missing_device".split()
SIGNATURES = (*sorted(Backend.__abstractmethods__), *FURTHER)
LAYOUTS = {
    "contiguous": lambda array: array,
    "transposed": lambda array: array.T,
    "strided": lambda array: array[::2, 1::3],
    "reversed": lambda array: array[::-1],
    "vector": lambda array: array[:, 0],
}


class BackendConformance(ProcessConformance):
    """A test class: subclass it and name a backend; pytest checks the interface, and the results with the oracle."""

    backend_class: ClassVar[type[Backend]]
    mode: ClassVar[str] = ""  # '' is the backend's default
    device: ClassVar[str] = ""
    specs: ClassVar[Sequence[GANSpec]] = (
        *map(preset, ("tiny", "mnist-mlp", "mnist-mlp-bn", "mnist-wgan-gp")),
        TINY_SPECS[-1],
        *(*ODD_SPECS, *IMAGE_SPECS),
    )
    dtypes: ClassVar[Sequence[str]] = FULL
    operations: ClassVar[Sequence[str]] = tuple(OPERATIONS)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Spread the tests over what the subclass names, and its backend is written for."""
        keep_answers(metafunc.config)
        test, losses = metafunc.function.__name__, self.backend_class.losses
        some = slice(1 if "backend" in metafunc.fixturenames and self.missing() else None)  # one is skipped for all
        if test in ("test_gate", "test_program", "test_fresh_inputs"):
            specs, dtypes = (self.specs, self.dtypes) if test == "test_gate" else (TINY_SPECS, self.dtypes[:1])
            cases = parameters([*filter(self.has_layers, specs)], dtypes, self.operations, losses)
            metafunc.parametrize(("operation", "dtype"), cases[some])
        elif "spec" in metafunc.fixturenames:
            trains = "float64" in self.dtypes and GANIteration.name in self.operations
            specs = TRAINED_SPECS if test == "test_training" else LONG_SPECS
            chosen = [spec for spec in specs if trains and spec.loss in losses and self.has_layers(spec)][some]
            metafunc.parametrize("spec", chosen, ids=[spec.name for spec in chosen])
        elif "dtype" in metafunc.fixturenames:
            metafunc.parametrize("dtype", self.dtypes[some])

    def has_layers(self, spec: GANSpec) -> bool:
        """Return whether the backend, in this mode, is written for the layers of a model."""
        return {*spec.kinds} <= {*self.backend_class.layers}

    def missing(self) -> str:
        """Return why this machine lacks the device, or ''; asked while tests are collected, it imports no framework."""
        kind = (self.device or self.backend_class.device_kinds[0]).partition(":")[0]
        return self.backend_class.probe().reasons.get(kind, "")

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test; skips where this machine lacks what it needs."""
        try:
            return self.backend_class(self.mode, self.device)
        except UnavailableError as error:
            pytest.skip(str(error))

    # The class, without its framework -----------------------------------------------------------------

    def test_describes_itself(self) -> None:
        cls = self.backend_class
        assert cls.api_version == API_VERSION, f"written for interface {cls.api_version}, not {API_VERSION}"
        assert cls.modes, "a backend has at least one mode"
        assert cls.device_kinds, "a backend has at least one kind of device"
        for name in (cls.name, *cls.modes, *cls.device_kinds):
            # ., @ and : take a target apart, and a comma a list of targets.
            assert re.fullmatch(r"[a-z][a-z0-9_-]*", name), f"'{name}' cannot stand in a target"
        for mode, line in cls.modes.items():
            assert line, f"mode '{mode}' does not say what it is"
            assert "\n" not in line, f"mode '{mode}' needs more than one line"
        assert cls.module
        assert cls.distributions
        assert cls.install
        assert not isinstance(cls.distributions, str), "distributions is a tuple of names"

    def test_probe(self) -> None:
        probe, cls = self.backend_class.probe(), self.backend_class
        assert isinstance(probe, Probe)
        assert probe.installed == bool(probe.version)
        assert probe.install, "a probe names the command that would install the framework"
        for kind in cls.device_kinds:
            reason = probe.reasons.get(kind, "")
            assert (kind in probe.devices) != bool(reason), f"device '{kind}' is either listed or explained"
        assert {*probe.devices, *probe.reasons} == {*cls.device_kinds}

    @pytest.mark.parametrize("method", SIGNATURES)
    def test_signature(self, method: str) -> None:
        received, expected = (
            list(inspect.signature(getattr(cls, method)).parameters) for cls in (self.backend_class, Backend)
        )
        assert received == expected, f"{method}{tuple(received)} instead of {method}{tuple(expected)}"

    def test_unknown_mode(self) -> None:
        with pytest.raises(UsageError, match=f"'no-such-mode'.*known: .*{next(iter(self.backend_class.modes))}"):
            self.backend_class(mode="no-such-mode")

    def test_unknown_device(self) -> None:
        with pytest.raises(UsageError, match=f"'no-such-device'.*known: .*{self.backend_class.device_kinds[0]}"):
            self.backend_class(device="no-such-device")

    def test_default_mode_and_device(self, backend: Backend) -> None:
        assert backend.mode == (self.mode or next(iter(self.backend_class.modes)))
        assert backend.device == (self.device or self.backend_class.device_kinds[0])

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_round_trip(self, backend: Backend, dtype: str, layout: str) -> None:
        host = LAYOUTS[layout](np.random.default_rng(0).standard_normal((6, 10)).astype(dtype))
        expected = host.copy()
        staged = backend.from_numpy(host)
        host[...] = np.nan  # a shared buffer would carry this over
        back = backend.to_numpy(staged)
        assert isinstance(back, np.ndarray)
        assert back.dtype == expected.dtype
        assert back.shape == expected.shape
        assert np.array_equal(back, expected), "the values changed, or the host array is shared"

    # Operations ---------------------------------------------------------------------------------------

    def test_gate(self, backend: Backend, operation: Operation, dtype: str) -> None:
        """What is timed passes the gate, and leaves the host arrays it was given alone."""
        expected = answers(operation, dtype)
        inputs = operation.inputs(expected.seed, dtype, images(operation))
        assert inputs.digest() == expected.digest
        program = backend.prepare(operation, inputs)
        if program.iterations > 1:
            with contextlib.suppress(UnsupportedError):
                begun = check_outputs([(1, program.first_outputs(1))], operation, expected, dtype, "ieee")
                assert begun.passed, begun.reason
        found = verify(program, operation, expected, dtype)
        assert found.passed, found.reason
        assert inputs.digest() == expected.digest, "the host arrays were changed"

    def test_program(self, backend: Backend, operation: Operation, dtype: str) -> None:
        """``reset`` goes all the way back, and ``outputs`` are what the operation names."""
        program = backend.prepare(operation, operation.inputs(0, dtype, images(operation)))
        assert program.iterations in (1, STAGED_BATCHES), f"a call performs {program.iterations} iterations"
        first = _after_reset(program)
        assert [(array.shape, str(array.dtype)) for array in first] == [
            (output.shape, dtype) for output in operation.outputs()
        ]
        backend.synchronize(program.result)
        assert any(True for _ in arrays(program.result)), "result does not hold what the call produced"
        program()  # away from the staged state
        for array, again, output in zip(first, _after_reset(program), operation.outputs(), strict=True):
            assert np.array_equal(array, again), f"'{output.name}' differs after reset()"

    def test_fresh_inputs(self, backend: Backend, operation: Operation, dtype: str) -> None:
        """Nothing is kept from the inputs it was prepared on: each visit begins with others."""
        inputs = operation.inputs(0, dtype, images(operation))
        program, fresh = backend.prepare(operation, inputs), FreshInputs(operation, inputs)
        program()
        for seed in (1, 2):
            program.stage(fresh(seed))
            for _ in range(calls := max(1, 3 // program.iterations)):
                program()
            count = calls * program.iterations
            expected = answers_from(operation, fresh(seed), dtype, "ieee", (count,))
            found = check_outputs([(count, program.outputs())], operation, expected, dtype, "ieee")
            assert found.passed or found.reason.startswith(UNVERIFIABLE), f"after feed(), {found.reason}"

    def test_synchronize(self, backend: Backend) -> None:
        """Nothing is left to be done when it returns: what is only noted, or goes on elsewhere, has been waited for."""
        operation = make_operation("matmul", preset("mnist-mlp"))
        program = backend.prepare(operation, operation.inputs(0, self.dtypes[0], images(operation)))
        program()
        assert unfinished(backend, program, calls=1, share=1.0) == 0, "synchronize() returns before the work is done"
        if backend.queues:
            assert left_before(backend, program) == 0, (
                "what nobody waits for is not done: a lazy framework must not say `queues = True`"
            )

    def test_long_run(self, backend: Backend, spec: GANSpec) -> None:
        """In float64 no rounding excuses a drift over many iterations."""
        operation = GANIteration(spec)
        program = backend.prepare(operation, operation.inputs(0, "float64", images(spec)))
        found = verify(_Repeated(program), operation, long_answers(operation), "float64")
        assert found.passed, found.reason

    def test_training(self, backend: Backend, spec: GANSpec) -> None:
        """``feed`` keeps the state or replaces it, ``losses`` are those of each iteration, ``reset`` still works."""
        operation = GANIteration(spec)
        staged, first, second = (operation.inputs(seed, "float64", images(spec)) for seed in (0, 1, 2))
        program = backend.prepare(operation, staged)
        program()  # away from the staged state
        program.feed(first.batches, first.state)
        losses = _call_through(program)
        program.feed(second.batches)
        losses += _call_through(program)
        expected = _trained(operation, first.state, [*first.batches, *second.batches])
        reported = len(spec.reported)
        found = np.concatenate([np.stack([backend.to_numpy(part).reshape(-1) for part in one], 1) for one in losses])
        wanted = [outputs[-reported:] for outputs in expected]
        # D's last bias may have no gradient but rounding, which Adam makes steps of; g_loss goes with it.
        rtol = 1e-11 if spec.objective.cancels else 1e-12
        assert np.allclose(found, wanted, rtol=rtol, atol=0), "the losses differ"
        for array, reference, output in zip(program.outputs(), expected[-1], operation.outputs(), strict=True):
            assert np.allclose(array, reference, rtol=1e-9, atol=1e-12), f"'{output.name}' differs after feed()"

        program.reset()  # to the state that was fed; the batches are still the second ones
        _call_through(program)
        again = _trained(operation, first.state, second.batches)[-1]
        for array, reference, output in zip(program.outputs(), again, operation.outputs(), strict=True):
            assert np.allclose(array, reference, rtol=1e-9, atol=1e-12), f"'{output.name}' differs after reset()"

    def test_clock(self) -> None:
        """Last, so that whatever the tests above have called has had its chance."""
        replaced = not isinstance(time.perf_counter, BuiltinFunctionType)
        assert not replaced, "time.perf_counter was replaced: ganbench would call the times of this backend impossible"


class _Repeated(Program):
    """A program whose one call performs at least ``LONG_RUN`` iterations of another."""

    def __init__(self, program: Program) -> None:
        self._program, self._times = program, math.ceil(LONG_RUN[0] / program.iterations)
        self.iterations = self._times * program.iterations

    def reset(self) -> None:
        self._program.reset()

    def __call__(self) -> None:
        for _ in range(self._times):
            self._program()

    def outputs(self) -> list[np.ndarray]:
        return self._program.outputs()


def _call_through(program: Program) -> list[tuple[Array, ...]]:
    """Return the losses of the calls that take every staged batch once, unread until all are made."""
    losses = []
    for _ in range(STAGED_BATCHES // program.iterations):
        program()
        losses.append(program.losses())
    return losses


def _trained(operation: Operation, state: object, batches: Sequence[tuple[np.ndarray, ...]]) -> list[list[np.ndarray]]:
    """Return the oracle's outputs after each of ``batches``."""
    counts = range(1, len(batches) + 1)
    return [*collected(Reference(), operation, Inputs((), state, [*batches]), counts).values()]


def _after_reset(program: Program) -> list[np.ndarray]:
    """Return copies of the outputs of one call from the staged state: the next call may reuse memory."""
    return [np.array(array) for array in shown_after(program.iterations, program)]


def parameters(
    specs: Sequence[GANSpec], dtypes: Sequence[str], names: Sequence[str], losses: Sequence[str] = tuple(LOSSES)
) -> list[object]:
    """Return a pytest parameter (operation, dtype) for each combination that a batch is large enough for."""
    return [
        pytest.param(operation, dtype, id=f"{spec.name}-{name}-{dtype}")
        for spec in specs
        for name in operations_of(spec)
        for dtype in dtypes
        for operation in [make_operation(name, spec)]
        if name in names and spec.batch >= operation.minimum_batch and operation.loss in (None, *losses)
    ]
