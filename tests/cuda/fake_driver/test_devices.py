"""Which device CuPy is given, and what is said where there is none that serves."""

import cupy
import numpy as np
import pytest
from driver import HOPPER, SM
from programs import inputs_of

from ganbench.backend import DISPLACING
from ganbench.errors import UnavailableError, UnsupportedError
from ganbench.gan import preset
from ganbench.measure.cold import Cold
from ganbench.measure.engine import time_visit
from ganbench.operations import operation


@pytest.mark.parametrize("index", [0, 1])
def test_arrays_are_on_the_device_that_is_named(make, index):
    backend = make(device=f"cuda:{index}")
    assert backend.from_numpy(np.ones(3)).device == cupy.cuda.Device(index)


@pytest.mark.parametrize(("count", "words"), [(0, "no usable CUDA device: cudaErrorNoDevice"), (2, "CuPy sees 2")])
def test_a_device_that_is_not_there(make, devices, count, words):
    devices(count, 90)
    with pytest.raises(UnavailableError, match=words):
        make(device="cuda:2")


def test_a_device_without_tf32(make, devices):
    devices(2, 75)
    with pytest.raises(UnsupportedError, match="GPU 1 has no TF32"):
        make(precision="tf32", device="cuda:1")


def test_what_is_copied_comes_back(make):
    backend, array = make(), np.arange(12.0).reshape(3, 4)
    assert (backend.to_numpy(backend.from_numpy(array)) == array).all()


def test_code_is_compiled_for_the_gpu_that_there_is(calls):
    cupy.ElementwiseKernel("T x", "T y", "y = x + 42", "used_nowhere_else")(cupy.ones(3))
    loaded = [call["flags"] & SM for call in calls() if call["call"] == "load"]
    assert loaded
    assert {*loaded} == {HOPPER}


BETWEEN_EVENTS = 1e-3  # seconds that the fake driver says


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_visit_has_a_time_of_the_device(make, mode):
    backend, case = make(mode), operation("gan_iteration", preset("tiny"))
    program = backend.prepare(case, inputs_of(case, "float32"))
    before = backend.forget_device_peak()
    timed = time_visit(backend, case, program, 4)
    assert timed.device_s == pytest.approx(BETWEEN_EVENTS / (4 * program.iterations))
    assert timed.latency_s > 0
    assert backend.device_peak() >= before > 0


def test_who_waits_for_a_mark_does_not_wait_for_the_call_after_it(make, calls):
    backend, case = make(), operation("adam_step", preset("tiny"))
    program = backend.prepare(case, inputs_of(case, "float32"))
    program()
    mark = backend.mark(program.result)
    program()
    backend.synchronize(mark)
    calls()
    assert calls.order.pending, "the queue is empty when the clock starts, and when it stops"
    backend.synchronize(backend.mark(program.result))
    calls()
    assert not calls.order.pending


L2 = 50 * 2**20  # bytes, of the fake GPUs


@pytest.mark.parametrize("mode", ["eager", "fused"])
def test_the_cache_is_written_before_each_cold_call_and_outside_of_what_is_timed(make, calls, mode):
    backend, case = make(mode), operation("adam_step", preset("tiny"))
    program = backend.prepare(case, inputs_of(case, "float32"))
    program()
    visit = Cold(backend).time_visit
    calls()
    timed = visit(backend, case, program, 3)
    made = [call for call in calls() if call["call"] in ("memset", "eventRecord", "kernel", "streamSynchronize")]
    written = [place for place, call in enumerate(made) if call["call"] == "memset" and call["bytes"] >= L2]
    assert len(written) == 3
    assert {made[place]["bytes"] for place in written} == {DISPLACING * L2}
    assert {call["stream"] for call in made} == {0}
    (wait,) = (
        place for place, call in enumerate(made[written[0] :], written[0]) if call["call"] == "streamSynchronize"
    )
    for place, end in zip(written, [*written[1:], wait], strict=True):  # the host waits once, at the end
        names = [call["call"] for call in made[place:end]]
        assert names[:2] == ["memset", "eventRecord"]
        assert names[-1] == "eventRecord"
        assert {*names[2:-1]} == {"kernel"}
    assert timed.device_s == timed.seconds > 0
