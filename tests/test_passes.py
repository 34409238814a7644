"""How visits are shared out and ordered, and how rounds become a number."""

import math
import random
import time
from collections import Counter
from itertools import groupby, islice, pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

import ganbench
from ganbench.gan import preset
from ganbench.measure.ledger import Ledger
from ganbench.measure.member import Member
from ganbench.measure.plan import Case, make_plan
from ganbench.measure.rounds import PARTS
from ganbench.measure.schedule import (
    LEAST,
    MOST,
    OF_FLOOR,
    Schedule,
    Share,
    orders,
    rounds_for_width,
    shares,
    turns,
    williams,
)
from ganbench.operations.products import FLOOR
from ganbench.results.statistics import (
    MARGIN,
    MIN_ROUNDS,
    Components,
    Estimate,
    components,
    expected_width,
    hodges_lehmann,
    judge,
    level,
    round_logs,
    trimmed_mean,
    undisturbed,
)

# Orders -----------------------------------------------------------------------------------------------------


@given(st.integers(2, 9))
def test_each_follows_each_other_and_stands_everywhere_equally_often(n):
    rows = williams(n)
    followers = Counter(pair for row in rows for pair in pairwise(row))
    assert len(followers) == n * (n - 1)
    assert len(set(followers.values())) == 1
    assert all(len({Counter(row[place] for row in rows)[item] for item in range(n)}) == 1 for place in range(n))


def test_orders_go_on_without_end_and_differ():
    found = list(islice(orders("abcd", random.Random(1)), 40))
    assert all(sorted(order) == [*"abcd"] for order in found)
    assert len({tuple(order) for order in found}) > 10
    assert Counter(pair for order in found for pair in pairwise(order))["a", "b"] == 10
    assert list(orders([], random.Random(1))) == []


def test_turns_use_all_equally_often():
    assert Counter(islice(turns([3, 5], random.Random(1)), 20)) == {3: 10, 5: 10}


# Shares -----------------------------------------------------------------------------------------------------

cases = st.tuples(st.sampled_from(["matmul", "adam_step"]), st.integers(0, 5))
weights = st.dictionaries(cases, st.floats(0, 1e4), min_size=1, max_size=8)


@given(weights, st.floats(0.01, 100), st.floats(1e-3, 1))
def test_visits_fit_into_the_room_unless_all_have_the_least(weights, room, visit_s):
    found = shares(weights, dict.fromkeys(weights, visit_s), lambda case: case[0], room)
    assert found.keys() == weights.keys()
    total = visit_s * sum(one.visits for one in found.values())
    assert total <= room or {one.passes for one in found.values()} == {LEAST}
    for case, one in found.items():
        assert LEAST <= one.passes <= MOST
        assert one.stride & (one.stride - 1) == 0
        assert {other.passes for key, other in found.items() if key[0] == case[0]} == {one.passes}


def test_nothing_to_visit():
    assert shares({}, {}, lambda case: case, 1.0) == {}


def test_who_scatters_more_is_visited_more_and_all_meet():
    costs = dict.fromkeys("abc", 0.02)
    found = shares({"a": 64, "b": 9, "c": 33}, costs, lambda case: "matmul", 3.0)
    # A ratio is of visits in one pass. So a case that is nearly as noisy as another misses none of its passes.
    assert {case: one.visits for case, one in found.items()} == {"a": 64, "b": 16, "c": 64}


def scheduled(rounds: dict[str, list[list[float]]], visit_s: dict[str, float]) -> dict[str, Share]:
    """Return the shares of a round of ``matmul`` after ``rounds``, which have the seconds of the visits of each."""
    plan = make_plan(preset("tiny"), backends="numpy,torch", ops="matmul,gan_iteration", budget_s=1000)
    ledger = Ledger(print)
    members = {"numpy": ("numpy", False), "copy": ("numpy", True), "torch": ("torch", False)}
    targets = {target.label: target for target in plan.targets}
    named = {name: Case("matmul", targets[label], copy) for name, (label, copy) in members.items()}
    for name, case in named.items():
        ledger.visits[case] = {i: dict(enumerate(one)) for i, one in enumerate(rounds[name], 1)}
    schedule = Schedule(plan, ledger, len(rounds["numpy"]))
    schedule.begin()
    floor = Case(FLOOR, targets["numpy"])
    found = schedule.shares({case: visit_s[name] for name, case in named.items()} | {floor: 0.02}, 1.0)
    assert found.pop(floor) == Share(OF_FLOOR, 1)
    return {name: found[case] for name, case in named.items()}


@pytest.mark.parametrize("finished", [0, 1, 4])
def test_a_target_is_visited_as_often_as_the_baseline_and_its_copy(finished):
    rng = random.Random(0)
    drawn = {
        name: [[rng.gauss(1, 0.1) for _ in range(20)] for _ in range(finished)] for name in ("numpy", "copy", "torch")
    }
    found = scheduled(drawn, {"numpy": 0.016, "copy": 0.016, "torch": 0.024})
    assert len(set(found.values())) == 1
    slow = scheduled(drawn, {"numpy": 0.016, "copy": 0.016, "torch": 2.0})
    assert slow["torch"].visits < slow["numpy"].visits == slow["copy"].visits == slow["numpy"].passes


def test_where_everything_has_failed_only_the_floor_is_left():
    plan = make_plan(preset("tiny"), backends="numpy", ops="gan_iteration")
    floor = Case(FLOOR, plan.targets[0])
    assert Schedule(plan, Ledger(print), 0).shares({floor: 0.02}, 1.0) == {floor: Share(OF_FLOOR, 1)}


@pytest.mark.parametrize(("noise", "least"), [(0.0, True), (0.3, False)])
def test_a_target_that_is_known_well_enough_takes_no_more_time_than_it_must(noise, least):
    rng = random.Random(0)
    drawn = {
        name: [[math.exp(rng.gauss(0, noise)) for _ in range(20)] for _ in range(6)]
        for name in ("numpy", "copy", "torch")
    }
    found = scheduled(drawn, dict.fromkeys(drawn, 0.02))
    assert ({one.passes for one in found.values()} == {LEAST}) == least


def test_variance_components_are_found():
    rng = np.random.default_rng(0)
    rounds = [list(0.05 * rng.standard_normal() + 0.2 * rng.standard_normal(100)) for _ in range(200)]
    found = components(rounds)
    assert math.sqrt(found.within) == pytest.approx(0.2, rel=0.02)
    assert math.sqrt(found.between) == pytest.approx(0.05, rel=0.2)
    assert components([[0.1, -0.1], [0.1, -0.1]]).between == pytest.approx(-0.01)  # by chance


# The number of a round --------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=99), st.floats(-1, 1))
def test_a_trimmed_mean_lies_among_its_values_and_moves_with_them(values, offset):
    found = trimmed_mean(values)
    assert min(values) - 1e-12 <= found <= max(values) + 1e-12
    assert trimmed_mean([value + offset for value in values]) == pytest.approx(found + offset, abs=1e-9)


def test_a_stall_in_twenty_visits_changes_nothing_and_an_uneven_program_costs_what_it_takes():
    assert trimmed_mean([0.0] * 19 + [9.0]) == 0.0
    uneven = [
        math.log(4 / 3 if i % 10 < 3 else 1.0) for i in range(40)
    ]  # three calls a visit, every tenth twice as long
    assert math.exp(trimmed_mean(uneven)) == pytest.approx(1.1, abs=0.022)


def test_rounds_without_a_common_pass_are_no_pair():
    ours, theirs = {1: {0: 1.0}, 2: {0: 1.0, 1: 1.0}, 3: {0: 1.0}}, {1: {1: 1.0}, 2: {1: 2.0}, 4: {0: 1.0}}
    assert round_logs([ours], [theirs]) == {2: math.log(0.5)}


def test_typical_and_undisturbed_time():
    visits = dict(enumerate([1.0] * 5 + [1.2] * 15))
    assert 1.1 < level([*visits.values()]) < 1.2
    assert undisturbed(visits) == 1.0


# What may be said -------------------------------------------------------------------------------------------


def test_a_control_that_leaves_out_one_makes_both_doubtful():
    same, control = Estimate(1.0, 0.995, 1.005), Estimate(1.03, 1.01, 1.05)
    assert judge(same, 6, None).outcome == "same"
    assert judge(same, 6, control).outcome == "undecided"
    ratio = Estimate(1.07, 1.05, 1.09)
    assert judge(ratio, 6, Estimate(1.0, 0.98, 1.02)).outcome == "faster"
    assert judge(ratio, 6, control).outcome == "undecided"
    assert judge(ratio, 6, control).detectable > judge(ratio, 6, None).detectable + 0.029


def test_the_width_of_an_interval_is_known_beforehand():
    assert math.isinf(expected_width(MIN_ROUNDS - 1))
    rng = np.random.default_rng(0)
    for rounds in (MIN_ROUNDS, 6, 8, 12, 30):
        drawn = rng.standard_normal((1000, rounds)).tolist()
        half = np.mean([found.high - found.value for found in (hodges_lehmann(row, 1.0) for row in drawn)])
        assert expected_width(rounds) == pytest.approx(half, rel=0.05)
    assert expected_width(120) == pytest.approx(1.96 / math.sqrt(120), rel=0.1)
    assert MARGIN > 0


variances = st.floats(0, 0.1)
noise = st.lists(st.builds(Components, variances, st.floats(1e-4, 0.1)), min_size=1, max_size=5)


@given(st.lists(st.floats(1, 64), max_size=39), st.floats(-10, 300), st.floats(0, 20), st.floats(0.01, 5), noise)
def test_the_planned_rounds_can_be_made_unless_they_are_the_fewest(done, left_s, start_s, pass_s, noise):
    planned, first = rounds_for_width(done, left_s, start_s, pass_s, noise), len(done) + 1
    assert planned >= max(first, MIN_ROUNDS)
    if planned > max(first, MIN_ROUNDS):
        visits_s = left_s - (planned - first) * start_s
        assert visits_s >= (planned - first + 1) * LEAST * pass_s


def test_more_rounds_are_planned_where_rounds_differ_and_starts_are_cheap():
    calm, differing = [Components(0.01, 1e-4)], [Components(0.01, 4e-3)]
    assert rounds_for_width([], 70, 4, 0.5, calm) > MIN_ROUNDS
    assert rounds_for_width([], 70, 1, 0.5, calm) > rounds_for_width([], 70, 6, 0.5, calm)
    assert rounds_for_width([], 300, 4, 0.5, differing) > rounds_for_width([], 300, 4, 0.5, calm)
    assert rounds_for_width([], 20, 4, 0.5, differing) == MIN_ROUNDS  # there is no time for more


def test_rounds_are_planned_with_the_passes_of_those_that_are_done():
    """Before, a fifth round took all the time that was left, as if the four before it had as many passes."""
    noise = [Components(0.04, 4e-4)]
    assert rounds_for_width([12] * 4, 26, 2.5, 0.4, noise) > rounds_for_width([40] * 4, 26, 2.5, 0.4, noise)


@pytest.mark.parametrize(
    ("budget_s", "finished", "seconds", "expected"),
    [
        (None, 2, 50, None),  # five rounds take 125 s, less than twice the usual time, and decide something
        (None, 2, 80, "budget"),  # they would take 200 s: not worth waiting for
        (None, 5, 100, "budget"),
        (60, 3, 50, "budget"),  # a time that was asked for is kept ...
        (60, 4, 50, None),  # ... but for a little
    ],
)
def test_a_run_takes_longer_than_usual_only_for_rounds_that_decide(budget_s, finished, seconds, expected):
    ledger = Ledger(print)
    ledger.start = time.monotonic() - seconds
    plan = make_plan(preset("tiny"), backends="numpy", budget_s=budget_s)
    assert Schedule(plan, ledger, finished).why_stop() == expected


@pytest.mark.parametrize(("seconds", "fits"), [(85, True), (95, False)])
def test_a_last_round_is_made_if_half_as_many_visits_fit(seconds, fits):
    ledger = Ledger(print)
    ledger.start = time.monotonic() - seconds
    schedule = Schedule(make_plan(preset("tiny"), backends="numpy", budget_s=100), ledger, MIN_ROUNDS)
    schedule.begin()
    schedule.visited(16)
    schedule.end(18)  # so one with half of the visits takes 10 s
    assert (schedule.why_stop() != "budget") == fits


def test_passes_are_spread_over_the_round_and_all_targets_are_in_each(monkeypatch):
    seen = []
    visit = Member.visit
    monkeypatch.setattr(Member, "visit", lambda self, name, *args: (seen.append(name), visit(self, name, *args))[1])
    run = ganbench.compare("numpy,numpy.inplace", preset="tiny", ops="matmul,adam_step", rounds=1, results=None)
    stretches = Counter(name for name, _ in groupby(seen))
    assert stretches == {"matmul": PARTS, "adam_step": PARTS}
    for name in stretches:
        passes = [row.passes for row in run.measurements if row.operation == name]
        assert len(passes) == 3  # the copy of the baseline, too
        assert len({*map(tuple, passes)}) == 1


def test_the_floor_is_measured_in_the_first_rounds_only():
    run = ganbench.compare("numpy", preset="tiny", ops="gan_iteration", rounds=MIN_ROUNDS + 2, results=None)
    assert [row.round for row in run.measurements if row.operation == FLOOR] == list(range(1, MIN_ROUNDS + 1))
    assert run.to_pandas()["percent_of_floor"].notna().all()
