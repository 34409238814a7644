"""What the documents say is run: commands parse, examples work, and every number has its file."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ganbench import cli
from ganbench.comparison import Comparison
from ganbench.report.export import render
from ganbench.store import read_run

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language):
    return [
        pytest.param(block, id=f"{path.name}-{number}")
        for path in DOCUMENTS
        for number, block in enumerate(re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL))
    ]


def commands():
    return sorted(
        {line for param in blocks("console") for line in re.findall(r"^\$ ganbench (.*)$", *param.values, re.M)}
    )


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one_that_exists(line):
    name, *arguments = line.partition("#")[0].split()
    command = cli.cli.commands[name]
    with command.make_context(name, arguments) as context:
        assert isinstance(context, click.Context)
        if name == "compare":
            options = {k: v for k, v in context.params.items() if k not in ("form", "output", "results", "machine")}
            assert cli._plan(options).targets


@pytest.mark.parametrize("code", [p for p in blocks("python") if "my_package" not in p.values[0]])
def test_every_example_runs(code, tmp_path):
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_result_table_is_the_run_it_names():
    found = re.findall(r"<!-- (results/\S+\.jsonl) -->\n(.*?)<!-- end -->", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found
    for path, shown in found:
        run = Comparison(read_run(ROOT / path), None, "complete")
        assert shown.strip() == render(run, "markdown").strip()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_link_inside_the_repository_leads_somewhere(path):
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target
