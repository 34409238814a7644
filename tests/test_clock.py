"""A worker's clock is held against ours: a wrong one is found, and waiting is never taken for one."""

import contextlib
import subprocess
import sys
import time

import pytest
from hypothesis import given, strategies as st

from ganbench.gan import preset
from ganbench.machine.guard import workspace
from ganbench.measure.clock import GRAIN_S, Clock
from ganbench.measure.ledger import Timings
from ganbench.measure.plan import make_plan
from ganbench.measure.process import Worker
from ganbench.measure.protocol import CeilingVisit, FindCeilings, Prepared, Refusal, Timed, Warmed
from ganbench.results.records import Disturbance

WAITS = st.floats(0, 100)  # seconds: a busy machine may keep a message, or a process, as long as it likes
EXCHANGES = st.lists(st.tuples(WAITS, WAITS, WAITS, WAITS), min_size=1, max_size=30)


def exchanges(waits, theirs, now=1e5):
    """Yield what both clocks read where messages take so long; ``theirs`` is the worker's clock, a function of ours."""
    for before, there, work, back in waits:
        sent = now + before
        heard = sent + there
        said = heard + work
        now = said + back
        yield sent, theirs(heard), theirs(said), now


def compared(waits, theirs):
    clock = Clock()
    for readings in exchanges(waits, theirs):
        clock.compare(*readings)
    return clock.contradiction


@given(EXCHANGES, st.floats(-1e6, 1e6))
def test_a_clock_that_keeps_step_is_never_accused(waits, ahead):
    assert compared(waits, lambda now: now + ahead) == ""


@given(EXCHANGES, st.sampled_from([1 / 1.05, 1.05, 0.1]), st.floats(0, 100))
def test_one_that_does_not_is_found_once_it_is_further_off_than_any_message_explains(waits, rate, later):
    def theirs(now):
        return now + (rate - 1) * max(0.0, now - 1e5 - later)

    found = list(exchanges(waits, theirs))
    least, most = max(said - received for _, _, said, received in found), min(h - s for s, h, _, _ in found)
    assert bool(compared(waits, theirs)) == (least > most + GRAIN_S)
    quick = [(0.1, 1e-4, 0.03, 1e-4)] * 20  # after as many quick visits as take two seconds, it is
    assert compared([*waits, *quick, (later, 0.0, 0.0, 0.0), *quick], theirs)


def test_the_reason_says_how_far():
    clock = Clock()
    clock.compare(100.0, 7.0, 8.0, 101.0)
    clock.compare(201.0, 103.2380952, 103.2380952, 201.0)
    assert "shows 95.24 s between two messages, but ganbench's own clock shows 100 s" in clock.contradiction


def test_more_time_than_a_visit_took_is_impossible():
    timings = Timings(Prepared(0.1, 0.1, 2, ""), [], warmed=Warmed(10, 0.01, True, 0.0))
    for number, spent_s in enumerate([0.25, 0.15]):
        timings.visits[number] = Timed(0.01, 1.0, Disturbance())
        timings.spent_s.append(spent_s)
    assert "reports 0.2 s for a visit, but ganbench's own clock shows 0.15 s" in timings.misfit()
    timings.spent_s[1] = 3.0
    assert timings.misfit() == ""


@pytest.mark.workers
def test_a_worker_that_gets_no_processor_is_not_accused():
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            spinning = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(spinning.kill)
        folder = stack.enter_context(workspace())
        plan = make_plan(preset("tiny"), backends="numpy")
        worker = Worker(plan, plan.targets[0], folder)
        stack.callback(worker.stop)
        worker.wait()
        for _ in range(8):
            worker.pause()
            time.sleep(0.1)
            assert not isinstance(worker.ask(FindCeilings(), CeilingVisit), Refusal)
            assert worker.clock.contradiction == ""
