"""Without a terminal a log is read: it hears at once what is done, and then how far it is. A bar needs no thread."""

import math
import threading

from patience import LIMIT_S

from ganbench.cli import terminal
from ganbench.results.run import open_run


def test_a_report_says_at_once_what_it_reads(ganbench_cli, craft, tmp_path):
    craft(tmp_path / "r")
    for asked in ((), ("--by", "commit"), ("--html", tmp_path / "x.html"), ("--picture", tmp_path / "x.svg")):
        code, _, err = ganbench_cli("report", tmp_path / "r", *asked)
        assert code == 0
        assert err.startswith(f"ganbench: reading {tmp_path / 'r'}")
        assert " seconds" in err.splitlines()[0]


def test_a_log_hears_at_once_what_is_done_and_then_how_far_it_is(ganbench_cli, monkeypatch, craft, tmp_path):
    heard: list[str] = []
    spoken = threading.Event()

    def say(text):
        heard.append(text)
        if "done" in text:
            spoken.set()

    def carried_out(plan, results, machine, say, progress):
        assert heard == [
            "numpy, torch on matmul of tiny: up to 85 s "
            "(up to 170 s if 5 rounds need it; or one round, if that takes longer)"
        ]
        progress(0.25, "round 2: timing matmul\nso far, matmul relative to numpy: torch 2.00")
        assert spoken.wait(LIMIT_S)
        return open_run(craft(tmp_path))

    monkeypatch.setattr(terminal, "EVERY_S", 0.01)
    monkeypatch.setattr(terminal, "say", say)
    monkeypatch.setattr("ganbench.measure.session.carry_out", carried_out)
    code, _, _ = ganbench_cli("compare", "--backends", "numpy,torch", "--preset", "tiny", "--ops", "matmul")
    assert code == 0
    assert heard[1] == "25% done, round 2: timing matmul; so far, matmul relative to numpy: torch 2.00"


def test_a_bar_is_drawn_by_no_thread_that_would_run_beside_what_is_timed(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(terminal, "DRAWN_S", math.inf)
    before = threading.active_count()
    with terminal.progress_bar() as show:
        for number in range(1, 4):
            show(number / 10, f"round {number}: timing matmul")
        show(0.5, "round 3: timing adam_step\nso far, matmul relative to numpy: torch 2.00")
        assert threading.active_count() == before
    drawn = capsys.readouterr().err
    assert "round 1: timing matmul" in drawn
    assert "round 2" not in drawn  # only the number has changed
    assert "round 3: timing adam_step" in drawn
    assert "torch 2.00" in drawn
