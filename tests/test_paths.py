"""One real path through each part, with real processes: what a newcomer's `make test` runs of them.

All else that starts processes, and every fault that may befall them, is for `make test-all`.
"""

import json

import fleets
from trainings import FILES, train

import ganbench
from ganbench.training.log import read_losses
from ganbench.training.state import load_state


def test_compare_resume_and_page(ganbench_cli, tmp_path):
    """A run of two targets; one more round of it; its table again, and its page."""
    where = ("--results", tmp_path)
    asked = ("--backends", "numpy,torch", "--preset", "tiny", "--ops", "matmul,gan_iteration", "--rounds", "1")
    code, out, err = ganbench_cli("compare", *asked, "--format", "json", *where)
    assert code == 0, err
    rows = {(row["operation"], row["target"]): row for row in json.loads(out)}
    assert len(rows) == 4
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert rows["matmul", "numpy"]["verdict"] == "baseline"
    assert all(row["median_s"] > 0 for row in rows.values())

    (path,) = tmp_path.glob("*/compare/*.jsonl")
    code, printed, err = ganbench_cli("compare", "--resume", path, "--rounds", "2", *where)
    assert code == 0, err
    assert ganbench_cli("results", "show", path)[:2] == (0, printed)
    assert set(ganbench.load_results(tmp_path)["rounds"]) == {2}

    code, _, err = ganbench_cli("report", tmp_path, "--html", tmp_path / "page.html")
    assert code == 0, err
    assert "gan_iteration" in (tmp_path / "page.html").read_text()


def test_train_and_resume(tmp_path):
    train("numpy", tmp_path, iterations=16)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    train("numpy", tmp_path, iterations=24, spec=None, resume=tmp_path / "state.npz")
    assert load_state(tmp_path / "state.npz").step == 24
    assert read_losses(tmp_path)[:, 0].tolist() == [*range(1, 25)]


def test_a_fleet_of_this_machine(tmp_path):
    env = fleets.environment(tmp_path)
    plan, results = fleets.write_plan(tmp_path, fleets.ONE), tmp_path / "results"
    done = fleets.fleet("run", plan, "--cluster", "local:2", "--results", results, env=env)
    assert done.returncode == 0, done.stderr
    (run,) = fleets.kept(results)
    assert {line["status"] for line in run if line["type"] == "measurement"} == {"ok"}
    assert "1 of 1 runs are done" in fleets.fleet("status", plan, "--results", results, env=env).stdout
    assert fleets.running(tmp_path) == []
