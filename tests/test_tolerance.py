"""Honest programs pass in any model, and small faults do not: the tolerance follows from the model."""

import hashlib
import importlib
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import cli
from faults import FrozenDiscriminator, NoBiasCorrection, SwappedLosses
from ganbench.backends.jax_backend import JaxBackend
from ganbench.backends.numpy_backend import NumpyBackend
from ganbench.backends.torch_backend import TorchBackend
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace
from random_models import models
from study_runs import STUDIES

from ganbench.data import load_images, staged_images
from ganbench.gan import preset
from ganbench.measure.oracle import Compare, Draw, Oracle
from ganbench.measure.protocol import ModelJob
from ganbench.model_file import read_spec
from ganbench.operations import operation
from ganbench.operations.networks import GANIteration
from ganbench.precision import FULL
from ganbench.testing import KEPT, answers, images
from ganbench.verification.answers import IMAGES, read_answers, write_answers
from ganbench.verification.choose_inputs import SEEDS
from ganbench.verification.emulation import answer, widening_answer
from ganbench.verification.gate import check_outputs, shown_after, verify

pytestmark = pytest.mark.odd
FOLDER = Path(__file__).parent / "models"


def gates(case, dtype, backends, seen=None, first_seed=0):
    seen = images(case) if seen is None else seen
    asked = dtype, first_seed, hashlib.sha256(seen.tobytes()).hexdigest()
    expected = KEPT.get(case, asked, lambda: answer(case, dtype, "ieee", seen, first_seed))
    inputs = case.inputs(expected.seed, dtype, seen)
    return {f"{one.name}.{one.mode}": verify(one.prepare(case, inputs), case, expected, dtype) for one in backends}


def refused(*args, **kwargs):
    return {name: gate.reason for name, gate in gates(*args, **kwargs).items() if not gate.passed}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(spec=models())
def test_honest_programs_pass_in_any_model(dtype, spec):
    """Five hundred models: benchmarks/studies/tolerance.py."""
    assert refused(GANIteration(spec), dtype, [NumpyBackend(), TorchBackend()]) == {}


@pytest.mark.workers
@pytest.mark.parametrize("name", ["a6", "a14", "a75", "a79"])
def test_models_in_which_a_constant_refused_honest_programs(name, tmp_path):
    shutil.copy(FOLDER / f"{name}.toml", tmp_path)
    width = int((FOLDER / f"{name}.toml").read_text().partition("discriminator = [")[2].partition(",")[0])
    np.save(tmp_path / "data.npy", np.random.default_rng(0).uniform(0, 1, (400, width)).astype("float32"))
    done = cli("verify", "--model", str(tmp_path / f"{name}.toml"), "--data", str(tmp_path / "data.npy"),
               "--ops", "gan_iteration", "--backends", "numpy,torch,jax")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "first_seed"), [("v50", 1000), ("v53", 0)])
def test_honest_programs_pass_on_data_that_rounding_hardly_resolves(name, first_seed):
    """A dead unit before a batch norm over three rows, and sigmoids near 0 with lr 0.1."""
    case = GANIteration(read_spec(FOLDER / f"{name}.toml"))
    seen = np.random.default_rng(0).uniform(0.5, 0.500001, images(case).shape)
    backends = [NumpyBackend(), NumpyBackend("inplace"), TorchBackend()]
    assert refused(case, "float32", backends, seen, first_seed) == {}


@pytest.mark.parametrize(("backend", "passes"), [(NumpyBackend, True), (TorchBackend, True), (NoBiasCorrection, False)])
def test_a_later_round_allows_what_correct_programs_need_and_no_more(backend, passes, tmp_path):
    """The oracle says first what it knows at once; what it knows later is for the programs that need it."""
    case = GANIteration(read_spec(FOLDER / "v50.toml"))
    seen = np.random.default_rng(0).uniform(0.5, 0.500001, images(case).shape)
    np.save(tmp_path / IMAGES, seen)
    job = ModelJob(spec=case.spec, dtype="float32", precision="ieee", folder=str(tmp_path), parent=0)
    oracle = Oracle(job)
    seed, digest, most = oracle.answer(Draw((case.name,), 1000, 1))[case.name]
    inputs = case.inputs(seed, "float32", seen)
    assert (inputs.digest(), most) == (digest, 1)
    outputs = shown_after(1, backend().prepare(case, inputs))
    first = next(widening_answer(case, "float32", "ieee", seen, 1000))
    assert not check_outputs([(1, outputs)], case, first, "float32", "ieee").passed, "which this test is about"
    with (tmp_path / "outputs").open("wb") as stream:
        for array in outputs:
            np.save(stream, array)
    found = [oracle.answer(Compare(case.name, [(1, str(tmp_path / "outputs"))])) for _ in range(2)]
    assert [one.passed for one in found] == [passes, passes]


@pytest.fixture
def wild(monkeypatch):
    """Return a function: the model of a number, and its data."""
    monkeypatch.setattr(sys, "path", [str(STUDIES), *sys.path])
    study = importlib.import_module("tolerance_wild")

    def drawn(number, name="wild"):
        rng = random.Random(f"{name} {number}")
        spec = study.model(rng)
        return GANIteration(spec), study.data(rng, spec)

    with np.errstate(all="ignore"):  # what trains so wildly may overflow
        yield drawn


# The biases of a hinge's D, which are noise (43, 102, 190); tanh near 1 (34, 45); sigmoids near 0 (248, 301, 359).
@pytest.mark.parametrize("number", [34, 43, 45, 102, 190, 248, 301, 359])
@pytest.mark.parametrize("dtype", FULL)
def test_honest_programs_pass_in_wild_models(number, dtype, wild):
    """A thousand others: benchmarks/studies/tolerance_wild.py."""
    case, seen = wild(number)
    backends = [NumpyBackend(), NumpyBackend("inplace"), TorchBackend(), TorchBackend("manual")]
    assert refused(case, dtype, backends, seen) == {}


def test_a_parameter_whose_gradient_is_noise_may_move_and_no_other(tmp_path):
    """NumPy was refused in round 12 of a run of mnist-mlp, for one weight of 100,000."""
    case = GANIteration(preset("mnist-mlp"))
    seen = staged_images(load_images(case.spec, None), case.spec, 8)
    expected = answer(case, "float32", "ieee", seen, 11 * SEEDS, (1,))
    place = [output.name for output in case.outputs()].index("discriminator params W1")
    exact, allowed = expected.after[1], expected.allowed[1][place]
    far = allowed.max()
    assert far > case.spec.lr / 4
    assert np.median(allowed) < case.spec.lr / 1e4, "most are compared as sharply as ever"

    def moved(element):
        weights = exact[place].copy()
        weights.flat[element] += 0.9 * far
        outputs = [np.asarray(a, np.float32) for a in (*exact[:place], weights, *exact[place + 1 :])]
        return check_outputs([(1, outputs)], case, expected, "float32", "ieee")

    assert moved(allowed.argmax()).passed
    assert "'discriminator params W1' is off" in moved(allowed.argmin()).reason
    write_answers(tmp_path / "answers.npz", expected)
    read = read_answers(tmp_path / "answers.npz")
    assert (read.allowed[1][place] == allowed).all()
    assert all(map(np.array_equal, read.after[1], expected.after[1]))
    assert read[:3] + read[4:6] == expected[:3] + expected[4:6]


def test_a_critic_whose_weights_noise_moves_leaves_the_loss_of_g_open(wild):
    """Its first unit is dead, so nothing but rounding says where the units behind it go. JAX was refused."""
    case, seen = wild(17, "wild model")
    assert refused(case, "float32", [NumpyBackend(), TorchBackend(), JaxBackend()], seen) == {}
    assert refused(case, "float32", [SwappedLosses()], seen) != {}


class NoEps(NumpyBackend):
    """Adam that all but divides by zero."""

    def adam_step(self, spec, *rest):
        with np.errstate(all="ignore"):
            return super().adam_step(replace(spec, eps=1e-40), *rest)


class OtherRate(NumpyBackend):
    def adam_step(self, spec, *rest):
        return super().adam_step(replace(spec, lr=spec.lr * 1.0001), *rest)


@pytest.mark.parametrize("number", [34, 43, 248])
@pytest.mark.parametrize("backend", [OtherRate, FrozenDiscriminator, NoBiasCorrection, SwappedLosses])
def test_a_fault_is_caught_in_wild_models(number, backend, wild):
    """The models are some in which honest programs were refused before."""
    case, seen = wild(number)
    assert refused(case, "float32", [backend()], seen) != {}


def test_what_noise_decides_is_left_out(wild):
    """How far the biases of a hinge's D go, nothing but rounding says; the gradient of G then follows from that."""
    case, seen = wild(43)
    (found,) = gates(case, "float32", [NumpyBackend()], seen).values()
    told = {entry.group for entry in found.errors if entry.iterations == 1}
    assert {output.group for output in case.outputs()} - told == {"generator m", "generator v"}


@pytest.mark.large
@pytest.mark.parametrize("name", ["tiny", "mnist-mlp", "mnist-mlp-bn", "speech"])
@pytest.mark.parametrize("backend", [NoEps, OtherRate])
def test_a_small_fault_of_adam_is_caught(name, backend):
    """Eps 0, and a learning rate that is off by 0.01 %."""
    case = GANIteration(preset(name))
    expected = answers(case, "float32")
    inputs = case.inputs(expected.seed, "float32", images(case))
    assert not verify(backend().prepare(case, inputs), case, expected, "float32").passed
    assert refused(operation("adam_step", preset(name)), "float32", [NumpyBackend()]) == {}
