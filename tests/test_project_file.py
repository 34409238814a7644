"""A project's file as people have it: its spellings, what cannot be read, its paths, and what gives way."""

import os
import sys

import pytest
from commands import shown


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


@pytest.mark.parametrize(
    "text",
    ["rounds = 'many'", "nothing = 1", "= 3", "[[tool.ganbench]]", "compare = 3", "rounds = true", "energy = 1",
     "results = ['a', 'b']", "results = ''", "results = '$HOME/runs'",
     "backends = { numpy = true }", "data = 'a'\ndata = 'b'",
     'data = "a\\u0000b"', f"model = '{'x' * 300}'"],
)  # fmt: skip
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
    assert "there is no such home" in err


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
