"""What loading ganbench costs, and what its parts may know of one another."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = ("torch", "jax", "cupy", "mlx", "tensorflow", "keras")
HEAVY = ("numpy", "pandas", *FRAMEWORKS, "rich", "scipy", "PIL", "altair")


def loaded(code):
    """Return which heavy modules a fresh interpreter has loaded after ``code``."""
    script = f"{code}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[-2].split()


@pytest.mark.parametrize(
    "code",
    [
        "import ganbench",
        "import ganbench.cli\ntry:\n    ganbench.cli.cli.main(['--help'])\nexcept SystemExit: pass",
        "import ganbench.cli\ntry:\n    ganbench.cli.cli.main(['compare', '--help'])\nexcept SystemExit: pass",
        "import ganbench.cli\ntry:\n    ganbench.cli.cli.main(['train', '--help'])\nexcept SystemExit: pass",
        "import ganbench.cli\ntry:\n    ganbench.cli.cli.main(['report', '--help'])\nexcept SystemExit: pass",
        "import ganbench.cli\ntry:\n    ganbench.cli.cli.main(['recommend', '--help'])\nexcept SystemExit: pass",
        "import ganbench.report",
    ],
)
def test_help_and_import_load_nothing_heavy(code):
    assert loaded(code) == []


@pytest.mark.parametrize("code", ["import ganbench.registry as r; [r.about(n) for n in r.names()]"])
def test_probing_backends_imports_no_framework(code):
    assert not {*FRAMEWORKS} & set(loaded(code))


def test_public_names_resolve():
    import ganbench

    for name in ganbench.__all__:
        assert getattr(ganbench, name) is not None
    with pytest.raises(AttributeError, match="nothing_here"):
        ganbench.nothing_here  # noqa: B018


def imports_of(path):
    """Yield every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", sorted((ROOT / "ganbench").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_harness_knows_no_framework_and_no_backend(path):
    for name in imports_of(path):
        assert name.partition(".")[0] not in FRAMEWORKS
        assert "backends" not in name.split(".")


@pytest.mark.parametrize("path", sorted((ROOT / "backends").glob("*.py")), ids=lambda p: p.name)
def test_no_backend_knows_the_oracle_or_another_framework(path):
    own = path.name.partition("_")[0]
    for name in imports_of(path):
        assert "reference" not in name
        assert "measure" not in name
        first = name.partition(".")[0]
        if first in FRAMEWORKS:
            assert first == own
