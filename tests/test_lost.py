"""A worker that is killed at any request is a row with its reason; the run goes on and ends."""

import itertools
import os
import signal

import pytest

import ganbench
from ganbench.measure import process, rounds
from ganbench.results.records import PowerRecord

pytestmark = pytest.mark.workers


REQUESTS = ("Prepare", "Show", "Wait", "Warm", "FindCeilings", "Visit")


@pytest.mark.parametrize(("request_name", "late"), [*itertools.product(REQUESTS, (False, True)), ("Spend", False)])
def test_a_worker_may_be_killed_at_any_request(monkeypatch, request_name, late, tmp_path):
    ask, killed = process.Worker.ask, []
    # Only of another library are ceilings asked for, too; another mode of this one starts in a tenth of the time.
    ceilings = request_name == "FindCeilings"
    other = "torch" if ceilings else "numpy.inplace"

    def dying(self, request, *arguments):
        if type(request).__name__ == request_name and not killed and self.target.label == other:
            os.kill(self._process.pid, signal.SIGKILL)
            killed.append(request)
            if late:  # its end has been noticed before it is asked
                self._process.wait()
        return ask(self, request, *arguments)

    monkeypatch.setattr(process.Worker, "ask", dying)
    monkeypatch.setattr(rounds, "at_rest", lambda number, _: [PowerRecord(round=number, device="cpu", watts=1.0)])
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))
    run = ganbench.compare(
        ["numpy", other], preset="tiny", ops="matmul,adam_step", rounds=1, results=tmp_path, ceilings=ceilings,
        energy=True,
    )  # fmt: skip
    assert killed
    assert run.ended.how == "complete"
    rows = run.to_pandas().set_index(["operation", "target"])
    assert len(rows) == 4
    lost = rows[rows["status"] != "ok"]
    assert list(lost["status"].unique()) == ["out of memory"]
    assert "killed (SIGKILL)" in lost["reason"].iloc[0]
    assert len(lost) == 1
    assert (rows.loc[(slice(None), "numpy"), "status"] == "ok").all()
