"""Every mode, format and operation: CuPy takes the arguments, NVRTC compiles the kernels, and no call waits."""

import os
import re
from pathlib import Path

import cupy
import numpy as np
import pytest
from driver import HOPPER, SM, WAITS
from programs import SPECS, inputs_of, programs

from ganbench.errors import UnsupportedError
from ganbench.gan import preset
from ganbench.operations import operation
from ganbench.precision import accumulation_dtype
from ganbench.registry import load
from ganbench.verification.models import IMAGE_SPECS

PROGRAMS = programs(load("cupy"), ("eager", "fused"), (*SPECS, IMAGE_SPECS[0]), ("tf32",))


@pytest.mark.parametrize(("mode", "case", "dtype", "precision"), PROGRAMS)
def test_a_program(make, calls, mode, case, dtype, precision):
    backend = make(mode, precision)
    inputs = inputs_of(case, dtype)
    program = backend.prepare(case, inputs)
    program()
    prepared = calls()
    program()
    program()
    again = calls()
    assert calls.order.pending == {0}
    backend.synchronize(program.result)
    calls()
    assert not calls.order.pending, "synchronize has not waited for the work"

    assert {call["flags"] & SM for call in prepared if call["call"] == "load"} <= {HOPPER}
    assert {call["stream"] for call in again if "stream" in call} == {0}
    assert not WAITS & {call["call"] for call in again}
    assert "copyHostToDevice" not in {call["call"] for call in again}
    for array, output in zip(program.outputs(), case.outputs(), strict=True):
        assert (array.shape, array.dtype) == (output.shape, accumulation_dtype(dtype) if output.kept else dtype), (
            output.name
        )
    program.reset()
    if case.name == "gan_iteration":
        program.feed(inputs.batches, inputs.state)
        program()
        assert all(loss.size == program.iterations for loss in program.losses())


def test_work_beside_other_work_is_seen(make, calls):
    """Else the tests above would say nothing."""
    array = make().from_numpy(np.ones(3))
    order, side = calls.order, cupy.cuda.Stream(non_blocking=True)
    with side:
        side.wait_event(cupy.cuda.Stream.null.record())
        array += array
    calls()
    assert not order.beside
    array += array
    calls()
    assert order.beside == {(side.ptr, 0)}
    assert order.pending == {0, side.ptr}
    cupy.cuda.Stream.null.synchronize()
    calls()
    assert order.pending == {side.ptr}
    order.beside.clear()


def test_a_graph_of_halves_is_refused(make):
    case = operation("gan_iteration", preset("tiny"))
    with pytest.raises(UnsupportedError, match=r"cupy\.graph has only"):
        make("graph", "mixed").prepare(case, inputs_of(case, "float16"))


# What cupy.fuse makes of the formulas ---------------------------------------------------------------------------

IN_C = {"float64": "double", "float32": "float", "float16": "float16"}


def launched(calls):
    """Return the names of the kernels that were launched since ``calls`` was last asked."""
    return [call["name"] for call in calls() if call["call"] == "kernel"]


def halves_in(kernel, dtype):
    """Return whether there are halves in what CuPy gave to NVRTC for a kernel and arrays of this dtype."""
    texts = [path.read_text() for path in Path(os.environ["CUPY_CACHE_DIR"]).glob("*.cu")]
    (has,) = {
        re.search(r"\bfloat16\b(?!\.cuh)", text) is not None
        for text in texts
        if re.search(rf"void {kernel}\((const )?CArray<{IN_C[dtype]},", text)
    }
    return has


@pytest.mark.parametrize(("dtype", "precision"), [("float64", "ieee"), ("float32", "ieee"), ("float16", "mixed")])
def test_adam_is_one_kernel_a_tensor_and_nothing_in_it_is_a_half(make, calls, dtype, precision):
    case = operation("adam_step", preset("tiny"))
    inputs = inputs_of(case, dtype)
    program = make("fused", precision).prepare(case, inputs)
    calls()
    program()
    names = launched(calls)
    assert names.count("adam") == len(inputs.state.params)
    assert ({*names} == {"adam"}) == (precision != "mixed")  # else gradients are cast
    assert not halves_in("adam", accumulation_dtype(dtype))


@pytest.mark.parametrize("dtype", IN_C)
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "sigmoid"])
def test_an_activation_is_one_kernel_in_the_dtype_of_its_array(make, calls, name, dtype):
    backend = make("fused", "mixed" if dtype == "float16" else "ieee")
    x, out, grad = (backend.from_numpy(np.ones((3, 4), dtype)) for _ in range(3))
    calls()
    assert backend._activate(name, x).dtype == backend._activation_grad(name, out, grad).dtype == dtype
    kernels = launched(calls)
    assert kernels == [f"activate_{name}", f"grad_{name}"]
    assert all(halves_in(kernel, dtype) == (dtype == "float16") for kernel in kernels)
