"""What the gate alone does not see: a sync that does not wait, and a state that goes wrong while it is timed."""

from pathlib import Path

import numpy as np
import pytest
from clockwork import CLOCK, Recording
from commands import cli, compared
from ganbench.backends.numpy_backend import NumpyBackend

from ganbench import gan
from ganbench.measure.oracle import Examine, OracleClient
from ganbench.measure.plan import make_plan
from ganbench.measure.rounds import stage
from ganbench.operations.fresh import FreshInputs
from ganbench.operations.networks import GANIteration
from ganbench.results.run import open_run, run_files
from ganbench.verification import sync_check
from ganbench.verification.answers import IMAGES

pytestmark = pytest.mark.workers


@pytest.fixture(scope="module")
def rows(tmp_path_factory, outside):
    modes = ("lazy", "thread", "tires", "breaks", "garbles")
    targets = ",".join(["numpy", *(f"outside.{mode}" for mode in modes)])
    results, found = tmp_path_factory.mktemp("results"), {}
    # Products long enough to be left, and steps so short that a visit makes many, on a busy machine, too.
    for preset, operation in (("mnist-mlp", "matmul"), ("tiny", "adam_step")):
        found |= compared(results, "--preset", preset, "--backends", targets, "--ops", operation, env=outside)
    return found


@pytest.mark.parametrize("mode", ["lazy", "thread"])
def test_a_sync_that_does_not_wait_is_found(rows, mode):
    row = rows["matmul", f"outside.{mode}"]
    assert row["status"] == "invalid"
    assert "of work were left when synchronize() returned" in row["reason"]
    assert rows["adam_step", f"outside.{mode}"]["status"] == "ok"


@pytest.mark.parametrize(("mode", "what"), [("tires", "is off by"), ("breaks", "is not finite")])
def test_the_state_that_a_timed_visit_leaves_is_examined(rows, mode, what):
    row = rows["adam_step", f"outside.{mode}"]
    assert row["status"] == "invalid"
    assert row["reason"].startswith("after it was timed, ")
    assert what in row["reason"]
    assert rows["matmul", f"outside.{mode}"]["status"] == "ok"


def test_a_program_that_is_suddenly_faster_is_examined(tmp_path, outside):
    env = {**outside, "OUTSIDE_BEEN": str(tmp_path / "been")}
    what = ("--preset", "tiny", "--backends", "numpy,outside.later", "--ops", "adam_step", "--rounds", "2")
    assert cli("compare", *what, "--results", tmp_path / "r", env=env).returncode == 0
    (file,) = run_files(tmp_path / "r")
    rows = [row for row in open_run(file).measurements if row.target == "outside.later"]
    assert [row.status for row in rows] == ["ok", "invalid"]
    assert rows[1].reason.startswith("after it was timed, ")


def test_outputs_that_are_no_arrays_are_a_row(rows):
    assert rows["matmul", "outside.garbles"]["status"] in ("failed", "invalid")


def test_the_others_stand(rows):
    assert {rows[name, "numpy"]["status"] for name in ("matmul", "adam_step")} == {"ok"}


def test_new_pages_of_memory_do_not_pass_for_work_that_was_left(monkeypatch):
    """NumPy was once refused for 2 ms, which the system took to give the 4 MB that a first look needs."""
    monkeypatch.setattr(sync_check, "new_pages_s", lambda count: 2.4e-6 * count)
    copies = sync_check.Look(0.0004, 0)
    assert sync_check.beyond(sync_check.Look(0.0026, 914), 0.001, lambda: copies) == 0
    assert sync_check.beyond(sync_check.Look(0.0046, 914), 0.001, lambda: copies) == pytest.approx(0.002, rel=0.01)
    assert sync_check.beyond(sync_check.Look(0.0026, 0), 0.001, lambda: copies) == pytest.approx(0.0022)
    assert sync_check.beyond(sync_check.Look(0.0009, 0), 0.001, lambda: pytest.fail("nothing was to be compared")) == 0


def test_what_new_pages_cost_is_measured_and_nothing_is_nothing():
    assert sync_check.new_pages_s(0) == sync_check.new_pages_s(-5) == 0
    assert sync_check.new_pages_s(1000) > 0


@pytest.mark.parametrize(("each", "work", "keeps", "left"), [
    (0.002, 0, False, 0),
    (0.002, 0.001, True, 0.008),
    (0.002, 0.001, False, 0.007),  # it computes one call again
])  # fmt: skip
def test_what_a_look_itself_takes_does_not_pass_for_work_that_was_left(each, work, keeps, left, monkeypatch):
    """TensorFlow was once refused for the millisecond in which 31 variables are read and rearranged."""

    class Arranging(Recording):
        def outputs(self):
            left = self.log[::-1].index("reset")  # calls since
            CLOCK.now += each + work * left
            if keeps:
                self.log.append("reset")
            return []

    monkeypatch.setattr(sync_check, "time", CLOCK)
    assert sync_check.unfinished(NumpyBackend(), Arranging(wait=0.001), 8, 0.05) == pytest.approx(left, abs=1e-5)


@pytest.mark.parametrize(
    ("lazy", "tries", "left"),
    [("........", 5, 0), ("x.x.x...", 8, 0), ("xxx.....", 8, 0), ("x.x.x.x.", 8, 0.005), ("xxxxxxxx", 8, 0.01)],
)
def test_a_program_is_asked_for_earlier_results_until_the_median_is_known(lazy, tries, left, monkeypatch):
    class Undone(Recording):
        def __call__(self):
            super().__call__()
            self.result = len(self.log)

    class Lazy(NumpyBackend):
        def synchronize(self, result=None):
            if result % 2 and result not in done:  # the first of two calls
                done.append(result)
                CLOCK.now += 0.01 * (lazy[len(done) - 1] == "x")

    program, done = Undone(wait=0.001), []
    monkeypatch.setattr(sync_check, "time", CLOCK)
    assert sync_check.left_before(Lazy(), program) == pytest.approx(left, abs=1e-5)
    assert len(program.log) == 2 * tries


def test_checks_that_are_asked_for_together_are_answered_each_with_its_own(tmp_path):
    plan = make_plan(gan.preset("tiny"), backends="numpy", ops=["gan_iteration"])
    seen, case = stage(plan), GANIteration(plan.spec)
    np.save(tmp_path / IMAGES, seen)
    oracle = OracleClient(plan, str(tmp_path))

    def left(calls, share=1):
        for _ in range(calls):
            program()
        with Path(file := oracle.file()).open("wb") as stream:
            for array in program.outputs():
                np.save(stream, array * share)
        return file

    try:
        oracle.draw(1)
        inputs = case.inputs(oracle.inputs()[case.name][0], plan.dtype, seen)
        program, fresh = NumpyBackend().prepare(case, inputs), FreshInputs(case, inputs)
        passes, asked = [True, False, False, True, True, False], []
        for seed, share in enumerate([1 if one else 1.01 for one in passes]):
            program.stage(fresh(seed))
            examined = left(2), left(1, share)
            program.stage(fresh(seed))
            asked.append(oracle.examine(Examine(case.name, seed, 2, 1, 1, (*examined, left(1)))))
            program.stage(fresh(0))
            asked.append(oracle.compare(case.name, 1, [(1, left(1, share))]))
        oracle.settle()
        assert [one.reply.passed for one in asked] == [one for one in passes for _ in range(2)]
    finally:
        oracle.stop()
