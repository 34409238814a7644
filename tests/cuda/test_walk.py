"""``make gpu`` from beginning to end on a GPU that only pretends: cut, gone on with, complete, and all of it small."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ganbench

PRETENDED = Path(__file__).parents[1] / "support" / "pretended_gpu"
pytestmark = [pytest.mark.cuda, pytest.mark.slow]
STEPS = ("tests", "float32", "asv")
LARGEST = 1_000_000  # bytes of a file that is easily sent


def start(folder):
    hidden = {"CUDA_VISIBLE_DEVICES", "GANBENCH_CACHE"}
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    variables |= {"PYTHONPATH": str(PRETENDED), "GANBENCH_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, PRETENDED / "walk.py"], cwd=folder, env=variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def summary(said):
    return said.partition("summary\n")[2].splitlines()


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The folder of results, and what was said by the start that was cut, the one that went on, and one more."""
    folder = tmp_path_factory.mktemp("walk")
    first = start(folder)
    while not any("measurement" in path.read_text() for path in folder.glob("results/*/compare/*.jsonl")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    said = [(*first.communicate(timeout=60), first.returncode)]
    for _ in range(2):
        again = start(folder)
        said.append((*again.communicate(timeout=200), again.returncode))
    (results,) = folder.glob("results/*")
    return results, said


def test_it_is_cut_goes_on_and_ends(walked):
    results, ((_, told, cut), (out, _, code), (after, _, last)) = walked
    assert results.name.endswith("-pretended-1-gb")
    assert (cut, code, last) == (130, 0, 0), out
    assert "run it again to go on from here" in told
    assert [line.split()[:2] for line in summary(out)] == [[step, "done"] for step in STEPS]
    assert [line.split()[-1] for line in summary(after)] == ["before"] * len(STEPS)


def test_what_was_measured_before_the_cut_is_kept(walked):
    results, _ = walked
    (path,) = results.glob("compare/*.jsonl")
    kinds = [json.loads(line)["type"] for line in path.read_text().splitlines()]
    assert kinds.index("measurement") < kinds.index("resumed") < kinds.index("end") == len(kinds) - 1


def test_the_framework_that_is_missing_keeps_nobody_from_being_measured(walked):
    results, ((out, _, _), *_) = walked
    table = ganbench.load_results(results)
    assert set(table["target"]) == {"first", "second"}
    assert set(table["status"]) == {"ok"}
    assert "third" not in out
    assert (table[["latency_s", "device_s", "joules", "watts"]] > 0).all(axis=None)
    assert (table["sm_mhz"] == 1230).all()  # of 1234, to three digits
    assert (table["throttled"] == 1).all()


def test_energies_are_those_of_the_counter_as_exactly_as_they_say(walked):
    (path,) = walked[0].glob("compare/*.jsonl")
    found = [line for line in map(json.loads, path.read_text().splitlines()) if line["type"] == "energy"]
    assert found
    for one in found:
        assert one["joules"] / one["seconds"] == pytest.approx(100, rel=one["doubt"] + 0.001)


def test_every_file_is_small(walked):
    results, _ = walked
    files = [path for path in results.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".jsonl", ".log"}
    assert max(path.stat().st_size for path in files) < LARGEST
