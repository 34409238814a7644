"""A setting is declared once: what is made from the declarations is there for every one of them."""

import json

import msgspec
import numpy as np
import pytest

from ganbench.cli import cli, defaults
from ganbench.fleet.plan import FleetPlan, jobs_of
from ganbench.gan import GANSpec
from ganbench.measure.plan import asked_again, make_plan, record
from ganbench.measure.session import describe
from ganbench.results.differences import changes, obstacles
from ganbench.results.run import open_run
from ganbench.settings import SETTINGS

COMPARE = cli.commands["compare"]
AXES = {"dtype": "dtypes", "threads": "threads", "preset": "presets", "model": "models"}  # of a fleet's plan
VALUES = {
    "N": 1,
    "TIME": 7.0,
    "SHARE": 0.2,
    "FACTOR": 0.5,
    "": True,
}  # other than the default, by what the option takes
NAMES = {
    "dtype": "float64", "backends": "numpy.inplace", "devices": "cpu", "ops": "matmul", "preset": "tiny",
    "model": "model.toml", "generator": "4,784", "discriminator": "784,1", "loss": "wgan-gp", "data": "rows.npy",
    "math": "tf32", "python": "numpy=/opt/other/bin/python", "baseline": "torch", "critic_steps": 2,
}  # fmt: skip
NEEDS = {  # what else must be said
    "caches": {"ops": "matmul", "threads": 1}, "baseline": {"backends": "numpy,torch"},
    "generator": {"discriminator": "784,1"}, "discriminator": {"generator": "4,784"},
    "batch_norm": {"preset": "dcgan-28"}, "channels": {"preset": "dcgan-28"},
}  # fmt: skip


def other(setting):
    """Return a value that is not the default, as the command line has it."""
    return next((one for one in setting.choices if one != setting.default), None) or NAMES.get(
        setting.name, VALUES.get(setting.metavar)
    )


def asked(setting):
    return {"backends": "numpy", **NEEDS.get(setting.name, {}), setting.name: other(setting)}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Stand beside the model and the data that ``NAMES`` names, on a machine with two processors."""
    (tmp_path / "model.toml").write_text("generator = [4, 36]\ndiscriminator = [36, 1]\nbatch = 3\n")
    np.save(tmp_path / "rows.npy", np.full((4, 28, 28), 0.5))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganbench.measure.plan.usable_cpus", lambda: [0, 1])


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def setting(request):
    return request.param


def test_it_is_an_option_of_compare_and_a_key_of_a_projects_file(setting, tmp_path):
    option = next(option for option in COMPARE.options if option.name == setting.name)
    assert f"--{setting.key}" in option.opts
    assert option.secondary_opts == ([] if setting.metavar else [f"--no-{setting.key}"])
    assert option.help.startswith(setting.help)
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[tool.ganbench]\n{setting.key} = {json.dumps(other(setting))}\n")
    found = defaults.defaults_from(path, cli)["compare"]
    with COMPARE.make_context("compare", [], default_map=found, obj=path) as context:
        assert str(context.params[setting.name]) == str(other(setting))


def test_a_fleets_job_asks_for_it(setting, tmp_path):
    assert setting.fleet != (setting.name in AXES or setting.name == "data")
    wanted = {name: value.split(",") if name == "backends" else value for name, value in asked(setting).items()}
    if wanted.pop("data", None):
        return
    matrix = {AXES.get(name, SETTINGS[name].key.replace("-", "_")): value for name, value in wanted.items()}
    matrix |= {axis: [matrix[axis]] for axis in AXES.values() if axis in matrix}
    (job,) = jobs_of(msgspec.convert({"matrix": [matrix]}, FleetPlan), tmp_path)
    (tmp_path / "model.toml").write_text(job.model)
    with COMPARE.make_context("compare", list(job.arguments)) as context:
        there = make_plan(**{name: context.params[name] for name in SETTINGS})
    here = make_plan(**asked(setting))
    named = msgspec.structs.replace(here.spec, name=there.spec.name)  # a model that is made by hand is called custom
    assert there == msgspec.structs.replace(here, spec=named)
    assert job.threads == wanted.get("threads")


def test_a_header_records_it_and_resume_takes_it_up(setting):
    plan = make_plan(**asked(setting))
    header = msgspec.structs.asdict(describe(plan, "here"))
    usual = record(make_plan(backends="jax", ops="adam_step"))
    assert setting.recorded == "-" or header[setting.recorded] != usual[setting.recorded]
    again = make_plan(plan.spec, **asked_again(header))
    fresh = plan.fresh_ceilings  # what is kept by then is fresh
    assert msgspec.structs.replace(again, fresh_ceilings=fresh) == plan


def test_diff_tells_it(setting, craft, tmp_path):
    known = "-" if setting.name == "data" else setting.recorded  # of data, the content counts
    if known in ("-", "spec", "settings", "targets", "operations", "baseline"):
        return
    ours = open_run(craft(tmp_path))
    value = record(make_plan(**asked(setting)))[setting.recorded]
    theirs = open_run(craft(tmp_path, **{setting.recorded: 64 if setting.name == "threads" else value}))
    names = {
        "refused": {one.name for one in obstacles(ours, theirs)},
        "told": {one.name for one in changes(ours, theirs)},
    }
    for what, found in names.items():
        assert (setting.recorded in found) == (setting.differing == what)


@pytest.mark.parametrize("budget_s", [None, 85.0, 60.0])
def test_a_time_that_was_asked_for_is_asked_for_again(budget_s):
    """Also where it is as long as the usual one, which may be overrun."""
    plan = make_plan(GANSpec(generator=(4, 36), discriminator=(36, 1), batch=3), backends="numpy", budget_s=budget_s)
    assert make_plan(plan.spec, **asked_again(record(plan))).rigor == plan.rigor
