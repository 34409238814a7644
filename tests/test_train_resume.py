"""Trainings that are resumed, killed, or meet a full disk: the state is whole, and goes on bit for bit."""

import os
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from trainings import NORMED, TINY, assert_same_states, finished, gone, start, started, table, train

import ganbench
from ganbench.data import load_images
from ganbench.errors import GanbenchError
from ganbench.training.batches import stream
from ganbench.training.log import read_losses
from ganbench.training.loop import Loop
from ganbench.training.state import load_state
from ganbench.verification.reference import Reference

pytestmark = pytest.mark.workers


@pytest.fixture(scope="module")
def normed(tmp_path_factory):
    """A model with batch norm, in float64, trained without interruption."""
    folder = tmp_path_factory.mktemp("normed")
    train("numpy", folder, spec=NORMED, dtype="float64", iterations=150, seed=3)
    return folder


def test_resumed_equals_uninterrupted(normed, tmp_path):
    train("numpy", tmp_path, spec=NORMED, dtype="float64", iterations=60, seed=3)
    assert table(tmp_path)[0]["iterations"] == 60
    trained = ganbench.train("numpy", output=tmp_path, threads=1, iterations=150, resume=tmp_path / "state.npz")
    assert trained.folders == {"numpy": tmp_path}
    assert_same_states(tmp_path / "state.npz", normed / "state.npz")
    assert table(tmp_path) == table(normed)
    assert np.array_equal(read_losses(tmp_path), read_losses(normed))


@pytest.mark.parametrize("target", ["torch", "jax"])
def test_resumed_inside_an_epoch_equals_uninterrupted(target, parity, tmp_path):
    train(target, tmp_path, dtype="float64", iterations=150)
    ganbench.train(target, output=tmp_path, threads=1, iterations=230, resume=tmp_path / "state.npz")
    assert_same_states(tmp_path / "state.npz", parity[0] / target / "state.npz")
    assert np.array_equal(read_losses(tmp_path), read_losses(parity[0] / target))
    assert table(tmp_path) == table(parity[0] / target)


def test_generation_uses_running_statistics(normed):
    import torch

    state = load_state(normed / "state.npz")
    w1, gamma, beta, w2, b2 = map(torch.from_numpy, state.gan.generator.params)
    linear, norm, last = torch.nn.Linear(8, 16, bias=False), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 36)
    linear.weight.data, norm.weight.data, norm.bias.data, last.weight.data, last.bias.data = w1, gamma, beta, w2, b2
    norm.running_mean, norm.running_var = map(torch.from_numpy, state.gan.generator.running)
    generator = torch.nn.Sequential(linear, norm, torch.nn.ReLU(), last, torch.nn.Sigmoid()).eval()
    z = np.random.default_rng(0).standard_normal((7, 8))
    made = ganbench.generate(state.spec, state.gan.generator.params, state.gan.generator.running, z)
    with torch.no_grad():
        assert np.allclose(made, generator(torch.from_numpy(z)).numpy(), rtol=1e-12)
    assert np.allclose(made[2:3], ganbench.generate(state.spec, state.gan.generator.params,
                                                    state.gan.generator.running, z[2:3]))  # fmt: skip
    assert abs(state.gan.generator.running[0]).max() > 0.01


def test_running_statistics_have_the_number_of_their_layer(tmp_path):
    ganbench.train("numpy", preset="dcgan-8", output=tmp_path, iterations=2, threads=1)  # a Reshape comes first
    with np.load(tmp_path / "state.npz") as state:
        assert [key for key in state.files if "generator.running" in key] == [
            "generator.running.mean1", "generator.running.var1",
        ]  # fmt: skip
        assert state["generator.running.mean1"].shape == state["generator.gamma1"].shape
    ganbench.train("numpy", output=tmp_path, iterations=3, threads=1, resume=tmp_path / "state.npz")


def test_another_backend_and_dtype_go_on_from_a_state(tmp_path):
    train("numpy", tmp_path / "a", dtype="float64", iterations=20, loss="saturating", seed=5)
    first = load_state(tmp_path / "a" / "state.npz")
    assert first.spec.loss == "saturating"
    assert (read_losses(tmp_path / "a")[:, 2] < 0).all()  # E[log(1 - D(G(z)))] is negative
    train("torch.textbook", tmp_path / "b", spec=None, dtype="float32", iterations=40,
          resume=tmp_path / "a" / "state.npz")  # fmt: skip
    second = load_state(tmp_path / "b" / "state.npz")
    assert second.step == 40
    assert second.dtype == "float32"
    assert second.seed == 5
    batch = next(stream(load_images(TINY, None), TINY, seed=5, step=20))
    expected = Reference().gan_iteration(first.spec, first.gan, *batch)[1:]
    assert read_losses(tmp_path / "b")[0] == pytest.approx([21, *expected], rel=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="a training dies with its parent on Linux only")
def test_kill_9_leaves_no_process_and_a_state_from_which_it_goes_on_as_if_nothing_had_happened(tmp_path):
    process, children = started(tmp_path / "killed")
    process.kill()
    process.communicate()
    assert gone(children) == []
    state = load_state(tmp_path / "killed" / "state.npz")
    assert read_losses(tmp_path / "killed")[-1, 0] >= state.step
    total = state.step + 50
    ganbench.train("numpy", output=tmp_path / "killed", threads=1, iterations=total,
                   resume=tmp_path / "killed" / "state.npz")  # fmt: skip
    train("numpy", tmp_path / "whole", dtype="float64", iterations=total)
    assert_same_states(tmp_path / "killed" / "state.npz", tmp_path / "whole" / "state.npz")
    assert table(tmp_path / "killed") == table(tmp_path / "whole")
    assert np.array_equal(read_losses(tmp_path / "killed"), read_losses(tmp_path / "whole"))


def test_ctrl_c_saves_what_was_reached_and_leaves_no_process(tmp_path):
    process, children = started(tmp_path)
    before = load_state(tmp_path / "state.npz").step
    os.killpg(process.pid, signal.SIGINT)
    code, out, errors = finished(process)
    assert code == 130
    assert "interrupted: what was reached is saved" in errors
    assert "interrupted at iteration " in out
    assert gone(children) == []
    state = load_state(tmp_path / "state.npz")
    assert state.step >= before
    assert read_losses(tmp_path)[-1, 0] == state.step


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be locked there")
def test_two_trainings_do_not_share_a_folder(tmp_path):
    process, _ = started(tmp_path / "out")
    state = tmp_path / "out" / "state.npz"
    second = start("--backend", "numpy", "--iterations", 10**7, "--resume", state, "--output", tmp_path / "out")
    code, _, errors = finished(second)
    assert code == 2
    assert f"another training is writing into {tmp_path / 'out'}: wait for it, or choose another" in errors
    os.killpg(process.pid, signal.SIGINT)
    assert finished(process)[0] == 130
    assert read_losses(tmp_path / "out")[:, 0].tolist() == list(range(1, load_state(state).step + 1))


def test_two_trainings_that_begin_together_leave_one(tmp_path):
    given = ("--backend", "numpy", "--preset", "tiny", "--iterations", 40, "--output", tmp_path)
    both = [start(*given, "--seed", seed) for seed in (0, 1)]
    codes, said = zip(*((code, errors) for code, _, errors in map(finished, both)), strict=True)
    assert sorted(codes) == [0, 2], said
    assert "another training is writing" in "".join(said) or "already has a training" in "".join(said)
    assert load_state(tmp_path / "state.npz").seed == codes.index(0)


def test_a_full_disk_is_exit_1_and_the_state_is_whole(tmp_path):
    # No file may outgrow a limit, which losses.csv does after some ten thousand iterations.
    limited = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000));"
        "runpy.run_module('ganbench.cli', run_name='__main__')"
    )
    process = start("--backend", "numpy", "--preset", "tiny", "--iterations", 10**7, "--output", tmp_path,
                    program=("-c", limited))  # fmt: skip
    code, _, errors = finished(process)
    assert code == 1
    assert "losses.csv" in errors
    assert "the state saved before is complete" in errors
    assert load_state(tmp_path / "state.npz").step >= 0


def test_diverged_training_stops_before_it_spoils_the_state(tmp_path):
    class Nothing:
        def __getattr__(self, name):
            return lambda *arguments: 8

        step = 16
        seconds = 0.0

        def read_losses(self, wait=False):
            return np.array([[1.0, 1.0], [np.nan, 1.0]])

    goal = SimpleNamespace(spec=TINY, iterations=100, per_epoch=50, step=16)
    loop = Loop(goal, Nothing(), Nothing(), np.empty((0, 2)), Nothing(), Nothing(), print)
    with pytest.raises(GanbenchError, match=r"not finite at iteration 18; state\.npz still holds iteration 16"):
        loop.run(lambda: False)
