"""``ganbench train`` as a user runs it: what is learned, and what is left."""

import io
import json
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from patience import LIMIT_S
from PIL import Image
from trainings import EXAMPLES, FILES, SPEECH, TINY, finished, shown, start, table

import ganbench
from ganbench import registry
from ganbench.data import sound
from ganbench.operations.networks import GANIteration
from ganbench.testing import images
from ganbench.training.batches import stream
from ganbench.training.log import read_losses
from ganbench.training.state import Saver, load_state

pytestmark = pytest.mark.workers

# What is learned, and what is left -------------------------------------------------------------------


@pytest.mark.parametrize("target", ["numpy", "torch", "jax"])
def test_every_backend_trains_and_leaves_its_files(parity, target):
    folder = parity[0] / target
    assert {path.name for path in folder.iterdir()} == FILES
    rows = table(folder)
    assert [(row["epoch"], row["step"], row["iterations"]) for row in rows] == [
        (1, 112, 112),
        (2, 224, 112),
        (3, 230, 6),
    ]
    losses = read_losses(folder)
    assert losses[:, 0].tolist() == list(range(1, 231))
    for row, part in zip(rows, (losses[:112], losses[112:224], losses[224:]), strict=True):
        assert row["d_loss"] == pytest.approx(part[:, 1].mean(), rel=1e-14)
        assert row["g_loss"] == pytest.approx(part[:, 2].mean(), rel=1e-14)
        assert row["v"] == -row["d_loss"]
    assert rows[1]["d_loss"] < rows[0]["d_loss"] < 1.4  # the critic learns: it began at 2 log 2
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [record["type"] for record in records] == ["start", "cost", "epoch", "epoch", "epoch", "end"]
    assert records[0]["max_rel_error"] < 1e-12
    assert records[0]["per_epoch"] == 112
    assert records[1]["low"] <= records[1]["share"] <= records[1]["high"]
    assert all(record["images_per_s"] > 0 for record in records[2:5])
    state = load_state(folder / "state.npz", TINY)
    assert state.step == 230
    assert state.dtype == "float64"
    assert state.strip_steps[0] == 0
    assert state.strip_steps[-1] == 230
    for name in ("samples.png", "strip.png", "curves.png"):
        assert len(np.unique(shown(folder / name))) > 10, "the picture is blank"


def test_every_backend_learns_the_same(parity):
    folder, out = parity
    tables = np.stack([read_losses(folder / target)[:200] for target in ("numpy", "torch", "jax")])
    assert np.ptp(tables, axis=0).max() <= 1e-9
    assert len(np.unique(shown(folder / "parity.png"))) > 10
    assert "numpy, torch, jax: losses differ by at most " in out
    assert "in 230 iterations the curves never differ by more than 0.001" in out
    for line in ("images/s; with shuffled data and noise: ", "feeding costs ", "complete at iteration 230"):
        assert out.count(line) == 3


def test_the_picture_of_parity_tells_one_curve_from_another(parity):
    from ganbench.training import curves

    def colours(losses, found):
        with Image.open(io.BytesIO(curves.draw(losses, TINY, "drawn", found))) as picture:
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
        bright = pixels[np.ptp(pixels, axis=1) > 60]
        return {tuple(colour) for colour in np.round(bright / 48)}

    same = {target: read_losses(parity[0] / target) for target in ("numpy", "torch", "jax")}
    found = curves.compare_losses(same)
    assert found.parted is None
    alone, together = (colours(losses, found) for losses in ({"numpy": same["numpy"]}, same))
    assert len(together) > len(alone) + 1, "curves that are the same hide one another"
    apart = {**same, "jax": same["jax"] + np.array([0, 0.1, 0]) * (same["jax"][:, :1] >= 150)}
    parted = curves.compare_losses(apart)
    assert parted.parted == 150
    assert parted.explain()[1].startswith("the curves part at iteration 150, ")
    assert "amplifies" in parted.explain()[-1]


def test_parity_compares_the_same_iterations_of_trainings_that_began_apart():
    from ganbench.training.curves import compare_losses

    whole = np.stack([np.arange(1, 51), np.linspace(2, 1, 50), np.linspace(1, 2, 50)], axis=1)
    found = compare_losses({"numpy": whole, "torch": whole[20:]})
    assert (found.steps[0], found.steps[-1], found.largest) == (21, 50, 0)


def test_torch_modules_load_a_state(parity):
    import torch

    state = np.load(parity[0] / "jax" / "state.npz")
    generator = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 36), torch.nn.Sigmoid()
    ).double()
    generator.load_state_dict(
        {
            f"{2 * number - 2}.{name}": torch.from_numpy(state[f"generator.{key}{number}"])
            for number in (1, 2)
            for name, key in (("weight", "W"), ("bias", "b"))
        }
    )
    z = np.random.default_rng(0).standard_normal((5, 8))
    loaded = load_state(parity[0] / "jax" / "state.npz")
    made = ganbench.generate(loaded.spec, loaded.gan.generator.params, [], z)
    with torch.no_grad():
        assert np.allclose(made, generator(torch.from_numpy(z)).numpy(), rtol=1e-12)


def test_feeding_compiles_nothing_again(caplog):
    import jax

    backend, case = registry.load("jax")(), GANIteration(TINY)
    first, second = (case.inputs(seed, "float32", images(TINY)) for seed in (0, 1))
    program = backend.prepare(case, first)
    program()
    program()  # now with the state that the first call left
    with jax.log_compiles():
        program.feed(second.batches)
        program()
        program.feed(second.batches, second.state)
        program()
        program.losses()
    assert "Compiling" not in caplog.text


def test_an_epoch_is_a_permutation_and_any_iteration_can_be_reached():
    rows = np.arange(50.0).repeat(TINY.img_dim).reshape(50, -1)
    whole = list(islice(stream(rows, TINY, 7, 0), 9))  # three batches of 16 make an epoch
    for epoch in range(3):
        seen = np.concatenate([real[:, 0] for real, _, _ in whole[3 * epoch : 3 * epoch + 3]])
        assert len(set(seen)) == 48
    assert not np.array_equal(whole[0][0], whole[3][0])
    for step in range(8):
        for array, same in zip(whole[step], next(stream(rows, TINY, 7, step)), strict=True):
            assert np.array_equal(array, same)
    half = next(stream(rows.astype(np.float32), TINY, 7, 0))
    assert all(np.array_equal(a.astype(np.float32), b) for a, b in zip(whole[0], half, strict=True))
    assert not np.array_equal(whole[0][1], next(stream(rows, TINY, 8, 0))[1])


def test_strip_stays_even_when_a_training_is_resumed_for_longer(tmp_path):
    from ganbench.training.worker import beginning

    fresh = beginning(TINY, "float32", 0, "")
    first = Saver(tmp_path, fresh, 100, sound=False)
    for step in range(0, 101, 5):
        first.keep(fresh.gan._replace(step=np.int32(step)), fresh.losses, finished=step == 100)
    saved = load_state(tmp_path / "state.npz")
    assert saved.strip_steps.tolist() == list(range(0, 101, 10))
    longer = Saver(tmp_path, saved, 1000, sound=False)
    for step in range(100, 1001, 50):
        longer.keep(fresh.gan._replace(step=np.int32(step)), fresh.losses, finished=step == 1000)
    steps = load_state(tmp_path / "state.npz").strip_steps
    assert len(steps) == 11
    assert (steps[0], steps[-1]) == (0, 1000)
    assert np.diff(steps).max() <= 200


@pytest.mark.parametrize(
    ("name", "arguments", "said", "left"),
    [
        ("train_digits.py", ["4"], "56 iterations; pictures are in ", "digits/finished/samples.png"),
        ("train_speech.py", [], "84 frames of 1024 samples", "spoken/samples.wav"),
    ],
)
def test_examples(tmp_path, name, arguments, said, left):
    on_one_core = (
        "import os, runpy, sys; del sys.argv[0]; hasattr(os, 'sched_setaffinity') and "
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", on_one_core, EXAMPLES / name, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert (tmp_path / left).exists()


# Sound -----------------------------------------------------------------------------------------------


def test_speech_from_recordings_to_recordings(tmp_path):
    assert sum(path.stat().st_size for path in SPEECH.iterdir()) < 300_000
    assert "eSpeak NG" in (SPEECH / "SOURCE.txt").read_text()
    process = start("--backend", "torch", "--preset", "speech", "--batch", 8, "--data", SPEECH, "--iterations", 10,
                    "--output", tmp_path)  # fmt: skip
    code, out, errors = finished(process)
    assert code == 0, errors
    assert "2 recordings, 6.1 s at 16,000 Hz: 84 frames of 1024 samples; 9 nearly silent ones are left out" in out
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "samples.wav"}
    heard = sound.read_wav(tmp_path / "samples.wav")
    assert heard.shape == (100 * 1024,)
    assert heard.std() > 1e-3
    assert len(np.unique(shown(tmp_path / "samples.png"))) > 1
