"""``ganbench compare`` as a user runs it: real processes, real frameworks, and a backend from outside."""

import json
import math
import os
import re
from functools import partial

import pytest
from commands import QUICK, cli, compared

import ganbench
from ganbench.cli.doctor import REACHED, advice, trial
from ganbench.machine.environment import TUNING, usable_cpus
from ganbench.measure.schedule import LEAST
from ganbench.results.run import open_run
from ganbench.results.statistics import Components, pass_logs, trimmed_mean
from ganbench.results.table import COLUMNS

pytestmark = pytest.mark.workers


def test_default_frameworks_measured_and_kept(tmp_path):
    rows = compared(tmp_path, "--backends", "numpy,torch,torch.textbook,jax", "--ops", "matmul,gan_iteration")
    assert len(rows) == 8
    for row in rows.values():
        assert row["status"] == "ok"
        assert row["median_s"] > 0
        assert row["gflops"] == pytest.approx(row["flops"] / row["median_s"] / 1e9)
        assert 0 <= row["max_rel_error"] < 1e-5
        assert row["first_call_s"] > 0
        assert row["threads"] == len(usable_cpus())
    assert rows["matmul", "numpy"]["verdict"] == "baseline"
    assert rows["matmul", "torch"]["verdict"] == "undecided"
    assert rows["gan_iteration", "jax"]["denormals"] == "flushed"
    assert rows["gan_iteration", "numpy"]["denormals"] == "kept"
    table = ganbench.load_results(tmp_path)
    assert list(table.columns) == COLUMNS
    assert len(table) == 8
    assert set(table["source"]) == {"compare"}
    assert all(len(samples) >= LEAST for samples in table["samples"])
    (path,) = tmp_path.glob("**/compare/*.jsonl")
    run = open_run(path)
    (ours, copy), (theirs, _) = (run.copies("matmul", name) for name in ("numpy", "torch"))
    logs = [trimmed_mean([*pass_logs(baseline[1], theirs[1]).values()]) for baseline in (ours, copy)]
    assert rows["matmul", "torch"]["ratio"] == pytest.approx(math.exp(sum(logs) / 2))
    assert 0 < run.duty < 1


FAILURES = [
    ("wrong", "invalid", "'c' is off by 0.01"),
    ("drifts", "invalid", "after it was timed, 'c' is off by 0.01"),
    ("raises", "failed", "ValueError: no product today"),
    ("unsupported", "unsupported", "matmul is beneath this backend"),
    ("unavailable", "unavailable", "out to lunch"),
    ("memory", "out of memory", "MemoryError"),
    ("crash", "failed", "SIGABRT"),
    ("late", "failed", "SIGABRT"),
    ("killed", "out of memory", "memory ran out"),
    ("rubbish", "failed", "it was asked to prepare, and its answer is not a message of ganbench: this is no message;"),
    ("forged", "failed", "it was asked to prepare, but answered another request (CeilingVisit)"),
    ("verbose", "failed", "xxx and no more"),
]


@pytest.fixture(scope="module")
def beside_failures(tmp_path_factory, outside):
    """One run of NumPy, of every target that fails, and of one whose framework prints to standard output."""
    targets = ["numpy", "outside.noisy", *(f"outside.{mode}" for mode, _, _ in FAILURES)]
    results = tmp_path_factory.mktemp("failures")
    return compared(results, "--backends", ",".join(targets), "--ops", "matmul,adam_step", env=outside)


@pytest.mark.parametrize(("mode", "status", "reason"), FAILURES)
def test_failing_backend_is_a_row_and_the_others_go_on(beside_failures, mode, status, reason):
    assert_failed_alone(beside_failures, mode, status, reason)
    assert len(beside_failures["matmul", f"outside.{mode}"]["reason"]) < 700


def test_a_backend_that_hangs_is_a_row_and_the_others_go_on(tmp_path, outside):
    rows = compared(tmp_path, "--backends", "numpy,outside.hang", "--ops", "matmul,adam_step", "--timeout", "20",
                    env=outside)  # fmt: skip
    assert_failed_alone(rows, "hang", "timeout", "did not answer within 20 s")


def assert_failed_alone(rows, mode, status, reason):
    """Assert that ``matmul`` failed for this target, and that whatever it does not spoil was measured."""
    row = rows["matmul", f"outside.{mode}"]
    assert row["status"] == status
    assert reason in row["reason"]
    assert row["median_s"] is None
    assert row["ratio"] is None
    assert rows["matmul", "numpy"]["status"] == "ok"
    other = rows["adam_step", f"outside.{mode}"]
    assert other["status"] == ("unavailable" if mode == "unavailable" else "ok"), other["reason"]


def test_output_of_a_framework_does_not_reach_the_channel(beside_failures):
    assert beside_failures["matmul", "outside.noisy"]["median_s"] > 0


def test_variables_that_tune_a_library_are_kept_and_said(tmp_path):
    own = {name: value for name, value in os.environ.items() if not TUNING.match(name)}
    set_here = {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "7", "CUDA_HOME": "/somewhere", "XLAMP": "lit"}
    done = cli(
        "compare", *QUICK, "--results", str(tmp_path), "--backends", "numpy", "--ops", "matmul", env=own | set_here
    )
    assert done.returncode == 0, done.stderr
    assert "environment variables that may change the times: OPENBLAS_CORETYPE=Haswell\n" in done.stdout
    (path,) = tmp_path.glob("*/compare/*.jsonl")
    header = json.loads(path.read_text().splitlines()[0])
    assert header["environment"]["tuning"] == ["OPENBLAS_CORETYPE=Haswell"]


def test_failed_baseline_leaves_times_without_ratios(tmp_path, outside):
    rows = compared(tmp_path, "--backends", "outside.raises,numpy", "--ops", "matmul", env=outside)
    assert rows["matmul", "numpy"]["median_s"] > 0
    assert rows["matmul", "numpy"]["ratio"] is None


def test_nothing_measured_is_exit_1_and_the_table_says_why(tmp_path):
    done = cli("compare", *QUICK, "--results", str(tmp_path), "--backends", "cupy,torch@cuda")
    assert done.returncode == 1
    assert "unavailable" in done.stdout
    assert "ganbench[cuda13]" in " ".join(done.stdout.split())
    assert "nothing was measured" in done.stderr


def test_gpu_absent_is_a_row_and_exit_0(tmp_path):
    rows = compared(tmp_path, "--backends", "numpy,torch", "--devices", "cpu,cuda", "--ops", "matmul")
    assert set(rows) == {("matmul", "numpy"), ("matmul", "torch"), ("matmul", "torch@cuda")}
    assert rows["matmul", "torch"]["status"] == "ok"


def test_batch_norm_of_two_rows_is_unsupported(tmp_path):
    rows = compared(tmp_path, "--backends", "numpy", "--ops", "batch_norm,matmul", "--batch", "2")
    assert rows["batch_norm", "numpy"]["status"] == "unsupported"
    assert "at least 3" in rows["batch_norm", "numpy"]["reason"]
    assert rows["matmul", "numpy"]["status"] == "ok"


def test_thread_setting_reaches_the_libraries(tmp_path):
    done = cli("compare", *QUICK, "--results", str(tmp_path), "--backends", "numpy,torch", "--threads", "1",
               "--ops", "matmul")  # fmt: skip
    assert done.returncode == 0
    lines = [json.loads(line) for line in next(tmp_path.glob("*/compare/*.jsonl")).read_text().splitlines()]
    workers = [line for line in lines if line["type"] == "worker"]
    assert workers
    for worker in workers:
        assert all(pool["num_threads"] == 1 for pool in worker["blas"])
    assert any("1 threads" in worker["libraries"] for worker in workers if worker["target"] == "torch")


def test_results_folder_not_writable_is_exit_2(tmp_path):
    (tmp_path / "file").write_text("")
    done = cli("compare", *QUICK, "--backends", "numpy", "--results", str(tmp_path / "file" / "results"))
    assert done.returncode == 2
    assert "--results" in done.stderr
    assert "Traceback" not in done.stderr


def test_formats_and_files_beside_the_table(tmp_path):
    base = ("compare", *QUICK, "--backends", "numpy", "--ops", "matmul", "--results", str(tmp_path / "results"))
    names = ["out.csv", "out.md", "out.json", "out.txt", "out.bmf.json", "out.github-action-benchmark.json"]
    done = cli(*base, *(word for name in names for word in ("--export", str(tmp_path / name))))
    assert done.returncode == 0
    for name in names:
        assert f"written: {tmp_path / name}" in done.stderr
    assert (tmp_path / "out.txt").read_text() == done.stdout
    assert (tmp_path / "out.md").read_text().count("\n| matmul | numpy |") > 1  # with details
    assert [row["target"] for row in json.loads((tmp_path / "out.json").read_text())] == ["numpy"]
    (name,) = json.loads((tmp_path / "out.bmf.json").read_text())
    assert [row["name"] for row in json.loads((tmp_path / names[-1]).read_text())] == [name]
    header, line = (tmp_path / "out.csv").read_text().splitlines()
    assert header.split(",")[:3] == ["run_id", "timestamp", "machine"]
    assert ",numpy," in line
    done = cli(*base, "--format", "markdown")
    assert "| operation | target |" in done.stdout
    assert "\n| matmul | numpy |" in done.stdout
    done = cli(*base, "--format", "table")
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
    assert "saved in" in done.stderr


def test_python_door(tmp_path):
    comparison = ganbench.compare(["numpy"], preset="tiny", ops=["matmul"], rounds=1, results=tmp_path, machine="here")
    table = comparison.to_pandas()
    assert comparison.path.parent == tmp_path / "here" / "compare"
    assert list(table.columns) == COLUMNS
    assert table["median_s"].notna().all()
    assert "matmul" in comparison._repr_html_()
    assert "matmul" in repr(comparison)
    kept = ganbench.load_results(tmp_path)
    assert kept.drop(columns="samples").equals(table.drop(columns="samples"))


def test_own_model_and_own_data(tmp_path):
    import numpy as np

    np.save(tmp_path / "rows.npy", np.random.default_rng(0).uniform(size=(50, 7)))
    (tmp_path / "model.toml").write_text(
        'generator = [3, 5, 7]\ndiscriminator = [7, 1]\nbatch = 3\nbatch_norm = true\nloss = "saturating"\n'
    )
    rows = compared(
        tmp_path, "--backends", "numpy", "--ops", "gan_iteration",
        "--model", str(tmp_path / "model.toml"), "--data", str(tmp_path / "rows.npy"),
    )  # fmt: skip
    row = rows["gan_iteration", "numpy"]
    assert row["status"] == "ok"
    assert row["preset"] == "model"


def test_more_rounds_give_intervals_and_a_control(tmp_path):
    done = cli("compare", "--preset", "tiny", "--rounds", "6", "--backends", "numpy,numpy.inplace", "--ops",
               "adam_step", "--format", "json", "--results", str(tmp_path))  # fmt: skip
    base, other = json.loads(done.stdout)
    assert base["rounds"] == other["rounds"] == 6
    for row in (base, other):
        assert row["ci_low_s"] <= row["median_s"] <= row["ci_high_s"]
        assert row["control_low"] <= row["control_ratio"] <= row["control_high"]
    assert other["ratio_low"] <= other["ratio"] <= other["ratio_high"]


def test_list_shows_what_is_outside_and_what_is_broken(outside):
    done = cli("list", env=outside)
    assert done.returncode == 0
    assert "  outside 1.2.3\n" in done.stdout
    assert ".wrong      is off by 1 %" in done.stdout
    assert "backend 'broken' does not load: ModuleNotFoundError" in done.stdout
    assert "mnist-mlp " in done.stdout


def test_verify_prints_every_group_and_fails_on_what_is_wrong(outside):
    done = cli("verify", "--preset", "tiny", "--backends", "numpy", "--ops", "gan_iteration")
    assert done.returncode == 0
    assert "discriminator m " in done.stdout
    assert "invalid" not in done.stdout
    done = cli("verify", "--preset", "tiny", "--backends", "outside.wrong", "--ops", "matmul", env=outside)
    assert done.returncode == 1
    assert "invalid: 'c' is off by 0.01" in done.stdout


@pytest.mark.usefixtures("every_processor")
def test_what_several_threads_compute_is_right():
    done = cli("verify", "--preset", "mnist-mlp", "--backends", "numpy,torch,torch.manual,jax", "--ops",
               "gan_iteration")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "invalid" not in done.stdout


def test_doctor_examines_every_backend(monkeypatch, ganbench_cli):
    monkeypatch.setattr("ganbench.cli.doctor.trial", partial(trial, 2))  # test_portability runs it in full
    code, out, _ = ganbench_cli("doctor")
    assert code == 0
    for expected in ("processor", "numpy", "torch", "jax", "cupy       missing", "threads", "disturb"):
        assert expected in out
    assert "control (numpy / its second copy): matmul " in out
    rounds, visits = REACHED["a default run"]
    assert f"a default run of three frameworks ({rounds} rounds, about {visits} visits" in out
    if len(usable_cpus()) > 1:
        assert "with --threads 1, a default run of three frameworks" in out
        assert re.search(r"to detect less than \d+%, (compare with --threads 1|give a run more time)", out)


@pytest.mark.parametrize(("noise", "word"), [(0.3, "compare with --threads 1"), (0.1, "give a run more time")])
def test_doctor_says_whether_threads_or_time_make_a_machine_noisy(noise, word):
    found, alone = ({"matmul": Components(within=one**2, between=0.0)} for one in (noise, 0.08))
    assert advice(found, alone, 2).partition(", ")[2].startswith(word)


@pytest.mark.parametrize("limit", [{"rounds": 3}, {"budget_s": 6.0}], ids=str)
def test_progress_never_goes_back(limit):
    shares = []
    ganbench.compare(
        "numpy", preset="tiny", ops="matmul", results=None, ceilings=False, **limit,
        progress=lambda share, text: shares.append(share),
    )  # fmt: skip
    assert shares == sorted(shares)
    assert 0 < shares[-1] < 1
