"""Counters of energy that only pretend: what is read of them, what a stretch makes of it, and how it is shown."""

import json
import types
from pathlib import Path

import pytest
from browser import Shown, chromium
from ganbench.backends.numpy_backend import NumpyBackend
from hypothesis import given, strategies as st
from pretended_nvml import SLICE, put_in_place

import ganbench
from ganbench.errors import StorageError, UnavailableError
from ganbench.gan import preset
from ganbench.machine import energy
from ganbench.measure.engine import spend
from ganbench.operations import operation
from ganbench.registry import parse_target
from ganbench.report.web import page
from ganbench.results.run import open_run
from ganbench.testing import images

RANGE = 262143328850  # microjoules, of a Xeon


@pytest.fixture
def zone(monkeypatch, tmp_path):
    """Write the files of one RAPL zone; the folder is the only one that there is."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)

    def write(place, name, microjoules):
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        for file, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", RANGE)):
            (folder / file).write_text(f"{value}\n")
        return folder / "energy_uj"

    return write


def test_all_packages_count_and_their_parts_do_not(zone):
    first, second = zone("intel-rapl:0", "package-0", 7_000_000), zone("intel-rapl:1", "package-1", 50)
    zone("intel-rapl:0:0", "core", 0), zone("intel-rapl:2", "psys", 0), zone("intel-rapl-mmio:0", "package-0", 0)
    source, read = energy.counter("cpu")
    assert source == "RAPL package"
    assert read() == 0
    first.write_text("9000000\n")
    second.write_text("500050\n")
    assert read() == pytest.approx(2.5)


def test_of_a_platform_without_packages_the_whole_counts(zone):
    zone("intel-rapl:0", "psys", 0)
    assert energy.counter("cpu").source == "RAPL psys"


@given(st.integers(0, RANGE), st.lists(st.integers(0, RANGE), max_size=20))
def test_a_counter_that_begins_anew_loses_nothing(start, steps):
    """Whatever it stood at, and however far it goes between two looks, if that is less than all of its range."""
    total = start
    file = types.SimpleNamespace(text=str(start))
    reader = energy._Zone.__new__(energy._Zone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(energy, "_text", lambda path: str(RANGE) if path.name.startswith("max") else file.text)
        reader.__init__(Path("zone"))
        for step in steps:
            total += step
            file.text = str(total % (RANGE + 1))
            assert reader.joules() == pytest.approx((total - start) / 1e6)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "only root may read it: sudo chmod a\\+r .*energy_uj"),
        (OSError(5, "Input/output error"), "cannot read .*energy_uj: Input/output error"),
        (None, "energy_uj says 'many', which is not a number"),
    ],
)
def test_a_counter_that_cannot_be_read_says_why(zone, monkeypatch, error, words):
    zone("intel-rapl:0", "package-0", "many")
    read = Path.read_text

    def refuse(path, *rest, **more):
        if error is not None and path.name == "energy_uj":
            raise error
        return read(path, *rest, **more)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UnavailableError, match=words):
        energy.counter("cpu")


def test_a_machine_without_a_counter_says_so(zone):
    with pytest.raises(UnavailableError, match=r"no RAPL counter of energy in .*: most virtual machines have none"):
        energy.counter("cpu")


def test_a_gpu_tells_millijoules(monkeypatch):
    with put_in_place(monkeypatch) as put:
        put()
        source, read = energy.counter("cuda:1")
        assert source == "NVML"
        assert read() - read() == pytest.approx(-0.25)
        for visible, refused in ((SLICE, ["nvmlDeviceGetTotalEnergyConsumption"]), ("", []), (None, ["nvmlInit"])):
            put(visible, refused=refused)
            with pytest.raises(UnavailableError, match="NVML does not report its energy"):
                energy.counter("cuda")


# From step to step ----------------------------------------------------------------------------------------------


class Device:
    """Uses ``watts`` while the clock goes on; its counter moves every ``step_s`` only."""

    def __init__(self, monkeypatch, watts=200.0, step_s=0.1):
        self.now, self.watts, self.step_s = 0.017, watts, step_s
        monkeypatch.setattr(energy, "time", types.SimpleNamespace(perf_counter=lambda: self.now))

    def read(self):
        self.now += 1e-5
        return self.watts * self.step_s * int(self.now / self.step_s)

    def work(self, seconds=0.002):
        self.now += seconds
        return 1


@pytest.mark.parametrize("step_s", [0.001, 0.02, 0.1])
@pytest.mark.parametrize("piece_s", [0.0005, 0.002, 0.7])
def test_only_what_lies_between_two_steps_counts(monkeypatch, step_s, piece_s):
    device = Device(monkeypatch, step_s=step_s)
    found = energy.stretch(device.read, lambda: None, lambda: device.work(piece_s))
    assert found.seconds >= energy.LEAST_S
    assert found.joules / found.seconds == pytest.approx(device.watts, rel=found.doubt + step_s / found.seconds)
    assert found.seconds / found.done == pytest.approx(piece_s, rel=0.05)
    assert found.doubt == pytest.approx(2 * (piece_s + 1e-5) / found.seconds, rel=0.1)


def test_a_counter_that_stands_still_is_given_up(monkeypatch):
    device = Device(monkeypatch, watts=0.0)
    with pytest.raises(UnavailableError, match="has not changed for 3 s"):
        energy.stretch(device.read, lambda: None, device.work)
    assert device.now < 4


def test_an_operation_is_called_without_its_state_going_too_far(monkeypatch):
    """A counter that moves with every look, so that a stretch ends as soon as it may."""
    monkeypatch.setattr(energy, "LEAST_S", 0.02)
    looks = iter(range(10**9))
    monkeypatch.setattr("ganbench.measure.engine.counter", lambda _: energy.Counter("", lambda: float(next(looks))))
    backend, made = NumpyBackend(), operation("adam_step", preset("tiny"))
    program = backend.prepare(made, made.inputs(0, "float32", images(made)))
    calls = {"now": 0, "most": 0}
    reset, call = program.reset, type(program).__call__

    class Counted(type(program)):
        def __call__(self):
            calls["now"] += 1
            calls["most"] = max(calls.values())
            call(self)

        def reset(self):
            calls["now"] = 0
            reset()

    program.__class__ = Counted
    found = spend(backend, made, program, 1000)
    assert found.joules > 0
    assert 0 < found.seconds < 0.02
    assert found.stretch_s >= 0.02
    assert calls["most"] <= 400


def test_energy_is_of_calls_that_were_made_even_where_nobody_else_waits_for_them(monkeypatch):
    """A lazy framework makes only the calls that are waited for; the others would be divided by all the same."""
    asked = []

    class Lazy(NumpyBackend):
        queues = False

        def synchronize(self, result=None):
            asked.append(result)

    monkeypatch.setattr(energy, "LEAST_S", 0.02)
    looks = iter(range(10**9))
    monkeypatch.setattr("ganbench.measure.engine.counter", lambda _: energy.Counter("", lambda: float(next(looks))))
    backend, made = Lazy(), operation("matmul", preset("tiny"))
    program = backend.prepare(made, made.inputs(0, "float32", images(made)))
    found = spend(backend, made, program, 1000)
    assert len(asked) >= found.stretch_s / found.seconds


def test_each_device_is_looked_at_once_at_rest(zone, monkeypatch):
    with put_in_place(monkeypatch) as put:
        put("0")
        targets = [parse_target(label) for label in ("torch@cuda", "numpy", "torch", "jax@cuda:1")]
        gpu, cpu, other = energy.at_rest(3, targets)
    assert (gpu.device, gpu.source, gpu.reason) == ("cuda", "NVML", "")
    assert gpu.watts > 0
    assert (cpu.watts, other.watts) == (None, None)
    assert "RAPL" in cpu.reason
    assert "NVML does not report its energy" in other.reason


# Shown ----------------------------------------------------------------------------------------------------------


def written(path, *lines):
    """Put lines before the last one of a run file."""
    *before, last = path.read_text().splitlines()
    path.write_text("\n".join([*before, *map(json.dumps, lines), last]) + "\n")
    return path


def spent(number, joules, **more):
    line = {"type": "energy", "round": number, "operation": "matmul", "target": "torch", "joules": joules}
    return line | {"seconds": 0.01, "stretch_s": 0.6, "doubt": 0.008} | more


def rest(number, watts=20.0, **more):
    return {"type": "power", "round": number, "device": "cpu", "source": "RAPL package", "watts": watts} | more


def test_both_are_shown_with_and_without_what_the_device_uses_at_rest(craft, tmp_path, ganbench_cli):
    path = craft(tmp_path)
    numbers = range(1, 7)
    written(
        path,
        *map(rest, numbers),
        *(spent(n, 1 + n / 100) for n in numbers),
        spent(1, 0.0, target="numpy", reason="why"),
    )
    table = ganbench.load_results(tmp_path).set_index(["operation", "target"])
    row = table.loc["matmul", "torch"]
    assert row["joules"] == pytest.approx(1.035, rel=1e-3)
    assert 1.01 <= row["joules_low"] < row["joules"] < row["joules_high"] <= 1.06
    assert row["joules_above_idle"] == pytest.approx(1.035 - 0.2, rel=1e-3)
    assert row["watts"] == pytest.approx(103.5, rel=1e-3)
    assert row["idle_w"] == 20
    assert table.drop(index=("matmul", "torch"))["joules"].isna().all()
    out = ganbench_cli("results", "show", path, "--details")[1]
    out = " ".join(out.split())
    assert "energy of target per iteration above idle power" in out
    assert "matmul torch 1.03 J ±1.9% 835 mJ 104 W" in out
    assert "energy on cpu (RAPL package): 20 W at rest, with all workers stopped; in a round, an energy may be" in out
    assert "no energy of matmul on numpy: why" in out


@pytest.mark.browser
def test_the_page_shows_them(craft, tmp_path):
    path = craft(tmp_path)
    written(path, *(rest(n) for n in range(1, 7)), *(spent(n, 1 + n / 100) for n in range(1, 7)))
    output = tmp_path / "page.html"
    output.write_text(page(tmp_path, ganbench.load_results(tmp_path)), encoding="utf-8")
    with chromium() as driver:
        shown = Shown(driver, output)
        assert "matmul torch 1.03 J ±1.9 % 835 mJ 104 W" in " ".join(shown.text("energy").split())
        assert "Not measured here" not in shown.text("energy")


def test_without_a_counter_the_reason_is_shown(craft, tmp_path, ganbench_cli):
    path = written(craft(tmp_path), rest(1, None, source="", reason="there is none"))
    assert "energy on cpu: not available: there is none" in ganbench_cli("results", "show", path)[1]
    assert ganbench.load_results(tmp_path)["joules"].isna().all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"target": "who"}, "'who' is not among the run's targets"), ({"seconds": 0}, "1 J in a time of 0 s")],
)
def test_an_energy_that_cannot_be_is_refused(craft, tmp_path, wrong, words):
    with pytest.raises(StorageError, match=words):
        open_run(written(craft(tmp_path), spent(1, 1.0, **wrong)))


@pytest.mark.workers
def test_a_run_on_a_machine_without_a_counter_goes_on(zone, ganbench_cli, tmp_path):
    asked = ("compare", "--backends", "numpy", "--preset", "tiny", "--ops", "matmul", "--rounds", "1", "--energy")
    code, out, _ = ganbench_cli(*asked, "--results", tmp_path / "results")
    assert code == 0
    assert "energy on cpu: not available: there is no RAPL counter of energy in" in out
