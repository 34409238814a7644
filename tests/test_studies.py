"""The studies' short modes leave whole files, and documents show what the files say. No timing is judged."""

import json
import sys

import numpy as np
import pytest
from study_runs import NAMES, ROOT, STUDIES, UNPICTURED, aa_runs, repeated, run, short

from ganbench.measure.rounds import PARTS

pytestmark = pytest.mark.studies


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("short")


def test_the_study_of_limits_judges_every_goal_and_runs_the_yardstick_before_each_part_of_a_round(folder):
    _, path = short("limit", folder)
    *pieces, verdict = [json.loads(line) for line in path.read_text().splitlines()][1:]
    assert [piece["round"] for piece in pieces[:-1]] == [1] * PARTS
    assert min(piece["yardstick_s"] for piece in pieces[:-1]) > 0
    fastest = {goal["name"]: goal["target"] for goal in verdict["reached"]}
    assert fastest["best mode of JAX"] == "jax.scan"
    assert fastest["NumPy in place"] == "numpy.inplace"
    assert len(verdict["reached"]) == 5


@pytest.mark.parametrize("name", [name for name in (*NAMES, *UNPICTURED) if name != "interval_coverage"])
def test_short_mode_leaves_a_whole_file_and_claims_no_result(name, folder):
    done, path = short(name, folder)
    assert done.returncode == 0, done.stderr
    head, *pieces, verdict = map(json.loads, path.read_text().splitlines())
    assert head["type"] == "study"
    assert head["study"] == name
    assert {"machine", "date", "version", "commit", "command", "settings", "environment"} <= head.keys()
    assert {piece["type"] for piece in pieces} == {"piece"}
    assert verdict["type"] == "verdict"
    assert verdict["measured"] in done.stdout
    assert isinstance(verdict["passed"], bool)
    if name != "loop_overhead":  # the others had too few comparisons to pass
        assert not verdict["passed"]
    # The study of limits also keeps its run.
    assert [path] == [one for one in path.parent.iterdir() if one.is_file() or name != "limit"]


def test_interval_coverage_reads_the_recorded_rounds(tmp_path):
    recorded, path = tmp_path / "aa.jsonl", tmp_path / "coverage.jsonl"
    recorded.write_text("".join(json.dumps(line) + "\n" for line in [{"type": "study"}, *aa_runs()]))
    done = run("interval_coverage", "--short", "--recorded", recorded, "--output", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(path.read_text().splitlines()[-1])
    assert verdict["passed"]
    assert verdict["rates"]["recorded, every choice"][1] == 10 * 5 * 105
    assert verdict["rates"]["recorded, disjoint pairs"][1] == 10 * 5 * 3


def test_interval_coverage_without_recorded_rounds_says_what_to_run(tmp_path):
    done = run("interval_coverage", "--short", "--recorded", "nowhere.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "no study at nowhere.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_study_is_resumed_only_with_its_own_settings(folder, tmp_path):
    path = tmp_path / "aa.jsonl"
    head, piece, verdict = short("aa_verdicts", folder)[1].read_text().splitlines()
    path.with_suffix(".part").write_text(head + "\n" + piece + "\n")  # as a kill before the verdict leaves it
    done = run("aa_verdicts", "--short", "--output", path, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 finished before" in done.stdout
    assert path.read_text().splitlines() == [head, piece, verdict]
    path.with_suffix(".part").write_text(head + "\n" + piece + "\n")
    done = run("aa_verdicts", "--short", "--output", path, "--resume", "--budget", "7", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot resume" in done.stderr


def test_a_waiting_program_is_what_it_wraps_and_later(study, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(STUDIES / "plugin"), *sys.path])
    waiting = study("waiting")

    class Clock:
        now = 0.0

        def perf_counter(self):
            self.now += 1e-6
            return self.now

    class Program:
        iterations, calls = 8, 0

        def __call__(self):
            self.calls += 1
            clock.now += 1e-3

        def outputs(self):
            return [self.calls]

    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    for fraction in (0.05, 0.0):
        program = waiting.Waiting(Program(), fraction)
        before = clock.now
        program()
        assert clock.now - before == pytest.approx((1 + fraction) * 1e-3, abs=5e-6)
        assert program.iterations == 8
        assert program.outputs() == [1]


@pytest.mark.parametrize(("seconds", "passed"), [(100.5e-6, True), (102e-6, False), (99e-6, False)])
def test_overhead_must_be_small_and_real(study, monkeypatch, seconds, passed):
    names = {"spin": seconds, "empty program": 1e-7, "empty operation": 3e-7}
    pieces = [{"program": name, "seconds": [value] * 3, "spun_s": [1e-4] * 3} for name, value in names.items()]
    assert study("loop_overhead").judge(pieces)["passed"] is passed


def test_the_documentation_shows_what_the_files_say(study):
    module = study("summary")
    text = (ROOT / module.DOCUMENT).read_text()
    assert text == module.written(text, ROOT / module.RESULTS, ROOT / "docs" / "pictures")
    assert all(f"<!-- picture {name}: " in text for name in NAMES)
    assert module.BEGIN in text


def test_the_summary_reads_verdicts_and_names_what_is_missing(study, tmp_path):
    module = study("summary")
    head = {"machine": "here", "date": "2026-01-02T03:04:05+00:00"}
    verdict = {"passed": False, "goal": "much", "measured": "little"}
    (tmp_path / "torch_timer.jsonl").write_text(json.dumps(head) + "\n" + json.dumps(verdict) + "\n")
    table = module.table(tmp_path)
    assert "| torch_timer | much | little | **no** | here, 2026-01-02 |" in table
    assert "| sensitivity | | not run yet | | |" in table
    (tmp_path / "torch_timer.png").touch()
    text = "<!-- studies -->\nold\n<!-- end -->\n<!-- picture torch_timer: Both -->\n"
    new = module.written(text, tmp_path, tmp_path)
    assert new.endswith("<!-- picture torch_timer: Both -->\n![Both](pictures/torch_timer.png)\n")
    assert module.written(new, tmp_path, tmp_path) == new


def test_what_was_recorded_is_judged_again(tmp_path, study):
    folder = tmp_path / "results" / "studies"
    folder.mkdir(parents=True)
    head = {"type": "study", "study": "aa_verdicts", "machine": "here", "date": "2026-01-02T03:04:05+00:00"}
    lines = [head, *aa_runs(), {"type": "verdict", "passed": False, "goal": "much", "measured": "little"}]
    (folder / "aa_verdicts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run("rejudge", "aa_verdicts", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again, *pieces, verdict = map(json.loads, (folder / "aa_verdicts.jsonl").read_text().splitlines())
    assert verdict["passed"]
    assert [again | {"judged": None}, *pieces] == [head | {"judged": None}, *json.loads(json.dumps(aa_runs()))]
    assert f"here, 2026-01-02, judged {again['judged']['date'][:10]} |" in study("summary").table(folder)
    assert run("rejudge", "torch_timer", cwd=tmp_path).returncode == 2


def test_every_study_has_a_picture(tmp_path):
    head = {"type": "study", "machine": "here", "date": "2026-01-02T03:04:05+00:00"}
    rng = np.random.default_rng(0)
    rounds_of_two = [{0: 1.0 + i / 99, 1: 1.0} for i in range(6)]
    waiting = {"baseline": rounds_of_two, "control": rounds_of_two, "numpy_waits.5a": rounds_of_two}
    pieces = {
        "aa_verdicts": aa_runs(runs=1),
        "interval_coverage": [{"kind": "recorded", "excluded": 3, "intervals": 100}],
        "repeatability": repeated(rng, 0.02, runs=3),
        "sensitivity": [{"visits": {"matmul": waiting | {"numpy_waits.3a": rounds_of_two}}}],
        "loop_overhead": [{"program": "spin", "spun_s": [1e-4] * 3, "seconds": [1.003e-4, 1.004e-4, 1.006e-4]}],
        "torch_timer": [{"operation": "matmul", "engine_s": [1.0] * 6, "timer_s": [1.01] * 6}],
    }
    for name, lines in pieces.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in [head, *lines, {}]))
    done = run("pictures", "--results", tmp_path, "--output", tmp_path / "drawn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        png = (tmp_path / "drawn" / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG")
        assert len(png) < 200_000


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_study_is_a_whole_one(name):
    path = ROOT / "results" / "studies" / f"{name}.jsonl"
    if not path.exists():
        pytest.skip("not run yet")
    head, *pieces, verdict = map(json.loads, path.read_text().splitlines())
    assert pieces
    assert not head["settings"]["short"]
    assert verdict["type"] == "verdict"
