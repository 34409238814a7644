"""``ganbench train`` as a user runs it: what is learned, what is left, and what an interruption costs."""

import csv
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest
from msgspec.structs import replace
from PIL import Image

import ganbench
from ganbench import cli, registry
from ganbench.data import load_images, sound
from ganbench.errors import DataError, GanbenchError, SpecError, UsageError
from ganbench.gan import STAGED_BATCHES, preset
from ganbench.operations.networks import GANIteration
from ganbench.testing import images
from ganbench.training.batches import stream
from ganbench.training.log import read_losses
from ganbench.training.loop import Goal, Loop
from ganbench.training.saving import Saver
from ganbench.training.state import entries, load_state
from ganbench.verification.reference import Reference

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SPEECH = EXAMPLES / "speech"
TINY = preset("tiny")
NORMED = replace(TINY, name="tiny-bn", batch_norm=True)
FILES = {"curves.png", "log.csv", "log.jsonl", "losses.csv", "samples.png", "state.npz", "strip.png"}


def start(*arguments, program=("-m", "ganbench.cli"), **settings):
    """Start ``ganbench train`` on one thread: the machine that tests may be busy."""
    command = [sys.executable, *program, "train", "--threads", "1", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


def finished(process):
    """Return (exit code, standard output, standard error) of a started command."""
    out, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    return process.returncode, out, errors


def here(monkeypatch, capsys, *arguments):
    """Run the command line in this process, for what ends before anything is trained; return (code, errors)."""
    monkeypatch.setattr(sys, "argv", ["ganbench", "train", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    out, errors = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in errors
    return left.value.code, errors


def train(backend, output, **settings):
    return ganbench.train(backend, output=output, threads=1, **{"spec": TINY, **settings})


def table(folder):
    """Return the rows of log.csv without their rates, which differ from run to run."""
    with (folder / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "images_per_s"} for row in csv.DictReader(file)]


def shown(path):
    """Return a picture's pixels, decoded in full."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        return np.asarray(picture.convert("L"))


def assert_same_states(a, b):
    """Assert that two trainings have reached the same numbers, bit for bit."""
    a, b = load_state(a), load_state(b)
    assert a.step == b.step
    for network, other in zip(a.gan[:2], b.gan[:2], strict=True):
        for part, same in zip(network, other, strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(part, same, strict=True))
    assert np.array_equal(a.losses, b.losses)


# What is learned, and what is left -------------------------------------------------------------------


@pytest.fixture(scope="module")
def parity(tmp_path_factory):
    """Three backends trained from one seed in float64; (folder, what was printed)."""
    folder = tmp_path_factory.mktemp("parity")
    done = start("--backends", "numpy,torch,jax", "--preset", "tiny", "--dtype", "float64", "--iterations", 230,
                 "--seed", 0, "--output", folder)  # fmt: skip
    code, out, errors = finished(done)
    assert code == 0, errors
    return folder, out


@pytest.mark.parametrize("target", ["numpy", "torch", "jax"])
def test_every_backend_trains_and_leaves_its_files(parity, target):
    folder = parity[0] / target
    assert {path.name for path in folder.iterdir()} == FILES
    rows = table(folder)
    assert [(row["epoch"], row["step"], row["iterations"]) for row in rows] == [
        ("1", "112", "112"),
        ("2", "224", "112"),
        ("3", "230", "6"),
    ]
    losses = read_losses(folder)
    assert losses[:, 0].tolist() == list(range(1, 231))
    for row, part in zip(rows, (losses[:112], losses[112:224], losses[224:]), strict=True):
        assert float(row["d_loss"]) == pytest.approx(part[:, 1].mean(), rel=1e-14)
        assert float(row["g_loss"]) == pytest.approx(part[:, 2].mean(), rel=1e-14)
        assert float(row["v"]) == -float(row["d_loss"])
    assert float(rows[1]["d_loss"]) < float(rows[0]["d_loss"]) < 1.4  # the critic learns: it began at 2 log 2
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
    assert "have not parted by more than 0.001 in 230" in out
    for line in ("images/s; with shuffled data and noise: ", "feeding costs ", "complete at iteration 230"):
        assert out.count(line) == 3


def test_the_picture_of_parity_tells_one_curve_from_another(parity):
    from ganbench.training import curves
    from ganbench.training import parity as parities

    def colours(losses, found):
        with Image.open(io.BytesIO(curves.draw(losses, "drawn", found))) as picture:
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
        bright = pixels[np.ptp(pixels, axis=1) > 60]
        return {tuple(colour) for colour in np.round(bright / 48)}

    same = {target: read_losses(parity[0] / target) for target in ("numpy", "torch", "jax")}
    found = parities.compare_losses(same)
    assert found.parted is None
    alone, together = (colours(losses, found) for losses in ({"numpy": same["numpy"]}, same))
    assert len(together) > len(alone) + 1, "curves that are the same hide one another"
    apart = {**same, "jax": same["jax"] + np.array([0, 0.1, 0]) * (same["jax"][:, :1] >= 150)}
    parted = parities.compare_losses(apart)
    assert parted.parted == 150
    assert parted.explain()[1].startswith("the curves part at iteration 150, ")
    assert "amplifies" in parted.explain()[-1]


def test_parity_compares_the_same_iterations_of_trainings_that_began_apart():
    from ganbench.training.parity import compare_losses

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
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert (tmp_path / left).exists()


# Resuming --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def normed(tmp_path_factory):
    """A model with batch norm, in float64, trained without interruption."""
    folder = tmp_path_factory.mktemp("normed")
    train("numpy", folder, spec=NORMED, dtype="float64", iterations=150, seed=3)
    return folder


def test_resumed_equals_uninterrupted(normed, tmp_path):
    train("numpy", tmp_path, spec=NORMED, dtype="float64", iterations=60, seed=3)
    assert table(tmp_path)[0]["iterations"] == "60"
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


def _started(folder, *arguments):
    """Start a long training, and return it once it has saved more than its beginning."""
    process = start("--backend", "numpy", "--preset", "tiny", "--dtype", "float64", "--iterations", 10**7,
                    "--output", folder, *arguments, start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (folder / "state.npz").exists() and load_state(folder / "state.npz").step > 0:
            return process, psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"nothing was saved: {process.communicate()}")


def _gone(processes):
    """Wait until none of ``processes`` runs; return those that still do. Zombies count as gone."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.skipif(sys.platform != "linux", reason="a training dies with its parent on Linux only")
def test_kill_9_leaves_no_process_and_a_state_from_which_it_goes_on_as_if_nothing_had_happened(tmp_path):
    process, children = _started(tmp_path / "killed")
    process.kill()
    process.communicate()
    assert _gone(children) == []
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
    process, children = _started(tmp_path)
    before = load_state(tmp_path / "state.npz").step
    os.killpg(process.pid, signal.SIGINT)
    code, out, errors = finished(process)
    assert code == 130
    assert "interrupted: what was reached is saved" in errors
    assert "interrupted at iteration " in out
    assert _gone(children) == []
    state = load_state(tmp_path / "state.npz")
    assert state.step >= before
    assert read_losses(tmp_path)[-1, 0] == state.step


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be locked there")
def test_two_trainings_do_not_share_a_folder(tmp_path):
    process, _ = _started(tmp_path / "out")
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
    assert "another training is writing" in "".join(said) or "holds a training already" in "".join(said)
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
    assert "the state saved before is whole" in errors
    assert load_state(tmp_path / "state.npz").step >= 0


def test_diverged_training_stops_before_it_spoils_the_state(tmp_path):
    class Nothing:
        def __getattr__(self, name):
            return lambda *arguments: 8

        step = 16
        seconds = 0.0

        def read_losses(self, wait=False):
            return np.array([[1.0, 1.0], [np.nan, 1.0]])

    loop = Loop(Goal(TINY, 100, 50), Nothing(), Nothing(), 16, np.empty((0, 2)), Nothing(), Nothing(), print)
    with pytest.raises(GanbenchError, match=r"not finite at iteration 18; state\.npz still holds iteration 16"):
        loop.run(lambda: False)


# Bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--backend", "toch"], 2, "unknown backend 'toch' (known: "),
        (["--backend", "numpy@cuda"], 2, "unknown device of numpy 'cuda'"),
        (["--backend", "cupy"], 1, 'cupy is not installed; pip install "ganbench[cuda13]"'),
        (["--preset", "huge"], 2, "unknown preset 'huge'"),
        (["--dtype", "int8"], 2, "float32, float64"),
        (["--threads", "0"], 2, "threads 0 is not valid"),
        (["--loss", "hinge"], 2, "unknown loss 'hinge' (known: non-saturating, saturating)"),
        (["--seed", "-1"], 2, "seed -1 is not valid"),
        (["--epochs", "0"], 2, "epochs 0 is not valid: at least 1"),
        (["--seed", str(2**63)], 2, "seed 9223372036854775808 is not valid: at most 9223372036854775807"),
        (["--iterations", str(2**31)], 2, "2,147,483,648 iterations are not valid: at most 2,147,483,647"),
        (["--epochs", str(10**30)], 2, "iterations are not valid: at most 2,147,483,647"),
        (["--iterations", "-5"], 2, "iterations -5 is not valid"),
        (["--epochs", "1", "--iterations", "1"], 2, "either --epochs N or --iterations N"),
        (["--batch", "1798"], 2, "1797 rows of data do not fill a batch of 1798: pass --batch 1797 or less"),
        (["--resume", "/nowhere/state.npz"], 2, "state /nowhere/state.npz: cannot be read: No such file"),
        (["--data", "/nowhere/x.npy"], 2, "No such file"),
    ],
)
def test_bad_arguments(monkeypatch, capsys, tmp_path, arguments, code, named):
    given = [*arguments, "--output", tmp_path / "out"]
    given += [] if "--backend" in arguments else ["--backend", "numpy"]
    given += [] if {"--epochs", "--iterations"} & set(arguments) else ["--epochs", "1"]
    received, errors = here(monkeypatch, capsys, "--preset", "tiny", *given)
    assert received == code, errors
    assert named in errors
    assert not (tmp_path / "out").exists()


def test_how_long_and_where_must_be_said(monkeypatch, capsys, tmp_path):
    code, errors = here(monkeypatch, capsys, "--backend", "numpy", "--output", tmp_path / "out")
    assert code == 2
    assert "how long to train is either --epochs N or --iterations N" in errors
    assert here(monkeypatch, capsys, "--backend", "numpy", "--epochs", "1")[0] == 2
    assert here(monkeypatch, capsys, "--output", tmp_path, "--epochs", "1")[0] == 2


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ({"PIL"}, "training draws with Pillow: pip install"),
        ({"altair", "vl_convert"}, "training draws with Altair, vl-convert-python: pip install"),
        ({"scipy"}, "WAV files are read with SciPy: pip install"),
    ],
    ids=["pillow", "altair", "scipy"],  # a set is written in another order by every process
)
def test_what_is_not_installed_is_named_with_the_command(monkeypatch, capsys, tmp_path, missing, named):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in missing else real(name, *more))
    given = ("--backend", "numpy", "--preset", "speech", "--data", SPEECH, "--epochs", 1, "--output", tmp_path / "out")
    code, errors = here(monkeypatch, capsys, *given)
    assert code == 1
    assert f'{named} "ganbench[train]"' in errors
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written_or_holds_a_training(monkeypatch, capsys, tmp_path, parity):
    (tmp_path / "file").write_text("")
    short = ("--backend", "numpy", "--preset", "tiny", "--epochs", "9")
    code, errors = here(monkeypatch, capsys, *short, "--output", tmp_path / "file" / "out")
    assert code == 2
    assert "choose another folder with --output" in errors
    folder = parity[0] / "numpy"
    before = (folder / "state.npz").read_bytes()
    code, errors = here(monkeypatch, capsys, *short, "--output", folder)
    assert code == 2
    assert f"{folder} holds a training already: go on with --resume {folder / 'state.npz'}" in errors
    assert (folder / "state.npz").read_bytes() == before


def test_what_cannot_be_resumed(monkeypatch, capsys, tmp_path, parity):
    state = parity[0] / "numpy" / "state.npz"

    def resumed(*arguments, path=state):
        given = ("--backend", "numpy", "--output", tmp_path / "out", "--resume", path, "--iterations", "300")
        code, errors = here(monkeypatch, capsys, *given, *arguments)
        assert code == 2, errors
        assert not (tmp_path / "out").exists()
        return errors

    other = resumed("--preset", "mnist-mlp")
    assert "is of another model: generator is 8,16,36 in the state, 64,256,784 asked for; discriminator is" in other
    assert "loss is non-saturating in the state, saturating asked for" in resumed("--loss", "saturating")
    assert "seed 1 is not that of the state, 0: leave --seed out" in resumed("--seed", "1")
    assert "has 230 iterations already; 200 were asked for" in resumed("--iterations", "200")
    np.save(tmp_path / "rows.npy", np.full((40, 36), 0.5))
    assert "was trained on other data" in resumed("--data", tmp_path / "rows.npy")

    whole = state.read_bytes()
    damaged = tmp_path / "damaged.npz"
    for content in (
        b"",
        b"PK",
        b"no archive",
        whole[: len(whole) // 2],
        whole[:-30],
        whole[:3000] + b"\0" * 64 + whole[3064:],
    ):
        damaged.write_bytes(content)
        said = resumed(path=damaged)
        assert f"state {damaged}: is not a whole .npz file of ganbench" in said
        assert "pickle" not in said  # what NumPy takes every other file for, with advice to load it unsafely
    np.savez(damaged, weights=np.ones(3))
    assert "holds no model" in resumed(path=damaged)

    arrays = dict(np.load(state))
    for key, value, said in (
        ("format", np.array(99), "has format 99; this ganbench reads format 1"),
        ("generator.W1", np.ones((2, 2)), "'generator.W1' is float64 (2, 2) instead of float64 (16, 8)"),
        ("discriminator.m.b2", np.array([np.nan]), "'discriminator.m.b2' is not finite"),
        ("spec", np.array("{"), "truncated"),
        ("spec", np.array('{"generator": [1, 2], "discriminator": [3, 1], "batch": 1}'), "the two must be equal"),
    ):
        np.savez(damaged, **{**arrays, key: value})
        assert said in resumed(path=damaged)
    np.savez(damaged, **{key: value for key, value in arrays.items() if key != "generator.b2"})
    assert "lacks 'generator.b2'" in resumed(path=damaged)
    assert {key for key, _ in entries(TINY)} < set(arrays)


def test_a_missing_extra_is_named_before_training(monkeypatch, capsys, tmp_path):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "altair" else find(name))
    code, errors = here(monkeypatch, capsys, "--backend", "numpy", "--preset", "tiny", "--epochs", "1", "--output",
                        tmp_path / "out")  # fmt: skip
    assert code == 1
    assert 'training draws with Altair: pip install "ganbench[train]"' in errors


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


def test_errors_of_the_python_door(tmp_path, parity):
    with pytest.raises(UsageError, match="how long"):
        train("numpy", tmp_path / "out")
    with pytest.raises(SpecError, match="another model: batch is 16 in the state, 8 asked for"):
        load_state(parity[0] / "numpy" / "state.npz", replace(TINY, batch=8))
    with pytest.raises(DataError, match="cannot be read"):
        load_state(tmp_path)
    assert STAGED_BATCHES == 8
