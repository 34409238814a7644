"""Which inputs the oracle picks for a run, and how its answers are held against a program."""

import itertools

import pytest
from msgspec.structs import replace

from ganbench.backend import BoundProgram, map_arrays
from ganbench.gan import preset
from ganbench.operations import operation
from ganbench.operations.networks import GANIteration
from ganbench.testing import images
from ganbench.verification import choose_inputs
from ganbench.verification.choose_inputs import SEEDS, draw, kink_margin
from ganbench.verification.emulation import answer
from ganbench.verification.gate import verify
from ganbench.verification.reference import Reference

# Which inputs a run is compared on ----------------------------------------------------------------------


TINY = GANIteration(preset("tiny"))


def distance(seed):
    """Return how near a kink the first iteration comes."""
    oracle, inputs = Reference(), TINY.inputs(seed, "float32", images(TINY))
    state, batch = (map_arrays(oracle.from_numpy, part) for part in (inputs.state, inputs.batches[0]))
    TINY.apply(oracle, inputs.fixed, state, batch)
    return oracle.nearest_kink


@pytest.fixture(scope="module")
def distances():
    return [distance(seed) for seed in range(SEEDS + 3)]


def set_margin(monkeypatch, margin):
    monkeypatch.setattr(choose_inputs, "KINK_MARGIN", choose_inputs.KINK_MARGIN * margin / kink_margin(TINY, "float32"))
    assert kink_margin(TINY, "float32") == pytest.approx(margin)


def test_the_first_seed_that_is_clear_is_drawn(monkeypatch, distances):
    set_margin(monkeypatch, sorted(distances[:SEEDS])[-4] * 0.999)  # four seeds are clear
    clear = [seed for seed, distance in enumerate(distances) if distance >= kink_margin(TINY, "float32")]
    for one, next_one in itertools.pairwise(clear):
        assert draw(TINY, "float32", images(TINY), first=one + 1)[0] == next_one
    assert any(next_one > one + 1 for one, next_one in itertools.pairwise(clear)), "the case shows nothing"


@pytest.mark.parametrize("first", [0, 3])
def test_where_none_is_clear_the_farthest_is_drawn(monkeypatch, distances, first):
    """One ReLU that flips on 'wide' is amplified by Adam's first step to 2e-2."""
    set_margin(monkeypatch, max(distances) * 1.001)
    among = distances[first : first + SEEDS]
    assert draw(TINY, "float32", images(TINY), first=first)[0] == first + among.index(max(among))


@pytest.mark.parametrize("name", ["matmul", "generator_forward", "batch_norm_grad"])
def test_operations_without_state_take_the_first_seed(name):
    case = operation(name, preset("tiny"))
    seed, inputs = draw(case, "float32", images(case), first=5)
    assert seed == 5
    assert inputs.digest() == case.inputs(5, "float32", images(case)).digest()


class PreparedReference(Reference):
    """The oracle as a backend, whose programs the gate can verify."""

    def synchronize(self, result=None):
        """There is nothing to wait for."""

    def from_numpys(self, arrays):
        return [*map(self.from_numpy, arrays)]

    def prepare(self, operation, inputs):
        return BoundProgram(self, operation, inputs)


def test_answers_are_those_of_the_inputs():
    case = operation("gan_iteration", replace(preset("tiny"), batch_norm=True))
    answers = answer(case, "float32", "ieee", images(case))
    inputs = case.inputs(answers.seed, "float32", images(case))
    assert answers.digest == inputs.digest()
    assert answers.digest != case.inputs(answers.seed + 1, "float32", images(case)).digest()
    assert answers.digest != case.inputs(answers.seed, "float64", images(case)).digest()
    assert verify(PreparedReference().prepare(case, inputs), case, answers, "float64").max_rel_error == 0


def test_the_margin_follows_the_dtype_and_the_width():
    narrow, wide = (GANIteration(preset(name)) for name in ("mnist-mlp", "wide"))
    assert kink_margin(narrow, "float32") == pytest.approx(2e-6)
    assert kink_margin(wide, "float32") == pytest.approx(2e-6 * (4096 / 784) ** 0.5)
    assert kink_margin(narrow, "float64") == pytest.approx(2e-6 * 2.0**-29)
