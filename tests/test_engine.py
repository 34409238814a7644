"""The timing loop: what it times, what it resets, when it syncs."""

import numpy as np
import pytest
from clockwork import CLOCK, Queued, Queueing, Recording, Syncing
from ganbench.backends.numpy_backend import NumpyBackend

from ganbench import gpus
from ganbench.gan import preset
from ganbench.measure import engine
from ganbench.measure.engine import MAX_ITERATIONS, calibrate, first_call, is_steady, time_visit, warm_up
from ganbench.operations import operation


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(engine, "time", CLOCK)


def visit_log(name, number, iterations=1, wait=engine.LEAD_IN_S):
    program = Recording(iterations, wait)
    time_visit(Syncing(program), operation(name, preset("tiny")), program, number)
    return program.log


def test_a_visit_resets_syncs_leads_in_and_calls():
    """The sync after the last timed call waits for the one before it: one stays in flight, and is waited for after."""
    expected = "reset sync call call call call sync sync"
    assert visit_log("matmul", 3) == expected.split()


def test_the_lead_in_is_a_matter_of_time():
    assert visit_log("matmul", 3, wait=engine.LEAD_IN_S / 10).count("call") == 10 + 3
    assert visit_log("matmul", 3, wait=10 * engine.LEAD_IN_S).count("call") == 1 + 3


class InTurn(Recording):
    """Its calls return at once and are done one after the other, ``wait`` seconds each, as JAX does it."""

    def reset(self):
        self.done = CLOCK.now
        self.result = (CLOCK.now, "state")

    def __call__(self):
        CLOCK.now += 1e-5  # what the host takes to enqueue
        self.done = max(self.done, CLOCK.now) + self.wait
        self.result = (self.done, "state")


class WaitsForArrays(NumpyBackend):
    """Waits for what it is given only; the arrays of the state are gone once another call has taken them."""

    queues = True

    def mark(self, result):
        return result[0]

    def synchronize(self, result=None):
        CLOCK.now = max(CLOCK.now, result[0] if isinstance(result, tuple) else result)


@pytest.mark.parametrize("number", [1, 2, 8, 100])
def test_a_framework_that_queues_never_runs_dry(number):
    """Whatever the length of a visit, its time is that of a loop that goes on: no call waits for the host."""
    program = InTurn(wait=1e-3)
    timing = time_visit(WaitsForArrays(), operation("matmul", preset("tiny")), program, number)
    assert timing.seconds == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("number", [1, 5, 1000])
def test_nor_where_its_state_must_not_be_carried_on(number):
    program = InTurn(iterations=100, wait=1e-3)  # four calls at most from the staged state
    timing = time_visit(WaitsForArrays(), operation("adam_step", preset("tiny")), program, number)
    assert timing.seconds == pytest.approx(1e-5, rel=0.02)


@pytest.mark.parametrize(("iterations", "number"), [(1, 1000), (8, 130), (1, MAX_ITERATIONS), (200, 5)])
@pytest.mark.parametrize("wait", [1e-6, 1.0])
def test_state_is_never_carried_too_far(iterations, number, wait):
    runs = " ".join(visit_log("gan_iteration", number, iterations, wait)).split("reset")
    calls = [run.count("call") for run in runs if run.strip()]
    assert max(calls) * iterations <= MAX_ITERATIONS
    assert sum(calls) >= number


def test_time_is_per_iteration_and_matches_what_was_waited():
    program = Recording(iterations=4, wait=2e-3)
    timing = time_visit(Syncing(program), operation("matmul", preset("tiny")), program, 10)
    assert timing.seconds == pytest.approx(5e-4, rel=1e-3)
    assert timing.cores > 0


def test_calibration_reaches_the_length_of_a_visit():
    program = Recording(wait=1e-4)
    made = operation("matmul", preset("tiny"))
    number = calibrate(Syncing(program), made, program, 0.01)
    assert 100 <= number <= 130


def test_a_stall_does_not_pass_for_a_long_visit():
    """A single barrier that took 48 ms once fixed PyTorch's visits at one call of 40 µs."""

    class Stalling(Recording):
        stalls = 3

        def __call__(self):
            super().__call__()
            if self.stalls and self.log.count("call") > 1:
                self.stalls -= 1
                CLOCK.now += 0.02 if self.stalls % 2 == 0 else 0

    program = Stalling(wait=1e-4)
    assert calibrate(Syncing(program), operation("matmul", preset("tiny")), program, 0.01) >= 100


class Overlapped(Recording):
    """Works on while the host does something else; a call takes 1 ms."""

    busy_until = 0.0

    def __call__(self):
        super().__call__()
        CLOCK.now += 1e-6  # what the host takes to enqueue
        self.busy_until = max(self.busy_until, CLOCK.now) + 1e-3

    def outputs(self):
        return None


class Overlapping(Syncing):
    queues = True

    def mark(self, result):
        return self.program.busy_until

    def synchronize(self, result=None):
        CLOCK.now = max(CLOCK.now, self.program.busy_until if result is None else result)


@pytest.fixture
def slow_to_watch(monkeypatch):
    class SlowToWatch(engine.Watch):
        def __init__(self, device="cpu"):
            super().__init__(device)
            CLOCK.now += 2e-3  # as on a machine of many processors; a call in flight would end meanwhile

    monkeypatch.setattr(engine, "Watch", SlowToWatch)


@pytest.mark.usefixtures("slow_to_watch")
def test_a_queued_call_that_seems_to_take_no_time_does_not_make_visits_too_long():
    """A single queued call of JAX once fixed its visits at 100 calls, fifteen times as long as meant."""
    program = Overlapped()
    number = calibrate(Overlapping(program), operation("matmul", preset("tiny")), program, 0.01)
    assert 10 <= number <= 13


@pytest.mark.usefixtures("slow_to_watch")
@pytest.mark.parametrize("number", [1, 3])
def test_looking_at_the_machine_takes_nothing_off_the_time_of_what_is_queued(number):
    program = Overlapped()
    timing = time_visit(Overlapping(program), operation("matmul", preset("tiny")), program, number)
    assert timing.seconds == pytest.approx(1e-3, rel=0.01)


def test_a_program_that_never_settles_is_said_so():
    class Slowing(Recording):
        def __call__(self):
            self.wait += 3e-6
            super().__call__()

    program = Slowing()
    made = operation("matmul", preset("tiny"))
    result = warm_up(Syncing(program), made, program, cap_s=0.2)
    assert not result.steady


@pytest.mark.parametrize(
    ("samples", "steady"),
    [
        ([1.0] * 8, True),
        ([1.0, 1.01, 0.99, 1.0, 1.0, 0.99, 1.01, 1.0], True),
        ([1.3, 1.2, 1.1, 1.05, 1.0, 1.0, 1.0, 1.0], False),
        ([1.0, 1.001, 1.002, 1.003, 1.004, 1.005, 1.006, 1.007], False),
        ([1.0, 1.0, 1.0, 1.0, 1.2, 1.2, 1.2, 1.2], False),
    ],
)
def test_steadiness(samples, steady):
    assert is_steady(samples) is steady


def test_first_call_is_timed_apart():
    backend = NumpyBackend()
    spec = preset("tiny")
    made = operation("matmul", spec)
    images = np.zeros((8 * spec.batch, spec.img_dim))
    program, prepare_s, first_run_s = first_call(backend, made, made.inputs(0, "float32", images))
    assert prepare_s > 0
    assert first_run_s > 0
    assert program.outputs()[0].shape == (16, 36)


# Devices that queue work --------------------------------------------------------------------------------


def test_latency_throughput_and_device_time_are_told_apart():
    program = Queued()
    timing = time_visit(Queueing(program), operation("matmul", preset("tiny")), program, 100)
    assert timing.seconds == pytest.approx(1.01e-3, rel=0.01)
    assert timing.latency_s == pytest.approx(1.01e-3, rel=0.01)
    assert timing.device_s == pytest.approx(1.01e-3, rel=0.01)


@pytest.mark.parametrize(("name", "number"), [("matmul", 100), ("adam_step", MAX_ITERATIONS - 1)])
def test_clocks_are_read_while_the_device_works_and_outside_of_what_is_timed(monkeypatch, name, number):
    program, seen = Queued(), []

    def clocks():
        seen.append(program.queued)
        CLOCK.now += 0.5  # an answer that takes long
        return gpus.Clocks(1500, ("power cap",))

    monkeypatch.setattr(gpus, "clocks", lambda device: clocks)
    timing = time_visit(Queueing(program), operation(name, preset("tiny")), program, number)
    assert timing.seconds == pytest.approx(1.01e-3, rel=0.01)
    assert (timing.disturbance.sm_mhz, timing.disturbance.throttle) == (1500, ["power cap"])
    assert len(seen) == 1
    assert seen[0] > 0
    assert max(run.count("call") for run in " ".join(program.log).split("reset")) <= max(MAX_ITERATIONS, number + 7)


def test_without_events_there_is_no_device_time():
    program = Queued()
    timing = time_visit(Queueing(program, events=False), operation("matmul", preset("tiny")), program, 4)
    assert timing.device_s is None
    assert timing.latency_s > 0


def test_on_the_host_there_is_only_one_time():
    program = Recording(wait=1e-3)
    timing = time_visit(Syncing(program), operation("matmul", preset("tiny")), program, 4)
    assert (timing.latency_s, timing.device_s) == (None, None)


def test_a_visit_says_what_disturbed_it():
    program = Recording(wait=1e-3)
    seen = time_visit(Syncing(program), operation("matmul", preset("tiny")), program, 4).disturbance
    assert seen.sm_mhz is None
    assert seen.throttle == []
    assert seen.switches is None or seen.switches >= 0
    assert seen.steal is None or seen.steal >= 0
