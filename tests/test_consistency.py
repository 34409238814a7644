"""A run file in which anything was changed: refused with its name and line, or shown; never a traceback."""

import json
import os
import random
import warnings

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ganbench.errors import GanbenchError
from ganbench.report.export import render
from ganbench.results.loading import load_results
from ganbench.results.run import open_run

MANY = int(os.environ.get("GANBENCH_FUZZ", "300"))  # ``make fuzz`` asks for 10,000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    """Yield the path to every value in a piece of JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def put(line, path, value):
    """Return ``line`` with another value at ``path``."""
    if not path:
        return value
    copy = line.copy()
    copy[path[0]] = put(line[path[0]], path[1:], value)
    return copy


def shown(lines, folder):
    """Read and print a run of these lines; return what was said of it, which must name the file where it is refused."""
    path = folder / "here" / "compare" / "a.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rows = load_results(folder)
    messages = [str(one.message) for one in said]
    assert all(str(path) in message for message in messages)
    if not messages:
        assert not rows.empty
    for seconds in rows["median_s"].dropna():
        assert 1e-10 <= seconds <= 1e6
    assert not rows.duplicated(["run_id", "operation", "target"]).any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was said above
        try:
            run = open_run(path)
        except GanbenchError:
            assert messages
            return messages
    for form in ("table", "csv", "json", "markdown"):
        assert render(run, form, True)
    return messages


@pytest.fixture
def lines(craft, tmp_path):
    """Those of a run of two operations, which has lines of every kind: four only make each reading twice as long."""
    run = craft(tmp_path / "good", {"torch": 2.0}, operations=["matmul", "gan_iteration"])
    return [json.loads(line) for line in run.read_text().splitlines()]


def test_a_good_run_is_shown(lines, tmp_path):
    assert shown(lines, tmp_path / "bad") == []


@pytest.mark.odd
@settings(max_examples=MANY, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 2**32), value=JSON)
def test_any_value_may_be_replaced(lines, tmp_path, seed, value):
    rng = random.Random(seed)
    number = rng.randrange(len(lines))
    path = rng.choice(list(places(lines[number])))
    shown([*lines[:number], put(lines[number], path, value), *lines[number + 1 :]], tmp_path / "bad")


@pytest.mark.odd
@settings(max_examples=MANY // 3, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 2**32), how=st.sampled_from(["cut", "doubled", "swapped"]))
def test_any_line_may_be_cut_doubled_or_swapped(lines, tmp_path, seed, how):
    rng = random.Random(seed)
    number = rng.randrange(len(lines) - 1)
    line, after = lines[number : number + 2]
    instead = {"cut": [after], "doubled": [line, line, after], "swapped": [after, line]}[how]
    said = shown([*lines[:number], *instead, *lines[number + 2 :]], tmp_path / "bad")
    if how == "doubled" and line["type"] in ("run", "measurement"):
        assert said


def test_two_runs_in_one_file_are_refused(craft, tmp_path, lines):
    other = [json.loads(line) for line in craft(tmp_path / "other", {"torch": 3.0}).read_text().splitlines()]
    assert f"line {len(lines) + 1}: a second run begins" in shown(lines + other, tmp_path / "bad")[0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "batch"), 0),
        (("timestamp",), "yesterday"),
        (("timestamp",), "0001-01-01T00:00:00+00:00"),
        (("baseline",), "fortran"),
        (("environment", "tuning"), 5),
    ],
)
def test_a_header_that_cannot_be_is_named_and_hides_nothing(craft, tmp_path, lines, path, value):
    craft(tmp_path / "bad", {"torch": 2.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        good = len(load_results(tmp_path / "bad"))
    said = shown([put(lines[0], path, value), *lines[1:]], tmp_path / "bad")
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(load_results(tmp_path / "bad")) == good > 0


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-12, 1e9])
def test_an_absurd_time_is_refused(lines, tmp_path, seconds):
    number = next(i for i, line in enumerate(lines) if line.get("samples"))
    lines[number]["samples"][0] = seconds
    assert f"line {number + 1}" in shown(lines, tmp_path / "bad")[0]
