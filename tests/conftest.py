"""What must stand in the environment before any test imports JAX, which reads it once; and runs to read."""

import copy
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis
import processors  # before anything that imports NumPy
import pytest
from fleets import certificates, environment
from msgspec.structs import replace
from sizes import large, models_of
from study_runs import STUDIES
from trainings import finished, start

import ganbench
from ganbench import testing
from ganbench.cli import main
from ganbench.measure.plan import RIGORS, make_plan
from ganbench.operations.products import FLOOR

PLUGIN = Path(__file__).parent / "plugin"
# Every kind of layer, of activation and of loss is in one of these small models.
USUAL = ("tiny-", "saturating-bn-", "hinge-", "images-reshaped-")

# A shell that starts tests in the background has them ignore Ctrl-C, and they would hand that on to ganbench.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["JAX_ENABLE_X64"] = "1"  # float64 is tested; float32 stays float32
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# A timing is never a pass or fail, hypothesis's own included.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


def pytest_configure(config):
    testing.keep_answers(config)


def pytest_collection_modifyitems(items):
    """Mark conformance to large models, of which one takes as long as all small ones, and to odd ones."""
    for item in items:
        models = models_of(item)
        if any(map(large, models)):
            item.add_marker("large")
        elif models and not f"{item.callspec.id}-".startswith(USUAL):
            item.add_marker("odd")


# A timing is never judged, so the fewest visits do.
RIGORS["quick"] = replace(RIGORS["quick"], case_s=0.01)


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory):
    """Give ganbench a temporary folder of its own, so that a run elsewhere on this machine holds up no test."""
    folder = str(tmp_path_factory.mktemp("temporary"))
    os.environ["TMPDIR"] = os.environ["GANBENCH_LOCK"] = tempfile.tempdir = folder
    # What is found, or compiled by JAX or PyTorch, for one test is there for all others; a run compiles for itself.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    compiled = shared / "compiled"
    os.environ["GANBENCH_CACHE"] = f"{shared}/cache"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{compiled}/jax"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ |= {"TORCHINDUCTOR_CACHE_DIR": f"{compiled}/inductor", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    return folder


@pytest.fixture
def every_processor():
    """Let a test use the other worker's processors too."""
    if processors.PROCESSORS:
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, processors.PROCESSORS)
    yield
    if processors.PROCESSORS:
        os.sched_setaffinity(0, mine)


@pytest.fixture(scope="session")
def outside(tmp_path_factory):
    """Install the outside distribution into a folder of its own; return an environment that sees it."""
    folder = tmp_path_factory.mktemp("outside")
    source = folder / "source"
    source.mkdir()
    for file in PLUGIN.iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(source)], check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": str(folder / "site")}


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    """The options of a fleet that name its files of TLS."""
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def env(tmp_path):
    """The environment of a fleet."""
    return environment(tmp_path)


@pytest.fixture
def study(monkeypatch):
    """Import a study by name; the plug-in is on no path afterwards."""
    monkeypatch.setattr(sys, "path", [str(STUDIES), *sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    return importlib.import_module


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture(scope="session")
def real_run(tmp_path_factory):
    """The lines of one real round of NumPy, as plain objects; five more rounds are the same, each 1 % slower."""
    run = ganbench.compare(
        ["numpy"],
        preset="tiny",
        ops=["matmul", "batch_norm", "adam_step", "gan_iteration"],
        rounds=1,
        ceilings=False,
        machine="here",
        results=tmp_path_factory.mktemp("real"),
    )
    head, *lines, end = (json.loads(line) for line in run.path.read_text().splitlines())
    made = [head, *lines]
    for number in range(2, 7):
        for line in lines:
            if "round" in line:
                slower = [1.01 ** (number - 1) * seconds for seconds in line.get("samples", [])]
                made.append(line | {"round": number} | ({"samples": slower} if slower else {}))
    return [*made, end | {"rounds": 6}]


@pytest.fixture
def craft(real_run):
    """Write variations of the real run, with further targets that are exactly so much faster.

    ``statuses`` maps (operation, target) to what went wrong; ``shapes`` maps operations to other shapes;
    whatever else is given replaces a field of the header.
    """
    made = 0

    def write(results, speeds=None, *, statuses=None, shapes=None, versions=None, scale=1.0, end=True, **fields):
        nonlocal made
        made += 1
        speeds = {"torch": 2.0} if speeds is None else speeds
        head, *lines = copy.deepcopy(real_run)
        head |= {"run_id": f"202601{made:02}T000000Z-{made:04}", "timestamp": f"2026-01-{made:02}T00:00:00+00:00"}
        head |= fields
        head["targets"] += [
            {"backend": re.split("[.@]", name)[0], "mode": "eager", "device": "cpu", "label": name} for name in speeds
        ]
        written = [head]
        for line in lines:
            if line["type"] == "ceilings":
                written.append(line)
                continue
            if line.get("operation", FLOOR) not in {*head["operations"], FLOOR}:
                continue
            for name, speed in (("numpy", 1.0), *speeds.items()) if line["type"] != "end" else ():
                for second in (False, True) if name == "numpy" else (False,):  # a control that is perfect
                    one = copy.deepcopy(line) | {"target": name, "copy": second}
                    if line["type"] == "worker":
                        one["framework_version"] = (versions or {}).get(name, line["framework_version"])
                    else:
                        one["samples"] = [scale * seconds / speed for seconds in line["samples"]]
                        one["shape"] = (shapes or {}).get(line["operation"], line["shape"])
                        if not second and (wrong := (statuses or {}).get((line["operation"], name))):
                            one |= {"status": wrong, "reason": f"{name} went wrong", "samples": [], "passes": []}
                    written.append(one)
        if end:
            written.append(lines[-1])
        path = results / head["machine"] / "compare" / f"{head['run_id']}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in written))
        return path

    return write


@pytest.fixture
def ganbench_cli(monkeypatch, capsys):
    """Run the command line in this process; return its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ganbench", *map(str, arguments)])
        monkeypatch.setitem(make_plan.__kwdefaults__, "ceilings", False)  # as ``commands.GANBENCH``
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "a fault of ganbench" not in err
        return code, out, err

    return run


@pytest.fixture(scope="session")
def parity(tmp_path_factory):
    """Three backends trained from one seed in float64; (folder, what was printed)."""
    folder = tmp_path_factory.mktemp("parity")
    done = start("--backends", "numpy,torch,jax", "--preset", "tiny", "--dtype", "float64", "--iterations", 230,
                 "--seed", 0, "--output", folder)  # fmt: skip
    code, out, errors = finished(done)
    assert code == 0, errors
    return folder, out


@pytest.fixture
def theirs(craft, tmp_path):
    """Two good runs of someone else."""
    craft(tmp_path / "theirs", machine="there")
    craft(tmp_path / "theirs", machine="elsewhere", statuses={("matmul", "torch"): "failed"})
    return tmp_path / "theirs"


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


@pytest.fixture(scope="session")
def committed(tmp_path_factory):
    """This repository's results as they were on one day: tests must not depend on what is measured later."""
    folder = tmp_path_factory.mktemp("page") / "results"
    for name in ("xeon-2c", "epyc-2c"):
        shutil.copytree(Path(__file__).parents[1] / "results" / name, folder / name)
    for path in folder.glob("*/compare/*"):
        if path.stem > "20261126T165319Z-4c90":
            path.unlink()
        else:  # of one name there were several processors, and tests/test_machines.py is about these
            path.write_text(re.sub(r'"cpu":"Intel[^"]*"', '"cpu":"Intel"', path.read_text()))
    return folder


@pytest.fixture(scope="session")
def written(committed):
    """The page of these results."""
    from ganbench.report.web import page

    path = committed.parent / "page.html"
    path.write_text(page(committed, ganbench.load_results(committed)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def driver():
    """A browser without a network."""
    import browser

    with browser.chromium() as driver:
        yield driver
