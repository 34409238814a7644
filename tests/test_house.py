"""The house: which room may import from which, as CONTRIBUTING.md draws it, and how large its files may be."""

import ast
import graphlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# All may import these.
TOP = set(
    "errors precision layers losses gan model_file array_ops operation gpus backend launch registry settings".split()
)
LARGEST = 320  # lines
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "ganbench").rglob("*.py")
}


def imported(name):
    """Yield each module of ganbench that ``name`` imports, wherever in it, for the sake of checkers as well."""
    tree = ast.parse(MODULES[name].read_text())
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module


def room(module):
    """Return the package below ganbench, or the single module, to which ``module`` belongs."""
    return module.split(".")[1] if "." in module else ""


def test_no_module_imports_in_a_circle():
    found = {name: set(imported(name)) for name in MODULES}
    assert list(graphlib.TopologicalSorter(found).static_order())


def test_rooms_import_as_the_drawing_says():
    rows = re.findall(r"^\| `(\w+)/?` \| .*? \|(.*?)\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    drawn = {name: set(re.findall(r"\w+", below)) for name, below in rows}
    found = {name: set() for name in map(room, MODULES)}
    for module in MODULES:
        found[room(module)] |= {room(other) for other in imported(module)} - {room(module), ""} - TOP
    below = {name: found.pop(name) for name in TOP}
    assert not set().union(*below.values()), "what every room may import imports no room"
    del found[""]  # the public names
    assert drawn == found


@pytest.mark.parametrize("folder", ["ganbench", "backends", "benchmarks", "docs", "tests", "examples"])
def test_no_file_is_too_long(folder):
    files = (ROOT / folder).rglob("*.py")
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > LARGEST} == {}


def test_few_modules_stand_at_the_top():
    assert len(list((ROOT / "ganbench").glob("*.py"))) <= 14


def test_every_mark_is_for_make_test_all():
    """A mark that the Makefile does not know would be run by neither `make test` nor by the rest."""
    marks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    names = {mark.partition(":")[0] for mark in marks} - {"gpu"}
    (rest,) = re.findall(r"^REST := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert set(rest.split(" or ")) == names


def test_no_result_says_where_on_its_machine_it_was_made():
    """A full path, alone or behind an option."""
    texts = [path for path in (ROOT / "results").rglob("*.json*") if path.is_file()]
    assert texts
    assert [path.name for path in texts if re.search(r'"(--[a-z-]+=)?/\w', path.read_text())] == []
