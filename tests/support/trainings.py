"""``ganbench train`` as a process, and what it leaves."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from msgspec.structs import replace
from patience import LIMIT_S
from PIL import Image

import ganbench
from ganbench import cli
from ganbench.gan import preset
from ganbench.training.state import load_state

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SPEECH = EXAMPLES / "speech"
TINY = preset("tiny")
NORMED = replace(TINY, name="tiny-bn", batch_norm=True)
FILES = {"curves.png", "log.jsonl", "losses.csv", "samples.png", "state.npz", "strip.png"}


def start(*arguments, program=("-m", "ganbench.cli"), **settings):
    """Start ``ganbench train`` on one thread: the machine that tests may be busy."""
    command = [sys.executable, *program, "train", "--threads", "1", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


def finished(process):
    """Return (exit code, standard output, standard error) of a started command."""
    out, errors = process.communicate(timeout=LIMIT_S)
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
    """Return the epochs of a log without their rates, which differ from run to run."""
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k != "images_per_s"} for line in lines if line["type"] == "epoch"]


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


def started(folder, *arguments):
    """Start a long training, and return it once it has saved more than its beginning."""
    process = start("--backend", "numpy", "--preset", "tiny", "--dtype", "float64", "--iterations", 10**7,
                    "--output", folder, *arguments, start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if (folder / "state.npz").exists() and load_state(folder / "state.npz").step > 0:
            return process, psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"nothing was saved: {process.communicate()}")


def gone(processes):
    """Wait until none of ``processes`` runs; return those that still do. Zombies count as gone."""
    _, alive = psutil.wait_procs(processes, timeout=LIMIT_S)
    return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
