"""Defaults from ``[tool.ganbench]``: what counts, what is said, and what is refused."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ganbench.cli import cli
from ganbench.cli.defaults import defaults_from

DOCUMENT = (Path(__file__).resolve().parents[1] / "docs" / "configuration.md").read_text()
EXAMPLE = re.search(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write a project's file, and stand in a folder below it."""

    def write(text):
        (tmp_path / "pyproject.toml").write_text(text)
        below = tmp_path / "below"
        below.mkdir(exist_ok=True)
        monkeypatch.chdir(below)
        return tmp_path / "pyproject.toml"

    return write


def shown(out):
    """Return the option, value and origin of each line of --show-config."""
    head, *lines = out.splitlines()
    starts = [head.index(word) for word in ("option", "value", "from")]
    cut = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in lines]
    return {option: (value, origin) for option, value, origin in cut}


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
    assert err == f"ganbench: defaults from [tool.ganbench] in {path}: --baseline, --ops\n"
    assert "speed relative to torch" in out
    assert "adam_step" not in out
    code, out, err = ganbench_cli("report", tmp_path / "kept", "--baseline", "numpy", "--ops", "adam_step")
    assert (code, err) == (0, "")
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


@pytest.mark.parametrize(
    "text",
    [
        '[tool]\nganbench.preset = "tiny"',
        'tool.ganbench = { preset = "tiny" }',
        '[tool."ganbench"]\npreset = "tiny"',
        "[ tool . 'ganbench' ]\n\"preset\" = 'tiny'",
        '["tool"."g\\u0061nbench"]\npreset = "tiny"',
        '[tool.ganbench.compare]\npreset = "tiny"',
        '\ufeff[tool.ganbench]\r\npreset = "tiny"\r\n',
    ],
)
def test_every_spelling_of_the_table_counts(project, ganbench_cli, text):
    project("").write_text(text, encoding="utf-8", newline="")
    code, out, err = ganbench_cli("compare", "--show-config")
    assert (code, err) == (0, "")
    assert shown(out)["--preset"][0] == "tiny"


def loop(path):
    path.unlink()
    path.symlink_to(path)


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (loop, "cannot look at {}: Too many levels of symbolic links"),
        (lambda path: path.write_text('[tool.ganbench]\nrounds = 1\n', "utf-16"), "cannot read {}: it is not UTF-8"),
        (lambda path: path.write_text("[broken"), "cannot read {}: Expected"),
        (lambda path: path.write_text("a = " + "[" * 5000), "cannot read {}: "),
        (lambda path: path.write_text("tool = 3"), ""),
        (folder, ""),
    ],
    ids=["loop", "utf-16", "broken", "nested", "no table", "folder"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_costs_a_line(project, ganbench_cli, spoil, words):
    path = project("")
    spoil(path)
    for quiet in (("--version",), ("--help",), ("compare", "--help")):
        code, _, err = ganbench_cli(*quiet)
        assert (code, err) == (0, "")
    code, _, err = ganbench_cli("compare", "--show-config")
    assert code == 0
    assert len(err.splitlines()) == bool(words)
    assert words.format(path) in err
    code, _, err = ganbench_cli("compare", "--backends", "numpy", "--fail-if", "nobody/matmul slower than 2x")
    assert code == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything: needs a user")
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_file_that_one_may_not_read_costs_a_line(project, ganbench_cli, closed):
    path = project("[tool.ganbench]\nrounds = 1\n")
    place, mode = (path, 0o000) if closed == "file" else (path.parent, 0o600)
    before = place.stat().st_mode
    place.chmod(mode)
    try:
        assert ganbench_cli("--version")[0] == 0
        code, _, err = ganbench_cli("compare", "--show-config")
    finally:
        place.chmod(before)
    assert code == 0
    assert "Permission denied" in err


@pytest.mark.parametrize("text", ["rounds = 'many'", "nothing = 1", "= 3", "[[tool.ganbench]]", "compare = 3"])
def test_help_comes_before_what_is_wrong_with_a_project(project, ganbench_cli, text):
    project(f"[tool.ganbench]\n{text}\n" if "[[" not in text else text)
    for quiet in (("--version",), ("--help",), ("compare", "--help")):
        code, _, err = ganbench_cli(*quiet)
        assert (code, err) == (0, "")
    code, _, err = ganbench_cli("compare", "--show-config")
    assert code == 2
    assert "pyproject.toml" in err


def test_paths_are_from_the_folder_of_the_file(project, ganbench_cli, craft, tmp_path, monkeypatch):
    """For options, and for the folder that ``report`` and ``results`` read."""
    craft(tmp_path / "kept" / "runs")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = project("[tool.ganbench]\nresults = 'kept/runs'\nmodel = '~/my.toml'\ndata = '/there/rows.npy'\n")
    found = shown(ganbench_cli("compare", "--show-config")[1])
    origin = f"[tool.ganbench] in {path}"
    assert found["--results"] == (str(tmp_path / "kept" / "runs"), origin)
    assert found["--model"] == (str(tmp_path / "home" / "my.toml"), origin)
    assert found["--data"] == ("/there/rows.npy", origin)
    for command in (("report",), ("results", "list"), ("results", "show", "2026")):
        code, out, err = ganbench_cli(*command)
        assert code == 0, err
        assert "here" in out
    assert ganbench_cli("report", tmp_path / "home")[0] == 1  # what stands on the command line counts before
    project("[tool.ganbench]\nresults = '~nobody-here/runs'\n")
    code, _, err = ganbench_cli("report")
    assert code == 2
    assert "that home is unknown" in err


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("baseline = 'torch'", ["--backends", "numpy"], "baseline 'torch' is not among the targets compared"),
        ("devices = 'cuda'", ["--backends", "numpy"], "unknown device of numpy 'cuda'"),
        ("fail-if = 'torch/matmul slower than 2x'", ["--backends", "numpy"], "target of a condition 'torch'"),
        ("fail-if = 'torch/conv slower than 2x'", ["--ops", "matmul", "--backends", "numpy,torch"], "'conv'"),
        ("caches = 'cold'\nthreads = 1", ["--ops", "gan_iteration"], "is for single operations"),
    ],
)
def test_a_default_that_does_not_fit_gives_way_and_is_said(project, ganbench_cli, monkeypatch, text, arguments, said):
    planned = []
    monkeypatch.setattr("ganbench.cli.shown", lambda work: planned.append(work) or sys.exit(0))
    project(f"[tool.ganbench]\n{text}\n")
    code, _, err = ganbench_cli("compare", *arguments)
    assert (code, len(planned)) == (0, 1), err
    assert said in err
    code, _, err = ganbench_cli("compare", "--backends", "numpy,torch", "--baseline", "jax")
    assert code == 2  # what stands on the command line does not give way


def test_of_results_without_it_a_default_gives_way(project, ganbench_cli, craft, tmp_path):
    craft(tmp_path / "kept")
    project("[tool.ganbench]\nops = 'gan_iteration,conv'\nbaseline = 'jax'\nmachine = 'elsewhere'\n")
    code, out, err = ganbench_cli("report", tmp_path / "kept")
    assert code == 0, err
    assert "speed relative to numpy" in out
    for name in ("baseline 'jax'", "machine 'elsewhere'"):
        assert f"no {name} is in" in err
    assert ganbench_cli("report", tmp_path / "kept", "--machine", "elsewhere")[0] == 2


@pytest.mark.parametrize(
    ("line", "option"),
    [("budget = '2 hours'", "--budget"), ("precision = '2'", "--precision"), ("rounds = 0", "--rounds"),
     ("timeout = -1", "--timeout"), ("rigor = 'sloppy'", "--rigor")],
)  # fmt: skip
def test_what_is_wrong_names_the_option_and_the_file(project, ganbench_cli, line, option):
    path = project(f"[tool.ganbench]\n{line}\n")
    code, _, err = ganbench_cli("compare")
    assert code == 2
    assert f"Invalid value for '{option}': " in err
    assert f"(from [tool.ganbench] in {path})" in err
