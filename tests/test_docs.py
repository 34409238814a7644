"""What the documents say is run: commands parse, examples work, and every number has its file."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ganbench import cli
from ganbench.measure.plan import make_plan
from ganbench.report.condition import parse
from ganbench.report.table import COLUMNS
from ganbench.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("README*.md")), ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language):
    """Return every block of code in that language, each once, named by where it stands first."""
    found = {}
    for path in DOCUMENTS:
        for number, block in enumerate(re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)):
            found.setdefault(block, f"{path.name}-{number}")
    return [pytest.param(block, id=name) for block, name in found.items()]


def commands():
    texts = [(r"^\$ ganbench (.*)$", *param.values) for param in blocks("console")]
    texts += [(r"bin/ganbench (.*?)(?: \|\||$)", *param.values) for param in blocks("yaml")]
    return sorted({line for pattern, text in texts for line in re.findall(pattern, text, re.M)})


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one_that_exists(line, monkeypatch, tmp_path):
    (tmp_path / "my.toml").write_text("batch = 4\ngenerator = [4, 4]\ndiscriminator = [4, 1]\n")  # the reader's own
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganbench.measure.plan.usable_cpus", lambda: [0, 1])  # for those that sweep threads
    name, *arguments = shlex.split(line, comments=True)
    command = cli.cli.commands[name]
    with command.make_context(name, arguments) as context:
        assert isinstance(context, click.Context)
        context.params.pop("show_config", None)  # as the command does
        if name == "compare":
            options = {name: value for name, value in context.params.items() if name in SETTINGS}
            if sweep := context.params["sweep"]:
                assert cli.planned_sweep(context, sweep, options)
                return
            if varied := (*context.params["vary"], *context.params["more"]):
                assert cli.planned_prices(context, varied, options)
                return
            plan = make_plan(**options)
            assert plan.targets
            assert all(parse(text, plan.targets, plan.operations, plan.baseline) for text in context.params["fail_if"])


@pytest.mark.workers
@pytest.mark.parametrize("code", [p for p in blocks("python") if "my_package" not in p.values[0]])
def test_every_example_runs(code, tmp_path):
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        pytest.param(*found, id=f"{path.name}-{number}")
        for path in DOCUMENTS
        for number, found in enumerate(
            re.findall(r"<!-- ganbench (.*?) -->\n```text\n(.*?)```\n", path.read_text(), re.DOTALL)
        )
    ],
)
def test_what_a_document_shows_is_what_the_command_prints(command, shown, ganbench_cli, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert ganbench_cli(*shlex.split(command))[1] == shown


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.parent.name != "decisions"], ids=lambda p: p.name)
def test_a_page_is_read_in_five_minutes(path):
    """Code, tables, formulas and pictures are looked at, not read; the glossary is looked up."""
    read = re.sub(r"```.*?```|^(\||<|    ).*?$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(read.split()) <= (1400 if path.name == "glossary.md" else 1150)


def test_the_glossary_explains_each_word_once_and_every_heading():
    text = (ROOT / "docs" / "glossary.md").read_text()
    words = re.findall(r"\*\*(.+?)\*\*", text)
    assert len(words) == len(set(words))
    assert set(COLUMNS) <= set(words)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_link_inside_the_repository_leads_somewhere(path):
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target
