"""Defaults from ``[tool.ganbench]``: what counts, what is said, and what is refused."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from commands import shown

from ganbench.cli import cli
from ganbench.cli.defaults import defaults_from

DOCUMENT = (Path(__file__).resolve().parents[1] / "docs" / "configuration.md").read_text()
EXAMPLE = re.search(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)[1]


def test_the_documented_example_and_where_each_value_came_from(project, ganbench_cli):
    path = project(EXAMPLE)
    code, out, err = ganbench_cli("compare", "--rounds", 12, "--show-config")
    assert (code, err) == (0, "")
    found, origin = shown(out), f"[tool.ganbench] in {path}"
    assert found["--rounds"] == ("12", "command line")
    assert found["--backends"] == ("numpy,torch,jax", origin)
    assert found["--preset"] == ("tiny", origin)
    assert found["--fail-if"] == ("torch/gan_iteration slower than 1.10x", origin)
    assert found["--dtype"] == ("float32", "default")


def test_a_default_is_used_and_said(project, ganbench_cli, craft, tmp_path):
    craft(tmp_path / "kept")
    path = project('[tool.ganbench]\nbaseline = "torch"\n[tool.ganbench.report]\nops = "matmul"')
    code, out, err = ganbench_cli("report", tmp_path / "kept")
    assert code == 0
    assert err.startswith(f"ganbench: defaults from [tool.ganbench] in {path}: --baseline, --ops\nganbench: reading ")
    assert "speed relative to torch" in out
    assert "adam_step" not in out
    code, out, err = ganbench_cli("report", tmp_path / "kept", "--baseline", "numpy", "--ops", "adam_step")
    assert (code, "defaults" in err) == (0, False)
    assert "speed relative to numpy" in out


def test_a_nested_command_takes_defaults_too(project, ganbench_cli, craft, tmp_path):
    run = craft(tmp_path / "kept")
    project(f'[tool.ganbench]\nresults = "{tmp_path / "kept"}"\nformat = "csv"')
    code, out, err = ganbench_cli("results", "show", run.stem)
    assert code == 0
    assert out.startswith("run_id,")
    assert "--results, --format" in err or "--format, --results" in err


def test_a_model_on_the_command_line_takes_the_place_of_the_projects(project, ganbench_cli, tmp_path):
    (tmp_path / "model.toml").write_text("generator = [4, 16]\ndiscriminator = [16, 1]\nbatch = 3\n")
    project(f'[tool.ganbench]\nmodel = "{tmp_path / "model.toml"}"\nbackends = "numpy"\nops = "matmul"')
    assert "3x" in ganbench_cli("compare", "--rounds", 1, "--results", tmp_path / "a", "--format", "csv")[1]
    code, out, _ = ganbench_cli(
        "compare", "--rounds", 1, "--preset", "tiny", "--results", tmp_path / "b", "--format", "csv"
    )
    assert code == 0
    assert ",tiny," in out


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[tool.ganbench]\nbackend_s = 1", "unknown option in [tool.ganbench] of"),
        ("[tool.ganbench.compare]\nhtml = 'x'", "unknown option in [tool.ganbench.compare] of"),
        ("[tool.ganbench.compare.more]\nx = 1", "unknown option in [tool.ganbench.compare] of"),
        ("[tool.ganbench.measure]\nx = 1", "unknown command in [tool.ganbench] of"),
        ("[tool.ganbench.results.lst]\nx = 1", "unknown command in [tool.ganbench.results] of"),
        ("[tool.ganbench.results]\nformat = 'csv'", "unknown command in [tool.ganbench.results] of"),
        ("[tool.ganbench.results]\nlist = 3", "is not valid: it must be a table, [tool.ganbench.results.list]"),
        ("[tool.ganbench]\noutput = 'x'", "unknown option"),
        ("[tool.ganbench]\nbackends = [{a = 1}]", "is not valid: a text, a number or a list"),
        ("[tool.ganbench]\ndetails = 'maybe'", "is not valid"),
        ("[tool.ganbench]\nrounds = 'many'", "(from [tool.ganbench] in "),
        ("[tool.ganbench]\nbackends = ", "cannot read"),
        ("[tool.ganbench]\n# \xff", "cannot read"),
    ],
)
def test_what_cannot_be_is_exit_2_and_names_the_file(project, ganbench_cli, text, named):
    path = project("")
    path.write_bytes(text.encode("latin-1"))
    code, out, err = ganbench_cli("compare", "--show-config")
    assert (code, out) == (2, "")
    assert named in err
    assert str(path) in err


def test_a_project_without_our_table_is_not_read(project, ganbench_cli):
    project("this is not TOML")
    assert ganbench_cli("compare", "--show-config")[0] == 0


def test_the_nearest_project_counts_alone(project, ganbench_cli, tmp_path):
    project("[tool.ganbench]\nrounds = 6")
    (tmp_path / "below" / "pyproject.toml").write_text("[project]\nname = 'x'")
    code, out, _ = ganbench_cli("compare", "--show-config")
    assert code == 0
    assert shown(out)["--rounds"] == ("", "default")


def test_two_kinds_of_model_on_the_command_line_are_refused(ganbench_cli):
    code, _, err = ganbench_cli("compare", "--preset", "tiny", "--model", "x.toml")
    assert code == 2
    assert "one of --preset, --model FILE, or --generator and --discriminator" in err


@pytest.mark.workers
@pytest.mark.parametrize(("words", "offered"), [("ganbench comp", "compare"), ("ganbench compare --rig", "--rigor")])
def test_the_shell_completes(words, offered):
    for shell, instructions in re.findall(r"_GANBENCH_COMPLETE=((?:bash|zsh|fish)_source)(.*)", DOCUMENT):
        assert instructions
        script = subprocess.run(
            [Path(sys.executable).with_name("ganbench")], env={**os.environ, "_GANBENCH_COMPLETE": shell},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "_GANBENCH_COMPLETE" in script.stdout or "bash" in script.stderr.lower()
    asked = {"_GANBENCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [Path(sys.executable).with_name("ganbench")], env={**os.environ, **asked}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert offered in done.stdout


def test_the_example_is_toml():
    assert tomllib.loads(EXAMPLE)["tool"]["ganbench"]["compare"]["rounds"] == 6


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('baseline = "torch"', ["report", "--html", "page.html"]),
        ('baseline = "torch"', ["report", "--by", "batch"]),
        ('baseline = "torch"', ["report", "--across"]),
        ('format = "json"', ["report", "--html", "page.html"]),
        ('format = "bmf"', ["report"]),
        ("[tool.ganbench.report]\nby = 'machine'", ["report", "--across"]),
        ("baseline = 'torch'\n[tool.ganbench.report]\nby = 'threads'", ["report"]),
        ("[tool.ganbench.report]\nagainst = 'here'", ["report"]),
        ("[tool.ganbench.report]\nacross = true", ["report", "--no-across", "--baseline", "torch"]),
    ],
)
def test_a_default_that_does_not_fit_what_was_asked_is_dropped(project, ganbench_cli, craft, tmp_path, text, command):
    craft(tmp_path / "kept")
    project(f"[tool.ganbench]\n{text}\n")
    code, _, err = ganbench_cli(*command, tmp_path / "kept")
    assert code == 0, err


@pytest.mark.parametrize(
    ("text", "arguments", "found"),
    [
        ("rounds = 6", ["--precision", "2%"], {"rounds": None, "precision_goal": 0.02}),
        ("precision = '1%'", ["--rounds", "2"], {"rounds": 2, "precision_goal": None}),
        ("precision = '1%'\n[tool.ganbench.compare]\nrounds = 6", [], {"rounds": 6, "precision_goal": None}),
        ("energy = true", ["--no-energy"], {"energy": False}),
        ("energy = true", ["--caches", "cold"], {"energy": False, "caches": "cold"}),
        ("energy = true", ["--caches", "warm"], {"energy": True}),
        ("generator = '4,36'\ndiscriminator = '36,1'", ["--preset", "tiny"], {"generator": None, "preset": "tiny"}),
        ("preset = 'tiny'\nbatch = 5", ["--model", "x.toml"], {"preset": None, "batch": 5}),
        ("rounds = 6", ["--resume", "x"], {"rounds": None}),
    ],
)
def test_what_stands_on_the_command_line_counts_before(project, tmp_path, text, arguments, found):
    path = project(f"[tool.ganbench]\n{text}\n")
    defaults = defaults_from(path, cli)["compare"]
    with cli.commands["compare"].make_context("compare", arguments, default_map=defaults, obj=path) as context:
        assert found.items() <= {name: getattr(value, "name", value) for name, value in context.params.items()}.items()


def test_a_value_that_fits_no_command_is_refused(project, ganbench_cli):
    path = project("[tool.ganbench]\nformat = 'xml'\n")
    code, _, err = ganbench_cli("list")
    assert code == 2
    assert f"unknown format in [tool.ganbench] of {path} 'xml' (known: bmf, csv" in err
