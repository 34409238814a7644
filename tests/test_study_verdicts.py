"""The studies' verdicts fail on what is broken. No timing is judged."""

import json

import numpy as np
import pandas as pd
import pytest
from study_runs import ROOT, aa_runs, repeated

from ganbench.results.statistics import MIN_ROUNDS, Estimate

pytestmark = pytest.mark.studies


def test_false_verdicts_are_counted(study):
    judge = study("aa_verdicts").judge
    good = judge(aa_runs())
    assert good["passed"]
    assert good["compared"] == 10 * 5 * 6
    assert good["upper_bound"] == pytest.approx(1 - 0.05 ** (1 / 300))
    assert not judge(aa_runs(runs=9))["passed"]  # too few to say
    runs = aa_runs()
    visits = runs[0]["visits"]["matmul"]
    visits["numpy_a"] = [{0: seconds[0] / 1.5} for seconds in visits["baseline"]]
    wrong = judge(runs)
    assert not wrong["passed"]
    assert [row[:3] for row in wrong["false_rows"]] == [["numpy", "matmul", "numpy_a"]]
    assert wrong["misled_by_margin"]["1.5"] > good["misled_by_margin"]["1.5"]


def test_a_control_that_fails_is_a_false_verdict(study):
    runs = aa_runs()
    runs[0]["visits"]["matmul"]["control"] = [{0: 1.2 * v[0]} for v in runs[0]["visits"]["matmul"]["baseline"]]
    verdict = study("aa_verdicts").judge(runs)
    assert verdict["false"] == 1
    assert not verdict["passed"]


def test_too_few_rounds_are_no_comparison(study):
    assert study("aa_verdicts").judge(aa_runs(n=MIN_ROUNDS - 1))["compared"] == 0


@pytest.mark.parametrize(("hits", "trials", "bound"), [(0, 100, 0.0295), (1, 100, 0.0466), (5, 100, 0.1023)])
def test_upper_bound_matches_published_values(study, hits, trials, bound):
    assert study("study").upper_bound(hits, trials) == pytest.approx(bound, abs=1e-4)


def test_intervals_that_miss_too_often_fail(study):
    module = study("interval_coverage")
    rng = np.random.default_rng(0)
    rounds = [rng.standard_normal((6, 8)).tolist() for _ in range(2000)]
    honest = [module.of_passes(one) for one in rounds]
    assert module.judge([{"kind": "recorded, every choice", **module.count(honest)}])["passed"]
    shifted = [Estimate(*(value + 2 for value in one)) for one in honest]
    assert not module.judge([{"kind": "recorded, every choice", **module.count(shifted)}])["passed"]
    assert not module.judge([{"kind": "recorded, every choice", **module.count(honest[:100])}])["passed"]
    assert not module.judge([])["passed"]


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


def sensed(five=1.05, three=1.03, injected=0.05, rows=20, rigors=("quick", "full")):
    """Rounds that do not scatter, in which copies that wait take so many times the baseline's time."""
    copies = {"baseline": 1.0, "control": 1.0, "numpy_waits.5a": five, "numpy_waits.3a": three}
    visits = {name: [{0: seconds}] * 8 for name, seconds in copies.items()}
    return [
        {
            "rigor": rigor,
            "visits": {f"operation {number}": visits for number in range(rows)},
            "injected": {"matmul": {"5": injected, "3": 0.03}},
        }
        for rigor in rigors
    ]


def test_sensitivity_fails_on_what_is_missed_or_not_injected(study):
    judge = study("sensitivity").judge
    assert judge(sensed())["passed"]
    assert not judge(sensed(five=1.01))["passed"]
    assert not judge(sensed(three=1.01))["passed"]
    assert not judge(sensed(injected=0.07))["passed"]
    assert not judge(sensed(rows=19))["passed"]
    assert not judge(sensed(rigors=("full",)))["passed"]
    assert not judge([])["passed"]


@pytest.mark.parametrize(("ratio", "passed"), [(1.01, True), (1.04, False), (0.96, False)])
def test_two_timers_must_agree_on_every_operation(study, ratio, passed):
    module = study("torch_timer")
    pieces = [{"operation": name, "engine_s": [ratio] * 8, "timer_s": [1.0] * 8} for name in module.DEFAULT_OPERATIONS]
    assert module.judge(pieces)["passed"] is passed
    assert not module.judge(pieces[1:])["passed"]


def test_a_gate_that_costs_too_much_fails(study):
    judge = study("gate_cost").judge

    def runs(preset, cost, number=3):
        return [{"preset": preset, "seconds": 100, "verifying_s": cost}] * number

    dense, images = runs("mnist-mlp", 4), runs("dcgan-28", 9)
    assert judge(dense + images)["passed"]
    assert not judge(runs("mnist-mlp", 6) + images)["passed"]
    assert not judge(dense + runs("dcgan-28", 11))["passed"]
    assert not judge(runs("mnist-mlp", 4, number=2) + images)["passed"]
    assert not judge(dense)["passed"]


def test_wild_models_are_counted_by_target_and_groups_left_out_are_told(study, monkeypatch):
    wild = study("tolerance_wild")
    monkeypatch.setattr(wild, "MODELS", 2)

    def piece(number, names, reason=""):
        rows = [[name, dtype, 0.1 * number, 1, reason] for name in names for dtype in ("float32", "float64")]
        return {"model": f"wild {number}", "groups": 8, "rows": rows}

    host, compiled = wild.TARGETS
    pieces = [piece(number, names) for number in (0, 1) for names in (host, compiled)]
    found = wild.judge(pieces)
    assert found["passed"]
    assert "0 of 20 gates refused, on 0 of 2 models (95 % upper bound 77.6%)" in found["measured"]
    assert "12.5% of groups not compared" in found["measured"]
    assert "the nearest: wild 1 on numpy in float32, 0.10 of its tolerance" in found["measured"]
    assert "jax on 1;" in wild.judge(pieces[:3])["measured"]
    assert not wild.judge(pieces[:3])["passed"]
    refused = wild.judge([*pieces[:3], piece(1, compiled, "'d_loss' is off")])
    assert not refused["passed"]
    assert "2 of 20 gates refused, on 1 of 2 models" in refused["measured"]
    chaos = piece(1, compiled, "it cannot be verified: after 1 iteration even correct programs disagree")
    for row in chaos["rows"]:
        row[2] = None
    assert "2 gates because even correct programs disagree" in wild.judge([*pieces[:3], chaos])["measured"]


def test_frameworks_that_never_ran_are_not_called_passed(study, monkeypatch):
    frameworks = study("tolerance_frameworks")
    monkeypatch.setattr(frameworks, "MODELS", 1)
    host, compiled = (
        {"model": "random 0", "groups": 8, "rows": [[name, "float32", 0.1, 0, ""] for name in names]}
        for names in frameworks.TARGETS
    )
    assert frameworks.judge([host, compiled])["passed"]
    assert not frameworks.judge([host])["passed"]
    assert "mlx.compile on 0" in frameworks.judge([host])["measured"]


def test_the_study_of_limits_is_judged_from_what_it_left(study, monkeypatch):
    monkeypatch.chdir(ROOT)
    _, *pieces, verdict = map(json.loads, (ROOT / "results/studies/limit.jsonl").read_text().splitlines())
    assert {"type": "verdict", **study("limit").judge(pieces)} == verdict


def test_a_limit_of_what_was_not_measured_is_missed(study):
    limit = study("limit")
    rows = {"target": ["torch", "jax"], "ratio": [9.0, float("nan")], "percent_of_floor": [99.0, 99.0]}
    table = pd.DataFrame(rows).set_index("target")
    reached = {goal.name: limit.reached_of(goal, table) for goal in limit.GOALS[:3]}
    assert [one["passed"] for one in reached.values()] == [True, False, False]
    assert reached["best mode of JAX"]["target"] == "none was measured"
