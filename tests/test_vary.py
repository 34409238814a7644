"""``ganbench compare --vary``: what an ingredient changes, how the runs take turns, and what it costs."""

import csv
import io
import json

import msgspec
import pytest
from hypothesis import given, strategies as st

from ganbench.errors import GanbenchError, UsageError
from ganbench.gan import GANSpec, preset
from ganbench.layers import weighted
from ganbench.measure import several, variants
from ganbench.measure.models import changed, model_of
from ganbench.report import prices
from ganbench.results.run import Ending, Point, Several, open_run
from ganbench.settings import SETTINGS, Settings

ASK = ("compare", "--preset", "tiny", "--backends", "numpy,torch", "--vary")
DCGANS = ("dcgan-8", "dcgan-28", "dcgan-32", "dcgan-64")


# What an ingredient changes


def layers(spec: GANSpec):
    return weighted(spec.generator_layers), weighted(spec.discriminator_layers)


@pytest.mark.parametrize("name", ["tiny", "mnist-mlp-bn", *DCGANS])
def test_batch_norm_is_left_out_everywhere_or_of_the_discriminator(name):
    without, of_generator = (changed(preset(name), "batch_norm", where) for where in ("off", "generator"))
    assert not any(layer.batch_norm for network in layers(without) for layer in network)
    generator, discriminator = layers(of_generator)
    assert any(layer.batch_norm for layer in generator)
    assert not any(layer.batch_norm for layer in discriminator)
    assert changed(without, "loss", "wgan-gp").objective.penalised
    assert changed(without, "batch_norm", "off") == without
    for one in (without, of_generator):
        assert [(layer.in_shape, layer.out_shape) for network in layers(one) for layer in network] == [
            (layer.in_shape, layer.out_shape) for network in layers(preset(name)) for layer in network
        ]


def test_a_generator_without_batch_norm_in_its_tables_gets_none():
    with pytest.raises(UsageError, match="the generator of dcgan-8 has none"):
        changed(changed(preset("dcgan-8"), "batch_norm", "off"), "batch_norm", "generator")


@given(st.sampled_from(DCGANS), st.sampled_from([0.25, 0.5, 1, 2, 3]))
def test_channels_are_scaled_in_hidden_layers_alone(name, factor):
    spec = preset(name)
    scaled = changed(spec, "channels", factor)
    for before, after in zip(layers(spec), layers(scaled), strict=True):
        assert [layer.out_shape[0] for layer in after[:-1]] == [factor * layer.out_shape[0] for layer in before[:-1]]
        assert after[-1].out_shape == before[-1].out_shape
    assert changed(scaled, "channels", 1 / factor) == spec


@pytest.mark.parametrize(("name", "factor"), [("dcgan-8", 0.3), ("dcgan-8", 0.01), ("tiny", 2)])
def test_channels_that_cannot_be_are_refused(name, factor):
    with pytest.raises(UsageError, match=rf"channels {factor:g}"):
        changed(preset(name), "channels", factor)


def test_changes_are_made_in_an_order_in_which_they_are_valid():
    asked = Settings(preset="dcgan-28", loss="wgan-gp", batch_norm="generator", critic_steps=1)
    spec = model_of(asked)
    assert (spec.objective.penalised, spec.critic_steps, spec.penalty, spec.lr) == (True, 1, 10.0, 1e-4)


# What is asked for


def test_every_ingredient_is_a_setting_of_which_two_runs_may_not_differ():
    varied = {name for name, one in SETTINGS.items() if one.varied}
    assert {"loss", "batch_norm", "dtype", "channels"} <= varied
    assert all(SETTINGS[name].differing == "refused" for name in varied)


def test_a_variant_is_the_base_with_one_ingredient_changed():
    said = ["loss=hinge,wgan-gp", "batch_norm=generator", "dtype=bfloat16", "batch=8"]
    made = variants.plans(said, {"backends": "torch", "preset": "tiny", "ops": "gan_iteration"})
    assert list(made) == ["base", "loss=hinge", "loss=wgan-gp", "batch-norm=generator", "dtype=bfloat16", "batch=8"]
    base = made["base"]
    assert base.rigor.rounds == variants.ROUNDS
    assert made["dtype=bfloat16"] == msgspec.structs.replace(base, dtype="bfloat16", precision="mixed")
    assert made["batch=8"] == msgspec.structs.replace(base, spec=msgspec.structs.replace(base.spec, batch=8))
    assert [made[f"loss={name}"].spec.loss for name in ("hinge", "wgan-gp")] == ["hinge", "wgan-gp"]
    asked = variants.plans(["loss=hinge"], {"backends": "torch", "preset": "tiny", "budget_s": 9.0})
    assert {(plan.rigor.rounds, plan.rigor.budget_s) for plan in asked.values()} == {(0, 9.0)}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["loss"], "INGREDIENT=VALUES, such as loss=hinge"),
        (["loss="], "INGREDIENT=VALUES"),
        (["lose=hinge"], "unknown ingredient 'lose' (known: batch, batch-norm, caches,"),
        (["loss=hing"], "unknown loss 'hing'"),
        (["loss=hinge", "batch=many"], "variant 'batch=many' is not valid: it takes a number (Batch size.)"),
        (["batch-norm=on"], "unknown batch-norm 'on' (known: generator, off)"),
        (["dtype=float32"], "the base has this value already"),
        (["channels=2"], "channels 2: tiny has no hidden convolution"),
        (["threads=4096"], "threads 4096 is not valid"),
        (["loss=hinge", "--sweep", "batch=1,2"], "--sweep cannot be given with --vary"),
        (["loss=hinge", "--resume", "x"], "--resume cannot be given with --vary"),
        (["loss=hinge", "--format", "bmf"], "the format bmf holds one run, not several"),
        (["loss=hinge", "--machine", "../x"], "machine '../x'"),
    ],
)
def test_a_wrong_request_is_exit_2_before_anything_runs(ganbench_cli, tmp_path, arguments, named):
    code, out, err = ganbench_cli(*ASK, *arguments, "--results", tmp_path)
    assert (code, out) == (2, "")
    assert named in err
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_word_that_is_no_option_is_refused(ganbench_cli):
    code, _, err = ganbench_cli("compare", "torch", "jax")
    assert code == 2
    assert "'torch jax' is not an option" in err


# How the runs take turns


class Staged:
    """Runs that end as they are told: each is its rounds, and then what comes of it."""

    def __init__(self, monkeypatch, cut=None, **outcomes):
        self.took: list[str] = []
        self._cut = cut  # after how many rounds there is a Ctrl-C, which the run that is at it meets
        self._outcomes = {name.replace("_", "="): outcome for name, outcome in outcomes.items()}
        names = iter(self._outcomes)
        monkeypatch.setattr(several, "begin", lambda *_: self._steps(next(names)))

    def _steps(self, name):
        rounds, outcome = self._outcomes[name]
        try:
            for _ in range(rounds):
                if len(self.took) == self._cut:
                    raise KeyboardInterrupt
                self.took.append(name)
                yield
            if isinstance(outcome, BaseException):
                raise outcome
        except KeyboardInterrupt:
            return ended(outcome, Ending("interrupted"))
        return ended(outcome, Ending("complete"))


def ended(path, how):
    run = open_run(path) if not isinstance(path, BaseException) else None
    if run is not None:
        run.ended = how
    return run


def test_every_turn_has_one_round_of_each_run_and_a_failure_is_a_row(monkeypatch, craft, tmp_path, ganbench_cli):
    staged = Staged(
        monkeypatch, base=(6, craft(tmp_path)), loss_hinge=(6, craft(tmp_path, scale=2.0)),
        batch_8=(1, GanbenchError("the oracle ended early")), batch_4=(2, MemoryError("Unable to allocate 9 TiB")),
    )  # fmt: skip
    code, out, err = ganbench_cli(*ASK, "loss=hinge", "batch=8,4", "--ops", "matmul")
    assert code == 0
    assert "4 runs in turns, variant base, loss=hinge, batch=8, batch=4: 10 rounds each" in err
    turns = [staged.took[:4], staged.took[4:7], *(staged.took[at : at + 2] for at in range(7, 15, 2))]
    both = ["base", "loss=hinge"]
    assert [sorted(turn) for turn in turns] == [
        ["base", "batch=4", "batch=8", "loss=hinge"], ["base", "batch=4", "loss=hinge"], *[both] * 4,
    ]  # fmt: skip
    assert len(staged.took) == 15
    rows = [line.split() for line in out.splitlines() if line.strip()]
    assert [rows[2][1], *rows[2][-2:]] == ["base", "1.00", "base"]
    text = " ".join(out.split())
    assert "loss=hinge" in text
    assert "2.00 [2.00, 2.00] slower" in text
    assert "batch=8 failed the oracle ended early" in text
    assert "batch=4 out of memory Unable to allocate 9 TiB" in text


def test_ctrl_c_keeps_what_is_done(monkeypatch, craft, tmp_path, ganbench_cli):
    runs = {name: (3, craft(tmp_path)) for name in ("base", "loss_hinge", "batch_8")}
    staged = Staged(monkeypatch, cut=4, **runs)
    code, out, err = ganbench_cli(*ASK, "loss=hinge", "batch=8", "--ops", "matmul")
    assert code == 130
    assert len(staged.took) == 4
    assert err.count("saved in") == 3
    assert "interrupted: the table shows what was measured until then" in err
    assert "Traceback" not in err
    assert "base" in out


# What it costs


def priced(craft, tmp_path, *scales, **more):
    runs = [open_run(craft(tmp_path, scale=scale, **more)) for scale in (1.0, *scales)]
    names = ["base", *(f"x={scale:g}" for scale in scales)]
    points = tuple(Point(name, run) for name, run in zip(names, runs, strict=True))
    operations = runs[0].header.operations
    return Several("variant", tuple(operations), ("numpy", "torch"), "numpy", points, (), Ending("complete"))


@pytest.mark.parametrize("scale", [0.2, 0.9, 1.0, 1.1, 7.0])
def test_the_price_is_the_ratio_of_times(craft, tmp_path, scale):
    found = prices.tidy(priced(craft, tmp_path, scale))
    for _, row in found[found["variant"] != "base"].iterrows():
        assert row["price"] == pytest.approx(scale, rel=1e-3)
        assert row["price_low"] <= row["price"] <= row["price_high"]
        assert row["verdict"] == ("slower" if scale > 1 else "faster" if scale < 1 else "same")


def test_a_price_list_in_every_form(craft, tmp_path):
    made = priced(craft, tmp_path, 2.0, 0.5)
    rows = list(csv.DictReader(io.StringIO(prices.render(made, "csv"))))
    assert list(rows[0]) == prices.COLUMNS
    assert [row["operation"] for row in rows] == [name for name in made.operations for _ in range(6)]
    assert [row["target"] for row in rows[:6]] == ["numpy"] * 3 + ["torch"] * 3
    whole = json.loads(prices.render(made, "json"))
    assert whole["variants"] == ["base", "x=2", "x=0.5"]
    assert [row["verdict"] for row in whole["rows"][:3]] == ["base", "slower", "faster"]
    title, _, *lines = prices.render(made, "table").splitlines()
    assert title.startswith("prices relative to tiny")
    legend = next(number for number, line in enumerate(lines) if line.startswith("price: "))
    assert max(map(len, lines[:legend])) <= 80
    assert "| matmul | variant | time | price | verdict |" in prices.render(made, "markdown")


def test_too_few_rounds_have_no_verdict(craft, tmp_path):
    made = priced(craft, tmp_path, 2.0)
    for point in made.points:
        point.run.records[:] = [one for one in point.run.records if getattr(one, "round", 0) < 4]
    assert "undecided (3 rounds)" in prices.render(made, "table")


@pytest.mark.workers
def test_variants_are_ordinary_runs(ganbench_cli, tmp_path):
    ask = ("compare", "--preset", "tiny", "--backends", "numpy", "--rounds", "2", "--results", tmp_path)
    code, out, err = ganbench_cli(*ask, "--vary", "loss=hinge", "dtype=float64", "--format", "json")
    assert code == 0, err
    found = json.loads(out)["rows"]
    assert [(row["variant"], row["status"], row["rounds"]) for row in found] == [
        ("base", "ok", 2), ("loss=hinge", "ok", 2), ("dtype=float64", "ok", 2),
    ]  # fmt: skip
    assert all(row["price"] > 0 for row in found)
    for row in found:
        assert ganbench_cli("results", "show", row["run_id"], "--results", tmp_path)[0] == 0
