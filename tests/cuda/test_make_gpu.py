"""``make gpu`` from beginning to end on a GPU that only pretends: cut, gone on with, complete, and all of it small."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import LIMIT_S

import ganbench

PRETENDED = Path(__file__).parents[1] / "support" / "pretended_gpu"
pytestmark = pytest.mark.cuda
STEPS = ("tests", "float32", "asv")
LARGEST = 1_000_000  # bytes of a file that is easily sent


def start(folder):
    hidden = {"CUDA_VISIBLE_DEVICES", "GANBENCH_CACHE", "PYTHONDONTWRITEBYTECODE"}
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    variables |= {"PYTHONPATH": str(PRETENDED), "GANBENCH_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, PRETENDED / "walk.py"], cwd=folder, env=variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(started):
    out, errors = started.communicate(timeout=LIMIT_S)
    return started.returncode, out, errors


def summary(said):
    return [line.split() for line in said.partition("summary\n")[2].splitlines()]


def test_it_is_cut_goes_on_ends_and_leaves_what_can_be_sent(tmp_path):
    """One test, since a second one might make another worker of pytest walk as well."""
    first = start(tmp_path)
    while not any("measurement" in path.read_text() for path in tmp_path.glob("my-results/*/compare/*.jsonl")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    code, out, errors = ended(first)
    assert code == 130
    assert "run it again to go on from here" in errors
    assert "third" not in out  # the framework that is missing

    code, out, errors = ended(start(tmp_path))
    assert code == 0, out + errors
    assert [line[:2] for line in summary(out)] == [[step, "done"] for step in STEPS]
    (results,) = tmp_path.glob("my-results/*")
    assert results.name.endswith("-pretended-1-gb")
    (path,) = results.glob("compare/*.jsonl")  # what was measured before the cut is kept
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = [line["type"] for line in lines]
    assert kinds.index("measurement") < kinds.index("resumed") < kinds.index("end") == len(kinds) - 1
    check_rows(results)
    check_energies([line for line in lines if line["type"] == "energy"])

    code, out, _ = ended(start(tmp_path))
    assert code == 0
    assert [line[-1] for line in summary(out)] == ["before"] * len(STEPS)
    files = [path for path in results.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".jsonl", ".log"}
    assert max(path.stat().st_size for path in files) < LARGEST


def check_rows(results):
    table = ganbench.load_results(results)
    assert set(table["target"]) == {"first", "second"}
    assert set(table["status"]) == {"ok"}
    assert (table[["latency_s", "device_s", "joules", "watts"]] > 0).all(axis=None)
    assert (table["sm_mhz"] == 1230).all()  # of 1234, to three digits
    assert (table["throttled"] == 1).all()


def check_energies(found):
    """A hundred watts, as exactly as they say."""
    assert found
    for one in found:
        assert one["joules"] / one["seconds"] == pytest.approx(100, rel=one["doubt"] + 0.001)
