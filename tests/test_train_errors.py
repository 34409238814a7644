"""What cannot be trained is refused with what is valid, before anything is written."""

import importlib.util

import numpy as np
import pytest
from msgspec.structs import replace
from trainings import SPEECH, TINY, here, train

from ganbench.errors import DataError, SpecError, UsageError
from ganbench.gan import STAGED_BATCHES
from ganbench.training.state import entries, load_state

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
        (["--loss", "hing"], 2, "unknown loss 'hing' (known: hinge, least-squares, non-saturating,"),
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
    assert "say how long to train: either --epochs N or --iterations N" in errors
    assert here(monkeypatch, capsys, "--backend", "numpy", "--epochs", "1")[0] == 2
    assert here(monkeypatch, capsys, "--output", tmp_path, "--epochs", "1")[0] == 2


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ({"PIL"}, "training needs PIL: pip install"),
        ({"altair", "vl_convert"}, "training needs altair and vl_convert: pip install"),
        ({"scipy"}, "a folder of WAV files needs scipy: pip install"),
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


@pytest.mark.workers
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
    assert f"{folder} already has a training: continue it with --resume {folder / 'state.npz'}" in errors
    assert (folder / "state.npz").read_bytes() == before


@pytest.mark.workers
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
    assert 'training needs altair: pip install "ganbench[train]"' in errors


@pytest.mark.workers
def test_errors_of_the_python_door(tmp_path, parity):
    with pytest.raises(UsageError, match="how long"):
        train("numpy", tmp_path / "out")
    with pytest.raises(SpecError, match="another model: batch is 16 in the state, 8 asked for"):
        load_state(parity[0] / "numpy" / "state.npz", replace(TINY, batch=8))
    with pytest.raises(DataError, match="cannot be read"):
        load_state(tmp_path)
    assert STAGED_BATCHES == 8
