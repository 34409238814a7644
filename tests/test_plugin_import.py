"""A plug-in may do anything where it is imported, so it is imported where it can spoil nobody's numbers but its own."""

import importlib.metadata
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from commands import GANBENCH, compared
from patience import LIMIT_S

import ganbench
from ganbench import registry
from ganbench.errors import UsageError
from ganbench.measure.member import Member
from ganbench.registry import plugins


@pytest.fixture
def installed(outside, monkeypatch):
    """Have this process see the plug-ins from outside, and the processes that it starts."""
    monkeypatch.setenv("PYTHONPATH", outside["PYTHONPATH"])
    monkeypatch.syspath_prepend(outside["PYTHONPATH"])


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a plug-in that is one module, of which the source is given."""

    def install(name, source):
        monkeypatch.syspath_prepend(tmp_path)  # before it is there: it may be installed while a process runs
        assert name not in registry.names()
        (tmp_path / f"{name}.py").write_text(source)
        about = tmp_path / f"{name}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (about / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{name} = {name}:Mine\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return install


def test_what_a_plugin_replaces_stays_as_it_was(installed, capfd):
    before = time.monotonic, Member._fail, signal.getsignal(signal.SIGTERM), threading.active_count()
    (target,) = registry.parse_targets(["prying.wrong"])
    assert (target.mode, target.device) == ("wrong", "cpu")
    assert registry.environment(target, "float32", "ieee", "") == {}
    assert registry.version("prying") == "1.2.3"
    assert (time.monotonic, Member._fail, signal.getsignal(signal.SIGTERM), threading.active_count()) == before
    assert not {"prying", "outside"} & set(sys.modules)
    assert capfd.readouterr() == ("", "")


@pytest.mark.workers
def test_its_row_is_judged_as_any_other(tmp_path, outside):
    rows = compared(tmp_path, "--backends", "numpy,prying", "--ops", "matmul", env=outside)
    assert rows["matmul", "numpy"]["status"] == "ok"
    assert rows["matmul", "prying"]["status"] == "invalid"
    assert "off by" in rows["matmul", "prying"]["reason"]


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "verify --backends numpy,prying --preset tiny --ops adam_step",
        "compare --backends numpy,prying.wrong --baseline prying.wrong --preset tiny --rounds 2 --ops adam_step "
        "--devices cpu --fail-if 'numpy/adam_step slower than 1000x'",
        "recommend --iterations 10 --backends prying --preset tiny --budget 1s",
        "train --backend prying --preset tiny --iterations 8 --output trained",
    ],
    ids=lambda command: command.split()[0],
)
@pytest.mark.workers
def test_no_command_imports_it(command, tmp_path, outside):
    seen = tmp_path / "seen"
    process = subprocess.Popen(
        [*GANBENCH, *shlex.split(command)], cwd=tmp_path, env={**outside, "PRYING_SEEN": str(seen)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode in (0, 1, 3), said  # 3: undecided
    assert "Traceback" not in said
    assert seen.read_text().split()
    assert str(process.pid) not in seen.read_text().split()


def test_only_workers_import_backends():
    """All others ask, and that of NumPy, which ``generate`` computes with, is ganbench's own."""
    root = Path(ganbench.__file__).parent
    found = {str(path.relative_to(root)) for path in root.rglob("*.py") if "registry.load(" in path.read_text()}
    assert found == {f"measure/{name}.py" for name in ("worker", "fork_server")} | {
        f"training/{name}.py" for name in ("worker", "pictures")
    }
    assert 'registry.load("numpy")' in (root / "training/pictures.py").read_text()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise SystemExit('I have had enough')", "ended with exit code 1: I have had enough"),
        ("import os; os._exit(0)", "ended with exit code 0"),
        ("import os; os.abort()", "ended with exit code -6"),
        ("import time; time.sleep(1000)", "was killed, since it did not end within 1 s"),
        ("Mine = 1", "backend 'mine' is 1, not a subclass"),
        ("from ganbench.backend import Backend\nclass Mine(Backend): pass", "AttributeError: "),
    ],
    ids=["leaves", "silent", "aborts", "hangs", "number", "empty"],
)
def test_one_that_does_not_answer_is_a_target_with_a_reason(plugin, monkeypatch, source, why):
    monkeypatch.setattr(plugins, "PATIENCE_S", 1.0 if "killed" in why else LIMIT_S)
    plugin("mine", source)
    (target,) = registry.parse_targets(["mine"], ["cpu"])
    assert target == registry.Target("mine", "", "cpu", "mine")
    with pytest.raises(registry.BrokenBackendError) as error:
        registry.environment(target, "float32", "ieee", "")
    assert why in str(error.value)
    assert plugins._said.cache_info().misses == 1  # it is waited for once


def test_one_that_was_repaired_is_asked_anew(plugin, tmp_path):
    plugin("mine", "1 / 0")
    assert registry.parse_targets(["mine"])[0].mode == ""
    (tmp_path / "mine.py").write_text(
        "from ganbench.backends.numpy_backend import NumpyBackend\nclass Mine(NumpyBackend): pass\n"
    )
    assert registry.parse_targets(["mine"])[0].mode == "plain"


def test_what_is_installed_is_read_once_and_again_after_a_change(plugin, monkeypatch, tmp_path):
    read, entry_points = [], importlib.metadata.entry_points
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **group: read.append(group) or entry_points(**group))
    registry.names()
    for _ in range(3):
        registry.parse_target("numpy")
    assert len(read) == 1
    plugin("mine", "1 / 0")
    assert registry.parse_target("mine").backend == "mine"
    shutil.rmtree(tmp_path / "mine-1.dist-info")
    with pytest.raises(UsageError, match="unknown backend 'mine'"):
        registry.parse_target("mine")
