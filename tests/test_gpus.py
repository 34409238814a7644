"""Which NVIDIA GPUs there are to be seen, and what they tell; on a driver that only pretends."""

import json
import re
import sys

import msgspec
import pytest
from pretended_nvml import NAMES, SLICE, UUIDS, Nvml, forget, put_in_place

import ganbench
from ganbench import gpus
from ganbench.cli import doctor
from ganbench.machine import environment
from ganbench.machine.environment import Watch
from ganbench.results.records import Disturbance, summary


@pytest.fixture
def nvml(monkeypatch):
    """Return a function that puts a pretended NVML in place."""
    with put_in_place(monkeypatch) as put:
        yield put


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        (None, (0, 1, 2)),
        ("2,0", (2, 0)),
        (" 1 ", (1,)),
        ("", ()),
        ("-1", ()),
        ("1,9,0", (1,)),  # CUDA stops at what it does not know
        ("GPU-3333", (2,)),
        ("GPU-2222-bb,GPU-1", (1, 0)),
        (SLICE, (2,)),
        ("MIG-none", ()),
    ],
)
def test_gpus_are_those_that_cuda_sees_in_its_order(nvml, visible, seen):
    nvml(visible)
    assert gpus.names() == tuple(NAMES[index] for index in seen)
    assert gpus.count() == len(seen)
    for place, index in enumerate(seen):
        assert gpus.clocks(f"cuda:{place}")() == (1000 + index, ("power cap",))
    assert gpus.clocks(f"cuda:{len(seen)}")() == (None, ())


def test_a_machine_is_named_by_the_gpu_that_is_seen(nvml):
    nvml("1")
    assert environment.machine_name().endswith("quadro-t400-4gb")


def test_clock_and_reasons_are_asked_apart(nvml):
    nvml(refused=("nvmlDeviceGetClockInfo",))
    assert gpus.clocks("cuda")() == (None, ("power cap",))
    nvml(refused=("nvmlDeviceGetCurrentClocksThrottleReasons",))
    assert gpus.clocks("cuda")() == (1000, ())
    assert Watch("cuda").stop().sm_mhz == 1000


def test_doctor_tells_the_clocks_of_gpus_and_how_to_lock_them(nvml, ganbench_cli, monkeypatch):
    monkeypatch.setattr(doctor.registry, "names", list)
    monkeypatch.setattr(doctor, "trial", lambda: iter(()))
    nvml("1,0")
    _, out, _ = ganbench_cli("doctor")
    assert "GPU 0: highest clock 1980 MHz, application clock 1410 MHz, usual clock 1755 MHz\n" in out
    assert "the clock of GPU 0" not in out  # it is held
    assert "the clock of GPU 1 may change" in out
    assert f"nvidia-smi --id={UUIDS[0]} --lock-gpu-clocks=1755,1755" in out

    nvml("0", refused=[name for name in dir(Nvml) if "Clock" in name])
    _, out, _ = ganbench_cli("doctor")
    assert "GPU 0: NVML reports no clocks\n" in out
    assert "--lock-gpu-clocks=MHZ,MHZ" in out


@pytest.mark.parametrize(("mode", "name"), [(0, ""), (1, ""), (2, "PROHIBITED"), (3, "EXCLUSIVE_PROCESS")])
def test_a_gpu_for_one_process_is_told_with_what_undoes_it(nvml, monkeypatch, ganbench_cli, mode, name):
    monkeypatch.setattr(Nvml, "mode", mode)
    nvml("1")
    reason = gpus.one_process("cuda")
    assert bool(reason) == bool(name)
    assert name in reason
    assert gpus.one_process("cpu") == gpus.one_process("cuda:1") == ""
    assert (reason in environment.disturbances()) == bool(reason)
    if reason:
        assert f"nvidia-smi --id={UUIDS[1]} --compute-mode=DEFAULT" in reason
        row = ganbench.compare("torch@cuda", preset="tiny", ops="matmul", rounds=1, results=None).to_pandas().iloc[0]
        assert (row["status"], row["reason"]) == ("unavailable", reason)
    nvml("1", refused=["nvmlDeviceGetComputeMode"])
    assert gpus.one_process("cuda") == ""


def test_older_bindings_tell_bytes(nvml):
    nvml("GPU-2222", text=str.encode)
    assert gpus.names() == ("Quadro T400 4GB",)
    assert gpus.driver() == "580.65.06"


def test_a_driver_that_is_not_there_shows_no_gpu(nvml):
    nvml(refused=("nvmlInit",))
    assert gpus.names() == ()
    assert gpus.clocks("cuda")() == (None, ())


def test_without_nvml_the_drivers_own_files_are_read(monkeypatch, tmp_path, nvml):
    nvml()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(gpus, "PROC", tmp_path)
    monkeypatch.setattr(gpus, "WINDOWS_GPU", tmp_path / "dxg")
    assert (gpus.count(), gpus.names(), gpus.driver()) == (0, (), "")
    (tmp_path / "dxg").touch()
    assert gpus.count() == 1
    folder = tmp_path / "gpus" / "0000:01:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t NVIDIA H200\nIRQ: 1\n")
    forget()
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release\n")
    assert (gpus.count(), gpus.names(), gpus.driver()) == (1, ("NVIDIA H200",), "580.65.06")


def test_visits_at_which_a_clock_was_held_down_are_counted_and_shown(craft, tmp_path, ganbench_cli):
    held, free = Disturbance(sm_mhz=1400.0, throttle=["power cap"]), Disturbance(sm_mhz=1600.0)
    found = summary([held, free, free, held])
    assert found.throttled == 2
    assert summary([Disturbance(load=1.0)]).throttled is None
    path = craft(tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["type"] == "measurement" and line["samples"]:
            count = len(line["samples"])
            line |= {"disturbance": msgspec.to_builtins(found), "latency_s": [0.1] * count, "device_s": [0.01] * count}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = ganbench.load_results(tmp_path)
    counts = [len(samples) for samples in table["samples"]]
    assert list(table["throttled"]) == pytest.approx([2 * 6 / count for count in counts])  # in each of six rounds
    assert set(table["sm_mhz"]) == {1500.0}
    out = " ".join(ganbench_cli("results", "show", path, "--details")[1].split())
    assert "one call queued between events clock held down" in out
    assert re.search(r"100 ms \S+ \S+ 10.0 ms 1500 MHz \d+%", out)
    assert re.search(r"GPU clock 1500 MHz \(lowest 1400\), held down by power cap at \d+ of \d+ visits", out)
    assert "with the gaps in which it waits for the host" in out
