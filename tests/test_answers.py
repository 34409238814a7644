"""Which inputs the oracle picks for a run, and how its answers are held against a program."""

import itertools

import numpy as np
import pytest
from msgspec.structs import replace

from ganbench.backend import BoundProgram, map_arrays
from ganbench.gan import preset
from ganbench.operations import operation
from ganbench.operations.networks import GANIteration
from ganbench.testing import images
from ganbench.verification import reference
from ganbench.verification.gate import LOOSE_TOLERANCE, TOLERANCES, verify
from ganbench.verification.reference import GATED_ITERATIONS, SEEDS, Reference, kink_margin, solve

# Which inputs a run is compared on ----------------------------------------------------------------------


def kinks(case, seed):
    """Return the nearest kink so far after each of the gated iterations."""
    oracle, inputs = Reference(), case.inputs(seed, "float32", images(case.spec))
    state, nearest = map_arrays(oracle.from_numpy, inputs.state), []
    for batch in itertools.islice(itertools.cycle(inputs.batches), GATED_ITERATIONS):
        state, _ = case.apply(oracle, inputs.fixed, state, map_arrays(oracle.from_numpy, batch))
        nearest.append(oracle.nearest_kink)
    return nearest


TINY = GANIteration(preset("tiny"))


@pytest.fixture(scope="module")
def tiny_kinks():
    return [kinks(TINY, seed) for seed in range(SEEDS)]


def set_margin(monkeypatch, margin):
    monkeypatch.setattr(reference, "KINK_MARGIN", reference.KINK_MARGIN * margin / kink_margin(TINY, "float32"))
    assert kink_margin(TINY, "float32") == pytest.approx(margin)


def test_solve_takes_the_first_seed_that_is_clear(monkeypatch, tiny_kinks):
    margin = sorted(nearest[-1] for nearest in tiny_kinks)[-3] * 0.999  # three seeds are clear
    first = next(seed for seed, nearest in enumerate(tiny_kinks) if nearest[-1] > margin)
    assert first > 0, "the case shows nothing"
    set_margin(monkeypatch, margin)
    answers = solve(TINY, "float32", images(TINY.spec))
    assert (answers.seed, answers.gated, answers.loose) == (first, GATED_ITERATIONS, False)
    assert answers.nearest_kink == tiny_kinks[first][-1] > margin
    assert set(answers.after) == {1, GATED_ITERATIONS}


def test_solve_gates_fewer_iterations_where_no_seed_is_clear(monkeypatch, tiny_kinks):
    margin = max(nearest[-1] for nearest in tiny_kinks) * 1.001  # no seed is clear to the end
    clear = [sum(distance > margin for distance in nearest) for nearest in tiny_kinks]
    assert 1 < max(clear) < GATED_ITERATIONS, "the case shows nothing"
    set_margin(monkeypatch, margin)
    answers = solve(TINY, "float32", images(TINY.spec))
    assert (answers.gated, answers.loose) == (max(clear), False)
    assert answers.seed == clear.index(max(clear))
    assert answers.nearest_kink == tiny_kinks[answers.seed][answers.gated - 1] > margin
    assert set(answers.after) == {1, answers.gated, GATED_ITERATIONS}


@pytest.fixture
def loose(monkeypatch, tiny_kinks):
    set_margin(monkeypatch, max(nearest[0] for nearest in tiny_kinks) * 1.001)  # not even one iteration is clear
    return solve(TINY, "float32", images(TINY.spec))


def test_solve_is_loose_where_no_iteration_is_clear(loose, tiny_kinks):
    assert (loose.gated, loose.loose) == (1, True)
    assert loose.nearest_kink == tiny_kinks[loose.seed][0]
    assert set(loose.after) == {1, GATED_ITERATIONS}


def test_solve_stays_as_far_from_a_kink_as_it_can(loose, tiny_kinks):
    """One ReLU that flips on 'wide' is amplified by Adam's first step to 2e-2, which no tolerance forgives."""
    assert loose.nearest_kink == max(nearest[0] for nearest in tiny_kinks)


def test_loose_answers_are_compared_loosely(loose):
    backend = OffByOnePartInThousand()
    inputs = TINY.inputs(loose.seed, "float32", images(TINY.spec))
    found = verify(backend.prepare(TINY, inputs), TINY, loose, "float32")
    assert found.loose
    assert found.tolerance == LOOSE_TOLERANCE
    assert {entry.iterations for entry in found.errors} == {1}
    assert found.passed, found.reason
    strict = verify(backend.prepare(TINY, inputs), TINY, loose._replace(loose=False), "float32")
    assert not strict.loose
    assert strict.tolerance == TOLERANCES["float32", "ieee"]
    assert not strict.passed


def test_only_the_gated_iterations_are_compared(loose):
    answers = loose._replace(gated=3, loose=False, after={1: loose.after[1], 3: loose.after[8], 8: []})
    inputs = TINY.inputs(loose.seed, "float32", images(TINY.spec))
    found = verify(PreparedReference().prepare(TINY, inputs), TINY, answers, "float64")
    assert {entry.iterations for entry in found.errors} == {1, 3}
    assert "after 3 iterations" in found.reason  # the eighth's answers are not the third's


class PreparedReference(Reference):
    """The oracle as a backend, whose programs the gate can verify."""

    def synchronize(self, result=None):
        """There is nothing to wait for."""

    def prepare(self, operation, inputs):
        return BoundProgram(self, operation, inputs)


class OffByOnePartInThousand(PreparedReference):
    """What a flipped ReLU looks like; float32, and otherwise right."""

    def to_numpy(self, array):
        return (1.001 * np.asarray(array)).astype(np.float32)


def test_answers_are_those_of_the_inputs():
    case = operation("gan_iteration", replace(preset("tiny"), batch_norm=True))
    answers = solve(case, "float32", images(case.spec))
    inputs = case.inputs(answers.seed, "float32", images(case.spec))
    assert answers.digest == inputs.digest()
    assert answers.digest != case.inputs(answers.seed + 1, "float32", images(case.spec)).digest()
    assert answers.digest != case.inputs(answers.seed, "float64", images(case.spec)).digest()
    assert verify(PreparedReference().prepare(case, inputs), case, answers, "float64").max_rel_error == 0


@pytest.mark.parametrize("name", ["matmul", "generator_forward", "batch_norm_grad"])
def test_operations_without_state_are_always_gated_in_full(name):
    case = operation(name, preset("tiny"))
    answers = solve(case, "float32", images(case.spec))
    assert (answers.seed, answers.gated, answers.loose) == (0, GATED_ITERATIONS, False)


def test_the_margin_follows_the_dtype_and_the_width():
    narrow, wide = (GANIteration(preset(name)) for name in ("mnist-mlp", "wide"))
    assert kink_margin(narrow, "float32") == pytest.approx(2e-6)
    assert kink_margin(wide, "float32") == pytest.approx(2e-6 * (4096 / 784) ** 0.5)
    assert kink_margin(narrow, "float64") == pytest.approx(2e-6 * 2.0**-29)
