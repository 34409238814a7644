"""The study of denormals runs; what its numbers are on a machine is not tested."""

import json
import subprocess
import sys
from pathlib import Path

STUDY = Path(__file__).resolve().parents[1] / "benchmarks" / "studies" / "denormals.py"


def test_denormals_short(tmp_path):
    output = tmp_path / "rows.jsonl"
    command = [sys.executable, STUDY, "--short", "--output", output]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    trained = [row for row in rows if "iteration" in row]
    assert [row["iteration"] for row in trained] == 7 * [100, 200]
    assert {row["target"] for row in rows} == {"numpy", "torch", "torch.textbook", "jax"}
    assert all(row["seconds_per_iteration"] > 0 for row in rows)
    # Alone, with every moment denormal: each run but the one whose remedy leaves none.
    assert [row["adam_step"] for row in rows if "adam_step" in row] == 6 * ["normal", "denormal"]
