"""``make gpu`` where there is no GPU: it says so, and the rest of it is tried on steps that only pretend."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import LIMIT_S

from ganbench import gpus
from ganbench.measure.session import shareable

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu.py"


@pytest.fixture
def gpu():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("ganbench_gpu_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def record(gpu, tmp_path):
    return gpu.Record(tmp_path / "gpu", "this code")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def steps(gpu, clock, plan, ran):
    """Steps of 100 s each; ``plan`` says how each ends and how long it takes."""

    def make(name, status, takes):
        def run(seconds):
            ran.append((name, seconds))
            clock.now += takes
            return gpu.Outcome(status, f"{name} was {status}")

        return gpu.Step(name, 100, run)

    return [make(name, *rest) for name, rest in plan.items()]


@pytest.mark.skipif(gpus.count() > 0, reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_leaves_with_2(tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no NVIDIA GPU found" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_command(gpu, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "psutil" else find(name))
    assert gpu.obstacle() == f"{sys.executable} lacks psutil: {sys.executable} -m pip install 'psutil'"


def test_no_step_keeps_the_others_from_running(gpu, record, capsys):
    ran, clock = [], Clock()
    plan = {"a": ("failed", 10), "b": ("skipped", 0), "c": ("cut", 190), "d": ("done", 50)}
    assert gpu.act(steps(gpu, clock, plan, ran), record, clock) == 1
    assert ran == [("a", 100), ("b", 190), ("c", 290), ("d", 200)]  # what one leaves the next ones have
    out = capsys.readouterr().out
    assert "a          failed     10 s  a was failed" in out
    assert "run it again" in out


def test_what_is_done_is_not_done_again_and_leaves_its_time(gpu, record):
    ran, clock = [], Clock()
    plan = {"a": ("cut", 100), "b": ("done", 100), "c": ("done", 100)}
    assert gpu.act(steps(gpu, clock, plan, ran), record, clock) == 1
    began = record.began("a")
    assert began
    ran.clear()
    assert gpu.act(steps(gpu, Clock(), plan | {"a": ("done", 150)}, ran), record, Clock()) == 0
    assert ran == [("a", 300)]
    assert gpu.act(steps(gpu, Clock(), plan, ran), record, Clock()) == 0
    assert len(ran) == 1


def test_a_cut_step_remembers_its_first_start_and_a_failed_one_does_not(gpu, record):
    for status, remembered in (("started", True), ("cut", True), ("failed", False)):
        record.add("a", status)
        assert (record.began("a") is not None) is remembered
    assert record.began("b") is None


def test_steps_of_other_code_and_torn_lines_do_not_count(gpu, record, tmp_path):
    record.add("a", "done")
    assert record.done() == {"a"}
    assert gpu.Record(tmp_path / "gpu", "other code").done() == set()
    with record.path.open("a") as file:
        file.write('{"step": "b", "sta')
    assert record.done() == {"a"}
    record.add("b", "done")
    assert record.done() == {"a", "b"}


def test_a_run_that_was_cut_is_found_and_gone_on_with(gpu, record, craft, tmp_path, monkeypatch):
    asked = ["compare", "--backends", "torch@cuda", "--ops", "gan_iteration", "--rounds", "6",
             *gpu.PRECISIONS["float32"], "--results", str(tmp_path)]  # fmt: skip
    kept = ["cli.py", *map(shareable, asked)]
    craft(tmp_path, command=kept)  # has ended
    run = craft(tmp_path, command=kept, end=False)
    craft(tmp_path, command=[*kept, "--threads", "1"], end=False)
    assert gpu.interrupted(tmp_path, "20260101T000000Z", asked) == run
    assert gpu.interrupted(tmp_path, "20260109T000000Z", asked) is None

    codes, commands = iter([124, 0, 2, 0]), []
    monkeypatch.setattr(gpu, "command", lambda log, seconds, arguments: commands.append(arguments) or next(codes))
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "_now", lambda: "20260101T000000Z")
    (tmp_path / "float32.log").write_text("words\n")

    def compared():
        return gpu.compared("float32", tmp_path, record, ["torch@cuda"], [], 60)

    assert compared().status == "cut"  # nothing of this step has begun yet
    assert commands[-1][-len(asked) :] == asked
    record.add("float32", "started")
    assert compared().status == "done"
    assert commands[-1][-2:] == ["--resume", str(run)]
    assert compared().status == "done"  # it cannot go on, so another is begun
    assert ["--resume" in line for line in commands[-2:]] == [True, False]


def test_a_command_is_stopped_when_its_time_is_over(gpu, tmp_path):
    code = (
        f"import time\ntry:\n    time.sleep({10 * LIMIT_S})\nexcept KeyboardInterrupt:\n    print('kept', flush=True)"
    )
    began = time.monotonic()
    assert gpu.command(tmp_path / "log", 1.0, [sys.executable, "-c", code]) == 124
    assert time.monotonic() - began < 10 * LIMIT_S
    assert (tmp_path / "log").read_text().endswith("kept\n")
    assert gpu.command(tmp_path / "log", LIMIT_S, [sys.executable, "-c", "print('words'); raise SystemExit(3)"]) == 3
    assert gpu.outcome_of(3, tmp_path / "log").reason.startswith("words (exit code 3")


def test_a_log_is_small_enough_to_be_sent(gpu, tmp_path):
    code = "print('first'); print('x' * 3_000_000); print('last')"
    assert gpu.command(tmp_path / "log", LIMIT_S, [sys.executable, "-c", code]) == 0
    kept = (tmp_path / "log").read_text()
    assert len(kept) < 1_000_000
    assert "first\n" in kept
    assert kept.endswith("last\n")


def test_the_steps_fit_into_ten_minutes(gpu, record, tmp_path):
    made = list(gpu.all_steps(tmp_path, record, ["torch@cuda"]))
    assert sum(step.seconds for step in made) < 600
    assert [step.name for step in made] == ["tests", *gpu.PRECISIONS, "asv"]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_gpu_uses_the_python_it_is_given_and_installs_nothing():
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # `make test` runs this
    command = ["make", "-n", "gpu", "PYTHON=any"]
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["any", "benchmarks/gpu.py"]


@pytest.mark.skipif(importlib.util.find_spec("asv") is None, reason="needs asv")
@pytest.mark.parametrize(
    ("said", "status"), [("torch@cuda  n/a\n", "failed"), ("torch@cuda  12.3±0.1μs\n jax@cuda  n/a\n", "done")]
)
def test_asv_is_done_only_where_a_case_was_timed(gpu, monkeypatch, tmp_path, said, status):
    log = tmp_path / "asv.log"
    log.write_text("\n$ asv run\n5±1ms\n")  # of an earlier start

    def command(log, seconds, arguments):
        with log.open("a") as file:
            file.write(f"\n$ {' '.join(arguments)}\n{said}")
        return 0

    monkeypatch.setattr(gpu, "command", command)
    assert gpu.suite(log, 10).status == status


TARGETS = ["torch@cuda", "torch.graph@cuda", "jax@cuda", "cupy"]


@pytest.fixture
def asked(gpu, monkeypatch, tmp_path):
    """The commands of the step of tests, of which the codes are given by a list; the log says that one failed."""
    (tmp_path / "tests.log").write_text("1 failed\n")
    asked, codes = [], []

    def command(log, seconds, arguments, environment=None):
        asked.append((arguments, environment or {}))
        return codes.pop(0)

    monkeypatch.setattr(gpu, "command", command)
    return asked, codes


def test_each_framework_is_tested_in_a_process_of_its_own(gpu, asked, tmp_path):
    commands, codes = asked
    codes += [0, gpu.NO_TESTS, 1]
    assert gpu.tests(tmp_path / "tests.log", "code", TARGETS, [], 30).status == "failed"
    names = [arguments[arguments.index("-k") + 1] for arguments, _ in commands]
    assert (names, {environment["CUDA_DEVICE_ORDER"] for _, environment in commands}) == (
        ["torch", "jax", "cupy"], {"PCI_BUS_ID"},
    )  # fmt: skip


def test_without_pytest_its_programs_are_verified(gpu, asked, monkeypatch, tmp_path):
    commands, codes = asked
    codes += [0, 0, 0]
    monkeypatch.setattr(gpu.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), 1))
    assert gpu.tests(tmp_path / "tests.log", "code", TARGETS, [], 30).status == "done"
    assert ["verify" in arguments for arguments, _ in commands] == [True] * 3
    assert commands[0][0][commands[0][0].index("--backends") + 1] == "torch@cuda,torch.graph@cuda"


TESTS_THAT_TAKE_TIME = """
import time, warnings, pytest
pytestmark = pytest.mark.gpu

@pytest.mark.parametrize("n", range(4))
def test_one(n):
    warnings.warn("of a user's library")
    time.sleep(0.3)
    with open({seen!r}, "a") as file:
        file.write(str(n))
    assert n != 2

def test_without_the_mark():
    raise AssertionError
test_without_the_mark.pytestmark = []
"""


def test_a_test_that_is_done_stays_done_and_none_begins_when_time_is_over(gpu, tmp_path):
    file, seen = tmp_path / "test_slow.py", tmp_path / "seen"
    file.write_text(TESTS_THAT_TAKE_TIME.format(seen=str(seen)))
    (tmp_path / "conftest.py").write_text("import a_package_of_developers\n")

    def run(seconds, code="code"):
        variables = {"GPU_TESTS_DONE": str(tmp_path / "done.jsonl"), "GPU_TESTS_CODE": code,
                     "GPU_TESTS_SECONDS": str(seconds), "PYTHONPATH": str(gpu.SUPPORT)}  # fmt: skip
        return gpu.command(tmp_path / "log", LIMIT_S, [sys.executable, *gpu.PYTEST, str(file)], variables)

    assert run(0.0) == gpu.CUT
    assert seen.read_text() == "0"
    assert run(LIMIT_S) == 1  # one fails, and the others are done
    assert seen.read_text() == "0123"
    assert run(LIMIT_S) == 1
    assert seen.read_text() == "01232"  # only that one again
    assert run(LIMIT_S, "other code") == 1
    assert seen.read_text() == "012320123"


def test_in_a_python_without_what_developers_have_the_tests_are_found(gpu, tmp_path):
    """Neither hypothesis nor PyTorch: the tests of a GPU are imported, and skip what is not there."""
    hidden = ("hypothesis", "pytest_timeout", "xdist", "torch", "PIL", "dask", "distributed")
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nfor name in {hidden}: sys.modules[name] = None\n")
    variables = {"GPU_TESTS_DONE": str(tmp_path / "done.jsonl"), "GPU_TESTS_CODE": "", "GPU_TESTS_SECONDS": "600",
                 "PYTHONPATH": os.pathsep.join([str(tmp_path), str(gpu.SUPPORT)])}  # fmt: skip
    command = [sys.executable, *gpu.PYTEST, "-p", "no:timeout", "-p", "no:xdist", "-k", "torch", *gpu.TESTS]
    code = gpu.command(tmp_path / "log", LIMIT_S, command, {**variables, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    said = (tmp_path / "log").read_text()
    assert code == 0, said
    assert "torch is not installed" in said


def test_a_gpu_that_admits_one_process_is_told(gpu, monkeypatch):
    monkeypatch.setattr(gpus, "count", lambda: 1)
    monkeypatch.setattr(gpu, "gpu_targets", lambda: ["torch@cuda"])
    monkeypatch.setattr(gpus, "one_process", lambda device: f"{device} is for one")
    assert gpu.obstacle() == "cuda is for one"


@pytest.mark.parametrize("key", ["torch", "torch@cuda"])
def test_another_version_in_another_python_is_another_state(gpu, monkeypatch, key):
    monkeypatch.setattr("ganbench.registry.version", lambda name, python="": f"{name} of {python or 'here'}")
    assert gpu.code_state({key: "/opt/python"}).endswith("torch of /opt/python jax of here cupy of here")


def test_a_framework_in_another_python_is_used_there(gpu):
    assert gpu.obstacle(["jax"]).startswith("python 'jax' is not valid")
