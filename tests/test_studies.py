"""The studies: their short modes leave whole files, and their verdicts fail on what is broken. No timing is judged."""

import functools
import importlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ROOT / "benchmarks" / "studies"
NAMES = ("aa_verdicts", "interval_coverage", "repeatability", "sensitivity", "loop_overhead", "torch_timer")


@pytest.fixture
def study(monkeypatch):
    """Import a study by name; the plug-in is on no path afterwards."""
    monkeypatch.setattr(sys, "path", [str(STUDIES), *sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    return importlib.import_module


def run(name, *arguments, cwd):
    return subprocess.run(
        [sys.executable, str(STUDIES / f"{name}.py"), *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


def rounds(rng, copies=7, n=6, sigma=0.02, shift=0.0):
    """Rounds of one block each, of copies in an A/A run, the last of them slower by ``shift``."""
    names = ["baseline", "control", *(f"numpy_{letter}" for letter in "abcdefgh")][:copies]
    made = {name: [[seconds] for seconds in np.exp(sigma * rng.standard_normal(n))] for name in names}
    made[names[-1]] = [[seconds * math.exp(shift)] for (seconds,) in made[names[-1]]]
    return made


def aa_runs(said="undecided", runs=7, shift=0.0, **settings):
    rng = np.random.default_rng(3)
    operations = ("matmul", "matmul_grad", "batch_norm", "adam_step", "gan_iteration")
    return [
        {
            "type": "piece",
            "framework": "numpy",
            "blocks": (blocks := {name: rounds(rng, shift=shift, **settings) for name in operations}),
            "verdicts": {name: dict.fromkeys(blocks[name], said) for name in operations},
        }
        for _ in range(runs)
    ]


def test_the_study_of_limits_has_a_line_for_every_goal_and_mode(tmp_path):
    path = tmp_path / "limit.jsonl"
    done = run("limit", "--short", "--output", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    fields = {"target", "ratio", "ratio_low", "ratio_high", "percent_of_floor", "goal", "passed", "machine", "date"}
    assert all(fields <= line.keys() for line in lines)
    goals = [line["target"] for line in lines if line["goal"]]
    assert len(goals) == 6
    assert goals[-1] == "yardstick / torch.textbook"
    assert "mode: jax.scan" in [line["target"] for line in lines if not line["goal"]]


def test_the_kernels_of_an_iteration_are_named(tmp_path):
    path = tmp_path / "kernels.jsonl"
    done = run("kernels", "--short", "--output", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    _, *pieces, verdict = map(json.loads, path.read_text().splitlines())
    named = {"torch.manual": "aten::_fused_adam_", "jax": "sub", "jax.scan": "dot_general", "numpy.inplace": "adam"}
    for target, kernel in named.items():
        own = [piece for piece in pieces if piece["target"] == target]
        assert kernel in {piece["kernel"] for piece in own}
        assert 0.9 < sum(piece["share"] for piece in own) <= 1.0001
    assert verdict["measured"] in done.stdout


@functools.cache
def short(name, folder):
    """Run a study in its short mode, once; return the finished process and the file it should have left."""
    path = folder / name / f"{name}.jsonl"
    path.parent.mkdir()
    return run(name, "--short", "--output", path, cwd=path.parent), path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("short")


def test_the_study_of_overhead_has_a_line_for_every_target_and_operation(study, tmp_path):
    path = tmp_path / "framework_overhead.jsonl"
    done = run("framework_overhead", "--short", "--output", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    head, *pieces, verdict = map(json.loads, path.read_text().splitlines())
    assert head["settings"]["short"]
    assert [(piece["operation"], piece["target"]) for piece in pieces] == [
        ("smallest call", "numpy"),
        *(("matmul", "numpy"), ("adam_step", "numpy")),
        *(("gan_iteration", "numpy"), ("gan_iteration", "numpy.inplace")),
    ]
    assert all(piece["seconds"] > 0 for piece in pieces)
    assert not verdict["passed"]  # two targets of eight, in one round
    assert verdict["measured"] in done.stdout
    module = study("framework_overhead")
    text = module.written(f"before\n{module.BEGIN}old\n{module.END}\nafter\n", path)
    assert "| gan_iteration | numpy.inplace | " in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert module.written(text, path) == text


def overhead(**changed):
    piece = {"operation": "gan_iteration", "seconds": 1e-4, "low": 9e-5, "high": 2e-4, "arithmetic_s": 5e-6}
    return lambda target: piece | {"target": target} | changed


@pytest.mark.parametrize(
    ("changed", "passed"),
    [({}, True), ({"arithmetic_s": 2e-5}, False), ({"low": None}, False), ({"seconds": None}, False)],
)
def test_overhead_is_claimed_only_where_arithmetic_is_small_and_all_was_measured(study, changed, passed):
    module = study("framework_overhead")
    assert module.judge(list(map(overhead(**changed), module.TARGETS)))["passed"] is passed
    assert not module.judge(list(map(overhead(**changed), module.TARGETS[1:])))["passed"]


def test_the_page_on_limits_shows_what_the_file_says(study):
    module = study("framework_overhead")
    text = (ROOT / module.DOCUMENT).read_text()
    assert text == module.written(text, ROOT / module.RESULTS / "framework_overhead.jsonl")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "interval_coverage"])
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
    assert [path] == list(path.parent.iterdir())


def test_interval_coverage_reads_the_recorded_rounds(tmp_path):
    recorded, path = tmp_path / "aa.jsonl", tmp_path / "coverage.jsonl"
    recorded.write_text("".join(json.dumps(line) + "\n" for line in [{"type": "study"}, *aa_runs()]))
    done = run("interval_coverage", "--short", "--recorded", recorded, "--output", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(path.read_text().splitlines()[-1])
    assert verdict["passed"]
    assert verdict["rates"]["recorded, every pair"][1] == 7 * 5 * 21
    assert verdict["rates"]["recorded, disjoint pairs"][1] == 7 * 5 * 3


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
    done = run("aa_verdicts", "--short", "--output", path, "--resume", "--rounds", "7", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot resume" in done.stderr


def test_false_verdicts_are_counted(study):
    judge = study("aa_verdicts").judge
    good = judge(aa_runs())
    assert good["passed"]
    assert good["compared"] == 7 * 5 * 6
    assert good["upper_bound"] == pytest.approx(1 - 0.05 ** (1 / 210))
    assert not judge(aa_runs(runs=6))["passed"]  # too few to say
    runs = aa_runs()
    runs[0]["verdicts"]["matmul"]["numpy_a"] = "1.05x faster [1.03, 1.07]"
    wrong = judge(runs)
    assert not wrong["passed"]
    assert wrong["false_rows"] == [["numpy", "matmul", "numpy_a", "1.05x faster [1.03, 1.07]"]]


def test_a_control_that_fails_is_a_false_verdict(study):
    runs = aa_runs()
    runs[0]["blocks"]["matmul"]["control"] = [[1.2 * s] for (s,) in runs[0]["blocks"]["matmul"]["baseline"]]
    verdict = study("aa_verdicts").judge(runs)
    assert verdict["false"] == 1
    assert not verdict["passed"]


def test_too_few_rounds_are_no_comparison(study):
    assert study("aa_verdicts").judge(aa_runs(n=5))["compared"] == 0


@pytest.mark.parametrize(("hits", "trials", "bound"), [(0, 100, 0.0295), (1, 100, 0.0466), (5, 100, 0.1023)])
def test_upper_bound_matches_published_values(study, hits, trials, bound):
    assert study("study").upper_bound(hits, trials) == pytest.approx(bound, abs=1e-4)


def test_intervals_that_miss_too_often_fail(study):
    module = study("interval_coverage")
    rng = np.random.default_rng(0)
    honest = [rng.standard_normal(6).tolist() for _ in range(400)]
    assert module.judge([{"kind": "recorded, every pair", **module.count(honest)}])["passed"]
    shifted = [[value + 2 for value in case] for case in honest]
    assert not module.judge([{"kind": "recorded, every pair", **module.count(shifted)}])["passed"]
    assert not module.judge([{"kind": "recorded, every pair", **module.count(honest[:100])}])["passed"]
    assert not module.judge([])["passed"]


def repeated(rng, sigma, between=0.0, runs=20, n=20):
    pieces = []
    for _ in range(runs):
        target = np.exp(sigma * rng.standard_normal(n) + between * rng.standard_normal())
        pieces.append(
            {"blocks": {"matmul": {"baseline": [[1.0]] * n, "torch": [[t] for t in target]}}, "seconds": 100.0}
        )
    return pieces


def test_repeatability_finds_what_its_prediction_says(study):
    judge = study("repeatability").judge
    rng = np.random.default_rng(5)
    quiet = judge(repeated(rng, 0.02))
    assert quiet["passed"]
    matmul = quiet["operations"]["matmul"]
    assert matmul["pairs"] == 190
    assert matmul["sigma"] == pytest.approx(0.02, rel=0.1)
    assert matmul["share"] == pytest.approx(matmul["predicted"], abs=0.05)
    moved = judge(repeated(rng, 0.02, between=0.05))
    assert not moved["passed"]
    assert moved["operations"]["matmul"]["predicted"] > 0.95  # which is how a changing machine is told from noise
    assert not judge(repeated(rng, 0.02, runs=19))["passed"]
    assert not judge([])["passed"]


def test_rounds_needed_reach_the_share(study):
    module = study("repeatability")
    for sigma in (0.01, 0.03, 0.08):
        needed = module.rounds_needed(sigma)
        assert module.predicted_share(sigma, needed) >= 0.95
        assert needed == 1 or module.predicted_share(sigma, needed - 1) < 0.95


def sensed(five="1.05x slower [1.04, 1.06]", three="undecided", injected=0.05, rows=20):
    return [
        {
            "rows": [{"percent": p, "verdict": said} for p, said in ((5, five), (3, three)) for _ in range(rows)],
            "injected": {"matmul": {"5": injected, "3": 0.03}},
        }
    ]


def test_sensitivity_fails_on_what_is_missed_or_not_injected(study):
    judge = study("sensitivity").judge
    assert judge(sensed())["passed"]
    assert not judge(sensed(five="undecided"))["passed"]
    assert not judge(sensed(three="same within 2%"))["passed"]
    assert not judge(sensed(injected=0.07))["passed"]
    assert not judge(sensed(rows=19))["passed"]
    assert not judge([])["passed"]


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
    pieces = [{"program": name, "seconds": [value] * 3} for name, value in names.items()]
    assert study("loop_overhead").judge(pieces)["passed"] is passed


@pytest.mark.parametrize(("ratio", "passed"), [(1.01, True), (1.04, False), (0.96, False)])
def test_two_timers_must_agree_on_every_operation(study, ratio, passed):
    module = study("torch_timer")
    pieces = [{"operation": name, "engine_s": [ratio] * 8, "timer_s": [1.0] * 8} for name in module.DEFAULT_OPERATIONS]
    assert module.judge(pieces)["passed"] is passed
    assert not module.judge(pieces[1:])["passed"]


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


def test_every_study_has_a_picture(tmp_path):
    head = {"type": "study", "machine": "here", "date": "2026-01-02T03:04:05+00:00"}
    rng = np.random.default_rng(0)
    ratio = {"ratio": 0.95, "low": 0.94, "high": 0.96, "percent": 5}
    pieces = {
        "aa_verdicts": aa_runs(runs=1),
        "interval_coverage": [{"kind": "recorded", "excluded": 3, "intervals": 100}],
        "repeatability": repeated(rng, 0.02, runs=3),
        "sensitivity": [{"rows": [ratio, ratio | {"percent": 3}]}],
        "loop_overhead": [{"program": "spin", "seconds": [1.003e-4, 1.004e-4, 1.006e-4]}],
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
