"""What it costs to start, and when the slower starter has caught up."""

import math

import pandas as pd
from hypothesis import given, strategies as st

from ganbench.report.start import break_even, start_table

seconds = st.floats(1e-9, 1e4)


@given(seconds, seconds, seconds, seconds)
def test_break_even_is_the_first_iteration_at_which_it_is_not_behind(start_a, per_a, start_b, per_b):
    count = break_even(start_a, per_a, start_b, per_b)
    if count == 0:
        assert start_a <= start_b
    elif count == math.inf:
        assert per_a >= per_b / 1.02
    else:
        behind = (start_a + (count - 1) * per_a) - (start_b + (count - 1) * per_b)
        after = (start_a + count * per_a) - (start_b + count * per_b)
        assert after <= 1e-6 * (start_a + count * per_a)
        assert behind >= -1e-6 * (start_a + count * per_a)


def table(*rows):
    columns = ["status", "operation", "target", "median_s", "import_s", "first_call_s", "first_call_warm_s", "flops"]
    found = pd.DataFrame([["ok", "gan_iteration", *row, 1] for row in rows], columns=columns)
    return found.assign(prepare_s=0.0, first_run_s=found["first_call_s"])


def caught_up(*rows):
    found = start_table(table(*rows))
    return dict(zip(found["target"], found["has caught up with"], strict=True))


def test_import_and_first_call_count():
    found = caught_up(("plain", 2e-3, 0.1, 0.0, 0.0), ("compiled", 1e-3, 1.1, 9.0, 1.0))
    assert found["plain"] == ""
    assert found["compiled"] in ("plain after 10,000", "plain after 10,001")


def test_nothing_that_was_not_measured_takes_part():
    assert caught_up(("plain", math.nan, 0.1, 0.0, 0.0), ("compiled", 1e-3, 1.1, 9.0, 1.0)) == {"compiled": ""}
    old = caught_up(("plain", 2e-3, 0.1, 0.0, 0.0), ("old file", 1e-3, math.nan, 9.0, 1.0))
    assert old == {"plain": "", "old file": ""}
