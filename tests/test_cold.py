"""Cold caches: what is timed, what is displaced before it, and that such runs are never taken for others."""

import json

import pytest
from clockwork import CLOCK, Queued, Queueing, Recording, Syncing

import ganbench
from ganbench.errors import UnsupportedError, UsageError
from ganbench.gan import MAX_ITERATIONS, preset
from ganbench.measure import cold, engine, plan
from ganbench.operations import operation
from ganbench.results.differences import obstacles
from ganbench.results.run import open_run

DISPLACING_S = 0.02


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(engine, "time", CLOCK)
    monkeypatch.setattr(cold, "time", CLOCK)


def displacing(backend, program):
    """Visits in which displacing takes time on the clock, and is written into the log of the program."""

    def displace():
        program.log.append("displace")
        CLOCK.now += DISPLACING_S

    backend.cache_displacer = lambda: displace
    made = cold.Cold(backend)
    made.displace = displace
    return made.time_visit


def test_each_call_is_waited_for_and_its_caches_are_displaced_before_it():
    program = Recording(wait=engine.LEAD_IN_S)
    backend = Syncing(program)
    timed = displacing(backend, program)(backend, operation("matmul", preset("tiny")), program, 2)
    assert program.log == "reset sync call sync displace call sync displace call sync sync".split()
    assert timed.seconds == pytest.approx(engine.LEAD_IN_S, rel=1e-3)
    assert timed.displace_s == pytest.approx(DISPLACING_S, rel=1e-3)
    assert (timed.latency_s, timed.device_s) == (None, None)


def test_on_a_device_what_lies_between_two_events_is_timed():
    program = Queued()
    backend = Queueing(program)
    timed = displacing(backend, program)(backend, operation("matmul", preset("tiny")), program, 3)
    assert program.log[-6:] == ["displace", "call"] * 3
    assert timed.seconds == timed.device_s == pytest.approx(1e-3, rel=0.02)


def test_state_is_not_carried_too_far():
    program = Recording(iterations=100, wait=1.0)
    backend = Syncing(program)
    displacing(backend, program)(backend, operation("adam_step", preset("tiny")), program, 9)
    calls = [run.count("call") for run in " ".join(program.log).split("reset")]
    assert max(calls) == MAX_ITERATIONS // 100
    assert sum(calls) >= 9


def test_what_is_written_counts_for_the_length_of_a_visit():
    program = Recording(wait=1e-4)
    backend = Syncing(program)
    timer = displacing(backend, program)
    warm = engine.warm_up(backend, operation("matmul", preset("tiny")), program, 0.0, timer=timer, visit_s=0.1)
    assert warm.number == 5
    assert warm.displace_s == pytest.approx(DISPLACING_S, rel=1e-3)


def test_a_backend_from_before_says_that_it_cannot():
    program = Queued()
    with pytest.raises(UnsupportedError, match="backend 'numpy' cannot displace what is in a GPU's cache"):
        cold.Cold(Queueing(program))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"caches": "cool"}, "unknown caches 'cool' \\(known: cold, warm\\)"),
        ({"caches": "cold"}, "for single operations, not for gan_iteration: choose with --ops from matmul, "),
        ({"caches": "cold", "ops": "matmul", "threads": 2}, "for one thread, not 2: .* pass --threads 1"),
        (
            {"caches": "cold", "ops": "matmul", "energy": True},
            "--energy .* cannot be given together with --caches cold",
        ),
    ],
)
def test_what_cannot_be_cold_is_refused(settings, words, monkeypatch):
    monkeypatch.setattr(plan, "usable_cpus", lambda: [0, 1])
    with pytest.raises(UsageError, match=words):
        plan.make_plan(preset("tiny"), backends="numpy", **settings)


def test_cold_runs_are_compared_with_cold_ones_only(craft, tmp_path, ganbench_cli):
    warm, other = craft(tmp_path), craft(tmp_path, caches="cold")
    assert [one.name for one in obstacles(open_run(warm), open_run(other))] == ["caches"]
    assert obstacles(open_run(warm), open_run(craft(tmp_path))) == []
    code, _, err = ganbench_cli("diff", warm, other)
    assert code == 2
    assert "caches warm / cold" in err
    code, out, _ = ganbench_cli("report", tmp_path)
    assert "cold caches, " in out
    assert out.count("speed relative to numpy") == 2  # a context each
    table = ganbench.report.ratio_matrix(ganbench.load_results(tmp_path))
    assert "caches" in table.index.names
    assert ", cold caches, " in ganbench_cli("results", "show", other)[1].splitlines()[0]
    assert "cold" not in ganbench_cli("results", "show", warm)[1]


def test_a_file_from_before_was_warm(craft, tmp_path):
    path = craft(tmp_path)
    head, *lines = path.read_text().splitlines()
    made = json.loads(head)
    del made["caches"], made["energy"]
    path.write_text("\n".join([json.dumps(made), *lines]) + "\n")
    run = open_run(path)
    assert (run.header.caches, run.header.energy) == ("warm", False)
    assert set(ganbench.load_results(tmp_path)["caches"]) == {"warm"}


@pytest.mark.workers
def test_a_cold_run_is_made_resumed_and_shown(ganbench_cli, tmp_path, monkeypatch):
    asked = ("compare", "--backends", "numpy", "--preset", "tiny", "--ops", "matmul,adam_step", "--threads", "1",
             "--results", tmp_path)  # fmt: skip
    code, out, _ = ganbench_cli(*asked, "--rounds", "1", "--caches", "cold", "--format", "json")
    assert code == 0
    rows = json.loads(out)
    assert {row["caches"] for row in rows} == {"cold"}
    assert all(row["median_s"] > 0 for row in rows)
    (path,) = tmp_path.glob("**/*.jsonl")
    assert ganbench_cli("compare", "--resume", path, "--rounds", "2", "--results", tmp_path)[0] == 0
    assert ganbench_cli("compare", "--resume", path, "--caches", "warm", "--results", tmp_path)[0] == 2
