"""Honest habits that once got a wrong time published: what is kept from earlier inputs, and what is never computed."""

import pytest
from commands import compared

pytestmark = pytest.mark.workers
MODES = ("lazy", "unsynced", "keeps", "folds", "hoists", "replays", "unfed")


@pytest.fixture(scope="module")
def rows(tmp_path_factory, outside):
    results = tmp_path_factory.mktemp("results")
    targets = ",".join(["numpy", "claims", *(f"habits.{mode}" for mode in MODES)])
    return compared(results, "--ops", "matmul,batch_norm,adam_step,gan_iteration", "--backends", targets, env=outside)


@pytest.mark.parametrize("operation", ["matmul", "batch_norm"])
def test_every_call_of_a_lazy_framework_is_waited_for(rows, operation):
    """It was published up to 31 times too fast; it does what NumPy does, and some more."""
    assert rows[operation, "habits"]["status"] == "ok"
    assert rows[operation, "habits"]["median_s"] > rows[operation, "numpy"]["median_s"] / 3


@pytest.fixture(scope="module")
def products(tmp_path_factory, outside):
    """Products that take long enough to be told from none; those of the small model take a microsecond."""
    targets = ("--backends", "numpy,claims,habits.unsynced", "--preset", "mnist-mlp", "--ops", "matmul")
    return compared(tmp_path_factory.mktemp("products"), *targets, env=outside)


@pytest.mark.parametrize("operation", ["matmul", "batch_norm"])
def test_a_lazy_framework_that_never_waits_is_found_without_a_state(rows, products, operation):
    row = {**rows, **products}[operation, "habits.unsynced"]
    assert row["status"] == "invalid"
    assert "of work were left when synchronize() returned" in row["reason"]


@pytest.mark.parametrize("operation", ["matmul", "batch_norm"])
def test_one_that_says_it_is_not_lazy_is_told(rows, products, operation):
    row = {**rows, **products}[operation, "claims"]
    assert row["status"] == "invalid"
    assert "must not say `queues = True`" in row["reason"]


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        ("matmul", "keeps"),
        ("batch_norm", "keeps"),
        ("adam_step", "hoists"),
        *(
            (operation, mode)
            for operation in ("batch_norm", "adam_step", "gan_iteration")
            for mode in ("folds", "replays")
        ),
    ],
)
def test_what_is_kept_from_earlier_inputs_is_found(rows, operation, mode):
    row = rows[operation, f"habits.{mode}"]
    assert row["status"] == "invalid", row
    assert "is off by" in row["reason"]


def test_a_program_that_takes_no_other_inputs_is_told_what_it_lacks(rows):
    row = rows["matmul", "habits.unfed"]
    assert row["status"] == "unsupported"
    assert "this program has no method feed" in row["reason"]


def test_the_others_stand(rows):
    assert {row["status"] for (_, target), row in rows.items() if target == "numpy"} == {"ok"}
    for case in (("adam_step", "habits.keeps"), ("matmul", "habits.hoists"), ("gan_iteration", "habits")):
        assert rows[case]["status"] == "ok"
