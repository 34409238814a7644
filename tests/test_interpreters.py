"""Targets in other Pythons than the one that runs ganbench: virtual environments, one of them with another NumPy."""

import json
import subprocess
import sys
import sysconfig

import numpy as np
import pytest
from commands import cli, compared
from pythons import made

import ganbench
from ganbench import registry
from ganbench.cli import doctor
from ganbench.errors import UnavailableError, UsageError
from ganbench.gan import preset
from ganbench.launch import ROOT
from ganbench.measure.plan import make_plan
from ganbench.measure.run_ceilings import _path
from ganbench.registry import interpreters, look
from ganbench.results.run import open_run

OLDER = f"numpy>=1.26,<{np.__version__}"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python that has nothing, in a folder with a space in its name."""
    return str(made(tmp_path_factory.mktemp("bare") / "with space")[0])


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A Python that has what this one has, but for an older NumPy."""
    python, packages = made(tmp_path_factory.mktemp("other"))
    (packages / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--target", packages, OLDER]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs an older NumPy: {done.stderr[-300:]}")
    return str(python)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("numpy=/a", {"numpy": "/a"}),
        (["torch@cuda:0=/a", "torch=/b"], {"torch@cuda": "/a", "torch": "/b"}),
    ],
)
def test_which_backend_runs_where(text, found):
    assert registry.parse_pythons(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("numpy", "BACKEND=PYTHON"),
        ("numpy=", "BACKEND=PYTHON"),
        ("numpi=/a", "backend 'numpi' is not installed here"),
        ("numpy@cuda=/a", "unknown device of numpy 'cuda'"),
        ("torch.compile=/a", "all modes"),
        ("numpy=/a,numpy=/b", "two Pythons for numpy"),
    ],
)
def test_what_cannot_be(text, words):
    with pytest.raises(UsageError, match=words):
        registry.parse_pythons(text)


def test_a_target_has_the_python_of_its_device_or_of_its_backend():
    plan = make_plan(preset("tiny"), backends="torch,torch.manual,numpy", devices="cpu,cuda",
                     python=["torch=/a", "torch@cuda=/b"])  # fmt: skip
    assert {one.label: one.python for one in plan.targets} == {
        "torch": "/a", "torch@cuda": "/b", "torch.manual": "/a", "torch.manual@cuda": "/b", "numpy": "",
    }  # fmt: skip
    assert {one.library for one in plan.targets} == {"torch@cpu", "torch@cuda", "numpy"}


def test_a_relative_program_of_a_project_is_meant_from_its_file(project, ganbench_cli):
    path = project('[tool.ganbench]\npython = ["jax=envs/jax/bin/python", "torch=python3"]\n')
    _, out, _ = ganbench_cli("compare", "--show-config")
    assert f"jax={path.parent}/envs/jax/bin/python,torch=python3" in out


@pytest.mark.workers
def test_a_program_that_is_not_there_ends_the_run_before_it_begins(ganbench_cli, tmp_path):
    code, _, err = ganbench_cli("compare", "--backends", "numpy", "--preset", "tiny", "--python",
                                f"numpy={tmp_path}/python", "--results", tmp_path)  # fmt: skip
    assert code == 2
    assert f"no Python at '{tmp_path}/python'" in err


def test_what_is_no_python_is_told():
    with pytest.raises(UnavailableError, match="true does not work as a Python"):
        interpreters.require("true")


def test_the_command_installs_what_is_missing_and_nothing_else(bare):
    with pytest.raises(UnavailableError) as error:
        interpreters.require(bare)
    missing = " ".join(look.CORE)
    assert f"lacks ganbench, {missing.replace(' ', ', ')}: '{bare}' -m pip install --no-deps" in str(error.value)
    assert str(error.value).endswith(missing)
    assert (f"--editable {ROOT}" in str(error.value)) == (ROOT / "pyproject.toml").exists()


@pytest.mark.workers
def test_another_ganbench_there_is_found(other, monkeypatch):
    interpreters.require(other)
    interpreters.require.cache_clear()
    monkeypatch.setattr(look, "code_of", lambda: "other code")
    with pytest.raises(UnavailableError, match="whose code differs from this one"):
        interpreters.require(other)


@pytest.mark.workers
def test_doctor_and_list_say_what_is_there_and_what_is_missing(other, bare, ganbench_cli):
    found, older = "\n".join(doctor._backend("numpy", other)), registry.version("numpy", other)
    assert older != np.__version__
    assert f"numpy      {older} on" in found
    assert f"in {other} (Python {sys.version.split()[0]})" in found
    (missing,) = doctor._backend("numpy", bare)
    assert missing.startswith(f"numpy      missing: {bare} lacks ganbench")
    _, out, _ = ganbench_cli("list", "--python", f"numpy={other}", "--python", f"torch@cpu={bare}")
    assert f"  numpy {older} in {other}" in out
    assert f"  torch@cpu in {bare}\n      broken: {bare} lacks ganbench" in out


@pytest.mark.workers
def test_a_run_is_of_these_interpreters_and_goes_on_with_them(other, bare, tmp_path):
    asked = ["--backends", "torch,numpy,jax", "--ops", "matmul,adam_step", "--python", f"numpy={other}"]
    rows = compared(tmp_path, *asked, f"--python=jax={bare}")
    assert {rows[name, "torch"]["status"] for name in ("matmul", "adam_step")} == {"ok"}
    assert rows["matmul", "numpy"]["status"] == "ok"
    assert rows["matmul", "jax"]["status"] == "unavailable"
    assert f"{bare} lacks ganbench" in rows["matmul", "jax"]["reason"]

    (path,) = tmp_path.glob("*/compare/*.jsonl")
    run, older = open_run(path), registry.version("numpy", other)
    assert {one.label: one.python for one in run.header.targets} == {"torch": "", "numpy": other, "jax": bare}
    assert run.header.versions == {"torch": registry.version("torch"), "numpy@cpu": older, "jax@cpu": ""}
    assert run.workers["numpy"].framework_version == older
    assert run.workers["numpy"].python == sys.version.split()[0]
    assert run.workers["torch"].python == ""
    assert other not in " ".join(run.header.command)  # the name alone: runs are given to others

    done = cli("compare", "--resume", str(path), "--rounds", "2", "--details", "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"numpy in {other}, Python {sys.version.split()[0]}" in " ".join(done.stdout.split())
    again = open_run(path)
    assert {one.round for one in again.measurements if one.target == "numpy"} == {1, 2}
    assert ganbench.load_results(path).query("target == 'numpy'")["framework_version"].unique() == [older]


@pytest.mark.workers
def test_ceilings_are_those_of_the_interpreter(other):
    plans = [make_plan(preset("tiny"), backends="numpy", python=python) for python in ("", f"numpy={other}")]
    assert len({_path(plan, plan.targets[0]) for plan in plans}) == 2


@pytest.mark.workers
def test_verify_recommend_and_train_use_them(other, tmp_path):
    asked = ["--preset", "tiny", "--python", f"numpy={other}", "--backends", "numpy"]
    done = cli("verify", *asked, "--ops", "adam_step")
    assert done.returncode == 0, done.stderr
    done = cli("recommend", *asked, "--iterations", "10", "--budget", "1s", "--format", "json", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    (path,) = tmp_path.glob("*/compare/*.jsonl")
    assert open_run(path).workers["numpy"].framework_version == registry.version("numpy", other)
    done = cli("train", *asked, "--iterations", "8", "--output", tmp_path / "trained")
    assert done.returncode == 0, done.stderr
    assert registry.version("numpy", other) in (tmp_path / "trained/log.jsonl").read_text()


def test_a_python_without_pillow_does_not_train_and_is_told_what_to_install(tmp_path):
    python, packages = made(tmp_path / "other")
    (packages / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    hidden = "u.find_spec = lambda name: None if name == 'PIL' else find(name)"
    (packages / "sitecustomize.py").write_text(f"import importlib.util as u\nfind = u.find_spec\n{hidden}\n")
    done = cli("train", "--preset", "tiny", "--backend", "numpy", "--python", f"numpy={python}", "--iterations", "8",
               "--output", tmp_path / "trained")  # fmt: skip
    assert done.returncode == 1
    assert f"{python} lacks Pillow, which draws a training's pictures: {python} -m pip install Pillow" in done.stderr
