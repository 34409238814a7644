"""Ceilings are evidence, not law: when those of an earlier run count, and what follows if a program is faster."""

import json
from collections import namedtuple

import pytest

import ganbench
from ganbench.machine import processes
from ganbench.measure import run_ceilings, session
from ganbench.measure.ledger import Ledger
from ganbench.measure.plan import make_plan
from ganbench.report.notes import remarks
from ganbench.results.bounds import busy
from ganbench.results.records import Ceiling, CeilingRecord

FAR_OFF = 1e6  # times the truth


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("GANBENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def calm(monkeypatch):
    """Whatever else this machine does, ceilings are measured as on a calm one."""
    monkeypatch.setattr(processes.OtherWork, "share", lambda self: 0.0)
    monkeypatch.setattr(run_ceilings, "busy", lambda record: False)


@pytest.fixture
def measured(monkeypatch):
    """What is measured of the processor and of a library, far too little, without measuring; returns the counts."""
    counts = {"host": 0, "library": 0}

    def of(name, kind):
        def measure(*_):
            counts[name] += 1
            return [Ceiling(kind, 256, 1.0, 0.0)]

        return measure

    monkeypatch.setattr(run_ceilings, "measure_bandwidth", of("host", "bandwidth"))
    monkeypatch.setattr(run_ceilings, "_found_by", of("library", "product"))
    return counts


def compared(**settings):
    asked = {"preset": "tiny", "ops": ["matmul"], "rounds": 1, "threads": 1, "results": None}
    return ganbench.compare("numpy", **asked | settings)


def ceilings_of(run):
    return [record for record in run.records if isinstance(record, CeilingRecord)]


def row_of(run):
    (row,) = run.to_pandas().to_dict("records")
    return row


@pytest.mark.workers
def test_they_are_kept_for_the_next_run_and_measured_anew_on_request(cache, calm, monkeypatch):
    counted = []
    enough = [Ceiling("bandwidth", 2**18, 1e15)]
    monkeypatch.setattr(run_ceilings, "measure_bandwidth", lambda *_: counted.append(1) or enough)
    first, second = ceilings_of(compared()), ceilings_of(compared())
    assert first == second  # also when they were measured
    assert [record.library for record in first] == ["host", "numpy"]
    assert all(record.measured.startswith("20") for record in first)
    assert len(counted) == 1
    compared(fresh_ceilings=True)
    compared(dtype="float64")
    assert len(counted) == 3
    for kept in cache.iterdir():
        kept.write_text("{}")
    compared()
    assert len(counted) == 4  # what cannot be read is measured anew


@pytest.mark.workers
@pytest.mark.parametrize(("kind", "library"), [("product", "numpy"), ("bandwidth", "host")])
def test_one_that_an_honest_program_beats_is_measured_again_before_anything_is_impossible(cache, calm, kind, library):
    compared()
    for path in cache.iterdir():
        record = json.loads(path.read_bytes())
        for one in record["found"]:
            one["value"] *= FAR_OFF ** (-1 if one["kind"] == kind else 1)
        path.write_text(json.dumps(record))
    run = compared()
    assert row_of(run)["status"] == "ok"
    assert [record.library for record in ceilings_of(run)] == ["host", "numpy", library]
    again = compared()  # what was measured again is kept
    assert [record.library for record in ceilings_of(again)] == ["host", "numpy"]
    assert row_of(again)["status"] == "ok"


@pytest.mark.workers
def test_a_program_that_beats_what_was_measured_again_is_impossible(calm, measured):
    """As one does that does not do its work: its own time raises no ceiling."""
    run = compared(rounds=3)
    assert measured == {"host": 2, "library": 2}  # in the first round, before and after the visits, and no more
    row = row_of(run)
    assert row["status"] == "impossible"
    (first, *_) = ceilings_of(run)
    ceiling = f"1e-09 G{'FLOP' if row['bound'] == 'compute' else 'B'}/s"
    library = "numpy" if row["bound"] == "compute" else "host"
    assert f"({row['bound']}): {ceiling} ({library}, measured {first.measured[:10]})" in row["reason"]
    assert "--fresh-ceilings" in row["reason"]
    assert measured == {"host": 2, "library": 2}
    compared()
    assert measured == {"host": 3, "library": 3}  # those of the first run, and then again


@pytest.mark.workers
def test_those_of_a_busy_machine_are_used_told_and_not_kept(cache, measured, monkeypatch):
    monkeypatch.setattr(processes.OtherWork, "share", lambda self: 0.5)
    run = compared(rounds=2)
    assert measured == {"host": 3, "library": 3}  # at the end of every round, until the machine is calm
    assert not cache.exists()
    assert row_of(run)["status"] == "impossible"
    assert "while other work took 50% of the processors' time)" in row_of(run)["reason"]
    (line,) = [line for line in remarks(run, run.to_pandas()) if "busy" in line]
    assert line == (
        "ceilings (host on cpu, numpy on cpu) are of a busy machine and may be too low: other work took 50% of the "
        "processors' time meanwhile; they are not kept for later runs"
    )
    monkeypatch.setattr(processes.OtherWork, "share", lambda self: 0.01)
    run = compared()
    assert len(list(cache.iterdir())) == 2
    assert not [line for line in remarks(run, run.to_pandas()) if "busy" in line]


@pytest.mark.parametrize(
    ("others", "scatters", "expected"),
    [
        (None, [None], False),  # of an earlier version, or a system that does not tell
        (0.05, [0.02, 0.5, 0.03], False),  # one repeat may be lucky
        (0.2, [0.0], True),
        (0.0, [0.2, 0.3, 0.01], True),  # the repeats of most sizes disagree
    ],
)
def test_a_machine_is_busy_if_others_work_or_repeats_disagree(others, scatters, expected):
    found = [Ceiling("product", 256, 1e9, scatter) for scatter in scatters]
    assert busy(CeilingRecord("numpy", "cpu", found, others=others)) == expected


def test_the_scatter_is_between_the_two_best_repeats():
    for kind, best in (("product", Ceiling("product", 1, 10.0, 0.25)), ("latency", Ceiling("latency", 1, 1.0))):
        assert Ceiling.best_of([Ceiling(kind, 1, value) for value in (8.0, 1.0, 10.0)]) == best


def test_others_are_those_that_are_neither_this_process_nor_its_descendants(monkeypatch):
    Times = namedtuple("Times", "user system idle iowait steal guest")
    clock, own, child = [0.0], [0.0], [0.0]
    cpus = [Times(0, 0, 0, 0, 0, 0), Times(0, 0, 0, 0, 0, 0)]
    monkeypatch.setattr(processes.psutil, "cpu_times", lambda percpu: cpus)
    monkeypatch.setattr(processes.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(processes.os, "times", lambda: (own[0], 0, 0, 0, clock[0]))
    descendant = namedtuple("Process", "cpu_times")(lambda: (child[0], 0, 0, 0))
    monkeypatch.setattr(processes, "_descendants", lambda: [descendant])
    both, second = processes.OtherWork(()), processes.OtherWork([1])
    cpus[:] = [Times(10, 0, 0, 0, 0, 0), Times(2, 1, 4, 1, 2, 2)]
    clock[0], own[0], child[0] = 10.0, 1.0, 2.0
    monkeypatch.setattr(processes.psutil, "cpu_count", lambda: 2)
    assert both.share() == (10 + 5 - 3) / 20  # the host's share is work of others, what waits for a disk is none
    assert second.share() == (5 - 3) / 10


def test_others_are_looked_for_on_the_right_processors_where_some_are_switched_off(monkeypatch):
    """As with ``echo off > /sys/devices/system/cpu/smt/control`` where the two threads of a core are neighbours."""
    Times = namedtuple("Times", "user idle")
    clock, cpus = [0.0], [Times(0, 0), Times(0, 0)]
    monkeypatch.setattr(processes.psutil, "cpu_times", lambda percpu: cpus)
    monkeypatch.setattr(processes, "told_by", lambda path: "cpu  0 0\ncpu0 0 0\ncpu2 0 0\nintr 7\n")
    monkeypatch.setattr(processes.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(processes.os, "times", lambda: (0.0, 0.0, 0.0, 0.0, clock[0]))
    monkeypatch.setattr(processes, "_descendants", list)
    others = processes.OtherWork([0, 2])
    clock[0], cpus[:] = 10.0, [Times(0, 10), Times(8, 2)]
    assert others.share() == 8 / 20


def test_a_run_that_goes_on_knows_its_ceilings():
    record = CeilingRecord("numpy", "cpu", [Ceiling("product", 256, 1e9)])
    ledger = Ledger(lambda _: None)
    session.recall(make_plan(backends="numpy"), [record], ledger)
    assert ledger.ceilings == [record]
