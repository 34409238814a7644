"""The study of denormals runs, and its numbers are documented as they are; what they must be is not tested."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from patience import LIMIT_S

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "benchmarks" / "studies" / "denormals.py"


@pytest.mark.studies
def test_denormals_short(tmp_path):
    output = tmp_path / "rows.jsonl"
    command = [sys.executable, STUDY, "--short", "--output", output]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    trained = [row for row in rows if "iteration" in row]
    assert [row["iteration"] for row in trained] == 7 * [100, 200]
    assert {row["target"] for row in rows} == {"numpy", "torch", "torch.textbook", "jax"}
    assert all(row["seconds_per_iteration"] > 0 for row in rows)
    # Alone, with every moment denormal: each run but the one whose remedy leaves none.
    assert [row["adam_step"] for row in rows if "adam_step" in row] == 6 * ["normal", "denormal"]


def test_the_documentation_shows_what_the_file_says():
    rows = [json.loads(line) for line in (ROOT / "results" / "studies" / "denormals.jsonl").read_text().splitlines()]
    shown = [line for line in (ROOT / "docs" / "training.md").read_text().splitlines() if line.count("|") == 7][2:]
    runs = list(dict.fromkeys((row["target"], row["remedy"]) for row in rows))
    assert len(shown) == len(runs) == 7
    for line, name in zip(shown, runs, strict=True):
        mine = [row for row in rows if (row["target"], row["remedy"]) == name]
        trained = [row for row in mine if "iteration" in row]
        times = [row["seconds_per_iteration"] for row in trained]
        expected = [statistics.median(times[:4]), statistics.median(times[-4:])]
        expected += [row["seconds_per_iteration"] for row in mine if "adam_step" in row]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0].startswith(f"`{name[0]}`")
        assert [cell for cell in cells if cell.endswith(" ms")] == [f"{1e3 * seconds:.2f} ms" for seconds in expected]
        assert cells[3] == f"{max(row['denormals'] for row in trained):,}"
