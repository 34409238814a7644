"""``ganbench train`` of a Wasserstein GAN with gradient penalty."""

import json

import numpy as np
import pytest
from trainings import FILES, assert_same_states, finished, here, shown, start, table, train

import ganbench
from ganbench.gan import preset, with_loss
from ganbench.training.batches import stream
from ganbench.training.log import read_losses
from ganbench.training.state import load_state

TINY = with_loss(preset("tiny"), "wgan-gp")
TARGETS = ("numpy.inplace", "torch", "jax.scan")
PER_EPOCH = 1797 // (5 * 16)


@pytest.fixture(scope="module")
def parity(tmp_path_factory):
    folder = tmp_path_factory.mktemp("critics")
    done = finished(
        start("--backends", ",".join(TARGETS), "--preset", "tiny", "--loss", "wgan-gp", "--dtype", "float64",
              "--iterations", 232, "--output", folder)
    )  # fmt: skip
    assert done[0] == 0, done[2]
    return folder, done[1]


@pytest.mark.workers
@pytest.mark.parametrize("target", TARGETS)
def test_the_estimate_and_the_penalty_stand_in_log_and_curves(parity, target):
    folder = parity[0] / target
    assert {path.name for path in folder.iterdir()} == FILES
    rows = table(folder)
    assert set(rows[0]) == set("type epoch step iterations d_loss g_loss wasserstein penalty".split())
    assert (folder / "losses.csv").read_text().startswith("step,d_loss,g_loss,penalty\n")
    losses = read_losses(folder)
    assert losses.shape == (232, 4)
    for row, part in zip(rows, np.split(losses, range(PER_EPOCH, 232, PER_EPOCH)), strict=True):
        assert row["penalty"] == pytest.approx(part[:, 3].mean(), rel=1e-12)
        assert row["wasserstein"] == pytest.approx((part[:, 3] - part[:, 1]).mean(), rel=1e-9)
    epochs = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()][2:-1]
    assert all("v" not in epoch for epoch in epochs)
    assert epochs[-1]["penalty"] < epochs[0]["penalty"], "the critic learns to be steep"
    assert epochs[-1]["wasserstein"] > epochs[0]["wasserstein"], "and to tell real from made"
    assert load_state(folder / "state.npz", TINY).step == 232
    alone = shown(folder / "curves.png")
    assert len(np.unique(alone)) > 10
    assert alone.shape[0] > 4 * 180  # a panel for each loss, the estimate and the penalty


@pytest.mark.workers
def test_every_backend_learns_the_same(parity):
    folder, out = parity
    tables = np.stack([read_losses(folder / target)[:200] for target in TARGETS])
    assert np.ptp(tables, axis=0).max() <= 1e-9
    assert "wasserstein   penalty" in out
    assert "tiny (8-16-36 / 36-16-1, batch 16, wgan-gp (critic_steps 5, penalty 10))" in out


@pytest.mark.workers
@pytest.mark.parametrize("target", ["numpy", "torch.textbook"])
def test_resumed_equals_uninterrupted(target, tmp_path):
    for name, iterations in (("whole", 60), ("parts", 30)):
        train(target, tmp_path / name, spec=TINY, dtype="float64", iterations=iterations)
    state = tmp_path / "parts" / "state.npz"
    ganbench.train(target, output=tmp_path / "parts", threads=1, iterations=60, resume=state)
    assert_same_states(state, tmp_path / "whole" / "state.npz")
    assert table(tmp_path / "parts") == table(tmp_path / "whole")


def test_an_iteration_takes_a_batch_for_each_step_and_any_can_be_reached():
    rows = np.arange(200.0).repeat(TINY.img_dim).reshape(200, -1)
    batches = stream(rows, TINY, seed=3, step=0)
    taken = [next(batches) for _ in range(5)]
    assert [array.shape for array in taken[0]] == [(5, 16, 36), (5, 16, 8), (16, 8), (5, 16, 1)]
    shown_rows = np.concatenate([batch[0][..., 0].ravel() for batch in taken[:2]])
    assert len(np.unique(shown_rows)) == 160, "an epoch shows no row twice"
    assert all(batch[3].min() >= 0 and batch[3].max() < 1 for batch in taken)
    for step in range(1, 5):
        for one, other in zip(next(stream(rows, TINY, seed=3, step=step)), taken[step], strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize(("rows", "way"), [(79, "pass --batch 15 or less"), (3, "at least 5 are needed")])
def test_too_few_rows_for_the_steps(monkeypatch, capsys, tmp_path, rows, way):
    np.save(tmp_path / "few.npy", np.zeros((rows, 36), "float32"))
    code, errors = here(monkeypatch, capsys, "--backend", "numpy", "--preset", "tiny", "--loss", "wgan-gp",
                        "--data", tmp_path / "few.npy", "--iterations", 8, "--output", tmp_path / "t")  # fmt: skip
    assert code == 2
    assert f"{rows} rows of data do not fill 5 batches of 16: {way}" in errors
