"""What other programs take from a run: its schema, the formats of services, the GitHub Action, the citation."""

import json
import math
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from ganbench.results.line_formats import FORMATS
from ganbench.results.run import open_run
from ganbench.results.table import run_table

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = sorted((ROOT / "results").glob("*/compare/*.jsonl"))


# The schema of a run file


def committed_schema(number):
    return ROOT / "docs" / ("run.schema.json" if number == max(FORMATS) else f"run-{number}.schema.json")


@pytest.fixture(scope="module")
def validators():
    schemas = {number: json.loads(committed_schema(number).read_text()) for number in FORMATS}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    return {number: jsonschema.Draft202012Validator(schema) for number, schema in schemas.items()}


@pytest.mark.parametrize("number", FORMATS)
def test_the_committed_schemas_are_those_of_the_code(number, ganbench_cli):
    code, out, _ = ganbench_cli("results", "schema", number)
    assert code == 0
    assert out == committed_schema(number).read_text()
    assert number != max(FORMATS) or ganbench_cli("results", "schema")[1] == out


def test_a_schema_of_a_format_that_is_none_is_refused(ganbench_cli):
    code, _, err = ganbench_cli("results", "schema", "3")
    assert code == 2
    assert "'3' is not one of '1', '2'" in err


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_line_fits_the_schema_of_its_format(path, validators):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines
    for line in lines:
        validators[lines[0]["format"]].validate(line)


def test_the_formats_are_told_apart_by_their_schemas(validators):
    """A measurement of one is none of the other: so its own schema was asked, and both are of committed files."""
    of_format = {}
    for path in COMMITTED:
        head, *lines = map(json.loads, path.read_text().splitlines())
        timed = [line for line in lines if line["type"] == "measurement" and line.get("cores")]
        of_format.setdefault(head["format"], []).extend(timed)
    assert set(of_format) == set(FORMATS)
    for number, lines in of_format.items():
        others = [validators[other] for other in FORMATS if other != number]
        assert lines
        assert not any(other.is_valid(lines[0]) for other in others)


@pytest.mark.parametrize(
    "change", [{"type": "what"}, {"run_id": 3}, {"threads": -1}, {"spec": {}}, {"targets": [{"backend": "numpy"}]}]
)
def test_what_is_no_line_of_a_run_does_not_fit(change, validators, craft, tmp_path):
    head = json.loads(craft(tmp_path).read_text().splitlines()[0])
    validators[2].validate(head)
    assert not validators[2].is_valid(head | change)


# Formats of services


@pytest.mark.parametrize("path", COMMITTED[-2:], ids=lambda path: path.stem)
def test_exports_hold_the_numbers_of_the_table(path, ganbench_cli):
    table = run_table(open_run(path))
    timed = table[table["median_s"].notna()]
    code, out, _ = ganbench_cli("results", "show", path, "--format", "bmf")
    assert code == 0
    found = json.loads(out)
    assert len(found) == len(timed)
    for (name, measures), row in zip(found.items(), timed.to_dict("records"), strict=True):
        assert name.endswith(f"{row['operation']} {row['shape']} on {row['target']}")
        assert measures["latency"]["value"] == row["median_s"] * 1e9
        assert measures["latency"].get("lower_value", math.nan) == pytest.approx(row["ci_low_s"] * 1e9, nan_ok=True)
        assert ("speed" in measures) == (row["verdict"] != "baseline")
        if "speed" in measures:
            speed = [measures["speed"].get(end, math.nan) for end in ("value", "lower_value", "upper_value")]
            ratios = [row["ratio"], row["ratio_low"], row["ratio_high"]]  # without ends after few rounds
            assert speed == pytest.approx(ratios, rel=0, nan_ok=True)
    code, out, _ = ganbench_cli("results", "show", path, "--format", "github-action-benchmark")
    entries = json.loads(out)
    assert [entry["name"] for entry in entries] == list(found)
    assert [entry["value"] for entry in entries] == [seconds * 1e3 for seconds in timed["median_s"]]
    assert {entry["unit"] for entry in entries} == {"ms"}
    with_interval = [entry for entry, width in zip(entries, timed["ci_low_s"].notna(), strict=True) if width]
    assert all(entry["range"].startswith("±") for entry in with_interval)


@pytest.mark.parametrize("form", ["bmf", "github-action-benchmark"])
def test_what_has_no_time_is_left_out_and_said(form, craft, tmp_path, ganbench_cli):
    path = craft(tmp_path, {"torch": 2.0}, statuses={("matmul", "torch"): "failed"})
    code, out, err = ganbench_cli("results", "show", path, "--format", form)
    assert code == 0
    assert "matmul 16x16x36 on torch" not in out
    assert "NaN" not in out
    assert "ganbench: left out: matmul on torch: failed: " in err


def test_a_sweep_is_no_single_run(ganbench_cli, tmp_path):
    arguments = ("--backends", "numpy", "--sweep", "batch=1,2", "--format", "bmf", "--results", tmp_path)
    code, _, err = ganbench_cli("compare", *arguments)
    assert code == 2
    assert "holds one run, not several" in err


# The GitHub Action: its steps, run as GitHub runs them


def filled(text, known):
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known.get(found[1], ""), text)


@pytest.fixture
def act(tmp_path):
    """Run the steps of action.yml in bash with stand-ins for the commands; return what came of the last, and files."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())

    def run(code, event="push", **inputs):
        folder = tmp_path / "bin"
        folder.mkdir()
        measured = 'printf "<%s>" "$@" > called; echo "| table |"; echo "ganbench: found" >&2'
        measured = f'echo "ganbench: 25% done, round 2" >&2; echo "b is fastest: 2.00 times a; tiny"; {measured}'
        measured = f'{measured}; echo "ganbench: saved in r/x y.jsonl; more" >&2; exit {code}'
        chart = 'printf "<%s>" "$@" > shown; echo xychart'
        page = 'printf "<%s>" "$@" > reported; echo page > "${@: -1}"'
        scripts = {
            "ganbench": f"case $1 in compare) {measured} ;; results) {chart} ;; report) {page} ;; esac",
            "python": 'printf "<%s>" "$@" > installed',
            "gh": 'printf "<%s>" "$GH_TOKEN" "$GH_REPO" "$@" > commented',
        }
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/bash\n{script}\n")
            (folder / name).chmod(stat.S_IRWXU)
        files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.touch()
        given = {name: spec["default"] for name, spec in action["inputs"].items()}
        given |= {"install": "ganbench[torch]"} | {name.replace("_", "-"): value for name, value in inputs.items()}
        known = {f"inputs.{name}": value for name, value in given.items()}
        known |= {"github.event_name": event, "github.token": "secret", "github.repository": "owner/name",
                  "github.event.pull_request.number": "7"}  # fmt: skip
        kept, last = {}, None
        for step in action["runs"]["steps"]:
            outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
            known |= {f"steps.compare.outputs.{name}": value for name, value in outputs.items()}

            if "if" in step:
                terms = (
                    step["if"].removeprefix("${{ ").removesuffix(" }}").removeprefix("!cancelled() && ").split(" && ")
                )
                sides = [re.fullmatch(r"(\S+) (==|!=) '(.*)'", term).groups() for term in terms]
                if not all((known.get(name, "") == value) == (sign == "==") for name, sign, value in sides):
                    continue
            elif last is not None and last.returncode:  # as GitHub does where no condition says otherwise
                continue
            if "uses" in step:
                kept[step["uses"]] = {name: filled(value, known) for name, value in step["with"].items()}
                continue
            env = {name: filled(value, known) for name, value in step["env"].items()}
            env = {"PATH": f"{folder}:{os.environ['PATH']}", **{name: str(file) for name, file in files.items()}, **env}
            # As GitHub calls it: https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax
            script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(script, env=env, capture_output=True, text=True, cwd=tmp_path)
            last = done if last is None or not last.returncode else last
        run.kept = kept
        return last, files["GITHUB_OUTPUT"].read_text(), files["GITHUB_STEP_SUMMARY"].read_text()

    run.folder = tmp_path
    return run


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("code", "outcome", "left"),
    [(0, "pass", 0), (1, "fail", 1), (2, "fail", 2), (3, "neutral", 0), (4, "fail", 4), (130, "fail", 130)],
)
def test_the_action_turns_exit_codes_into_outcomes(act, code, outcome, left):
    done, outputs, summary = act(code)
    assert left == done.returncode, done.stderr
    assert outputs.endswith(f"\noutcome={outcome}\n")
    assert summary.startswith("**b is fastest: 2.00 times a; tiny**\n")
    assert "| table |" in summary
    assert "ganbench: found" in summary
    assert summary.index("fastest") < summary.index("```mermaid\nxychart\n```") < summary.index("| table |")
    kept = act.kept["actions/upload-artifact@v4"]
    assert kept["name"] == "ganbench-page"
    assert Path(kept["path"]).read_text() == "page\n"
    assert (act.folder / "shown").read_text() == "<results><show><r/x y.jsonl><--format><mermaid>"
    assert (act.folder / "reported").read_text().startswith("<report><r/x y.jsonl><--html><")
    assert not (act.folder / "commented").exists()
    assert "25% done" in done.stderr  # while it runs, and nowhere else
    assert "25% done" not in summary
    assert ("::warning" in done.stdout) == (outcome == "neutral")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_action_hands_its_inputs_on_as_words_never_as_code(act):
    condition = "torch/gan_iteration slower than 1.10x"
    act(0, backends="numpy,$(touch bad)", fail_if=f"{condition}\n\n`touch bad` faster than 2x\n",
        arguments="--ops gan_iteration\n--budget 5m ; touch bad")  # fmt: skip
    called = (act.folder / "called").read_text()
    assert called == (
        "<compare><--backends><numpy,$(touch bad)><--ops><gan_iteration><--budget><5m><;><touch><bad>"
        f"<--fail-if><{condition}><--fail-if><`touch bad` faster than 2x><--format><markdown>"
    )
    assert (act.folder / "installed").read_text() == "<-m><pip><install><--quiet><ganbench[torch]>"
    assert not (act.folder / "bad").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("event", "comment"), [("pull_request", "true"), ("push", "true"), ("pull_request", "false")])
def test_the_action_comments_where_it_is_asked_to_and_there_is_a_pull_request(act, event, comment):
    act(1, event, comment=comment, page="")
    assert act.kept == {}
    if (event, comment) != ("pull_request", "true"):
        assert not (act.folder / "commented").exists()
        return
    said = (act.folder / "commented").read_text()
    assert said.startswith("<secret><owner/name><pr><comment><7><--body-file><")
    assert said.endswith("/summary.md><--edit-last><--create-if-none>")


@pytest.mark.workers
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_action_with_the_real_command(tmp_path):
    step = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"][1]
    env = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "BACKENDS": "numpy", "FAIL_IF": "",
        "ARGUMENTS": f"--preset tiny --ops matmul --rounds 1 --results {tmp_path / 'kept'}",
        "GITHUB_OUTPUT": str(tmp_path / "out"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }  # fmt: skip
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder, outcome = (line.partition("=")[2] for line in (tmp_path / "out").read_text().splitlines())
    assert outcome == "pass"
    summary = (tmp_path / "summary").read_text()
    assert "| matmul | numpy |" in summary
    assert '```mermaid\nxychart-beta horizontal\n  title "matmul: speed relative to numpy, ' in summary
    assert '  x-axis ["numpy"]\n' in summary
    assert "<html" in (Path(folder) / "page.html").read_text()


# The citation


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
