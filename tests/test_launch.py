"""Our processes run this ganbench, whatever lies in the folder that one stands in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import GANBENCH, QUICK
from patience import LIMIT_S

from ganbench.launch import ROOT, command
from ganbench.machine.environment import cpu_quota

pytestmark = pytest.mark.workers
SHADOWS = ("random", "numpy", "inspect", "queue", "secrets", "torch", "statistics", "msgspec")


def test_modules_of_the_users_in_the_current_folder_are_not_imported(tmp_path):
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(f"print('hello from {name}')\nraise ImportError('the wrong {name}')\n")
    done = subprocess.run(
        [GANBENCH[0], "-P", *GANBENCH[1:], "compare", *QUICK, "--backends", "numpy,torch", "--ops", "matmul",
         "--results", "r", "--format", "json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in json.loads(done.stdout)] == ["ok", "ok"]


def test_a_python_without_the_packages_that_ganbench_needs_is_told_so():
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from ganbench.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 2
    assert done.stderr.startswith("ganbench: this Python lacks what ganbench needs; run: ")
    assert "-m pip install " in done.stderr
    assert "click" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["ganbench", "ganbench.cli"])
def test_the_module_form_does_not_import_from_the_current_folder_either(tmp_path, form):
    for name in ("numpy", "random", "click", "fnmatch", "tempfile"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('the wrong {name}')\n")
    done = subprocess.run(
        [sys.executable, "-m", form, "verify", "--preset", "tiny", "--backends", "numpy", "--ops", "matmul"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["random", "select", "socket"])
def test_a_file_that_hides_one_of_pythons_own_modules_is_named(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "ganbench", "compare"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 2
    assert f"{tmp_path / name}.py takes the place of Python's own module '{name}'" in done.stderr


def test_another_ganbench_does_not_take_the_place_of_the_one_that_starts(tmp_path):
    other = tmp_path / "ganbench"
    other.mkdir()
    (other / "__init__.py").write_text("raise ImportError('another ganbench')\n")
    code = "import runpy, ganbench, sys; print(ganbench.__file__)"
    module = tmp_path / "where.py"
    module.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command("where"), env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == str(ROOT / "ganbench" / "__init__.py"), done.stderr


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/\n", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "200000 100000"}, 2.0),
        ("4:cpu,cpuacct:/d\n1:memory:/m\n",
         {"cpu,cpuacct/d/cpu.cfs_quota_us": "250000", "cpu,cpuacct/d/cpu.cfs_period_us": "100000"}, 2.5),
        ("4:cpu:/d\n", {"cpu/d/cpu.cfs_quota_us": "-1", "cpu/d/cpu.cfs_period_us": "100000"}, None),
        ("garbage", {"cpu.max": "garbage"}, None),
    ],
)  # fmt: skip
def test_quotas_of_control_groups(tmp_path, own, files, expected):
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "own") == expected


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(Path(tmp_path / "nowhere"), tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("variable", "target"), [("TORCHDYNAMO_DISABLE", "torch.compile"), ("JAX_DISABLE_JIT", "jax.scan")]
)
def test_a_variable_that_undoes_a_mode_makes_it_unsupported(tmp_path, variable, target):
    done = subprocess.run(
        [*GANBENCH, "compare", *QUICK, "--backends", f"numpy,{target}", "--ops", "matmul", "--results", tmp_path],
        env={**os.environ, variable: "1"}, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "unsupported" in text
    assert f"unset {variable}" in text
    assert "environment variables that may change the times: " in text
    assert f"{variable}=1" in text
