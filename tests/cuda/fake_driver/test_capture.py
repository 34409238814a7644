"""What ``cupy.graph`` records: iterations without a wait, a copy or an allocation; and its products."""

import ctypes

import cupy
import pytest
from driver import DRIVER, WAITS
from ganbench.backends.cublas import CublasKernels
from programs import SPECS, inputs_of

from ganbench.operations import operation
from ganbench.verification.models import IMAGE_SPECS

FORMATS = (("float64", "ieee"), ("float32", "ieee"), ("float32", "tf32"))
RECORDABLE = {"kernel", "gemm"}
# Nodes of a graph as well: the gradient of a linear loss is copied; images are copied reordered, and begun with 0.
COPIED, BEGUN = {"copyDeviceToDevice"}, {"memset"}
COMPUTE = {"float64": 70, "ieee": 68, "tf32": 77}  # CUBLAS_COMPUTE_64F, _32F, _32F_FAST_TF32
HOST = 0  # where cuBLAS reads its scalars


class Allocations(cupy.cuda.MemoryHook):
    """Counts what is asked of CuPy's pool while something is recorded. A pool that has memory asks no driver."""

    name = "allocations"
    count = 0

    def malloc_preprocess(self, **asked):
        self.count += DRIVER.fake_recording()


@pytest.fixture(params=(*SPECS, *IMAGE_SPECS), ids=lambda spec: spec.name)
def case(request):
    return operation("gan_iteration", request.param)


@pytest.fixture(params=FORMATS, ids="-".join)
def form(request):
    return request.param


@pytest.fixture
def compared(calls, monkeypatch, form):
    """The products of a pass, of which each is held against that of CuPy; not while they are recorded."""
    ours, compared = CublasKernels.product, []

    def both(kernels, a, b, out):
        if DRIVER.fake_recording():
            return ours(kernels, a, b, out)
        calls()
        ours(kernels, a, b, out)
        (mine,) = calls()
        cupy.matmul(a, b, out=out)
        theirs = [call for call in calls() if call["call"] == "gemm"]
        assert facts(mine) == meant(a, b, out, form)
        assert [facts(call) for call in theirs] == [facts(mine)] * (out.size > 1)  # of one number, CuPy makes a sum
        compared.append(mine)

    monkeypatch.setattr(CublasKernels, "product", both)
    return compared


def test_a_recorded_pass_takes_no_memory_waits_for_nothing_and_has_the_products_of_cupy(
    make, calls, compared, case, form
):
    dtype, precision = form
    backend = make("graph", precision)
    with Allocations() as allocations:
        program = backend.prepare(case, inputs_of(case, dtype))
    assert allocations.count == 0
    assert len(compared) >= program.iterations  # in the pass before the record
    recorded = [call for call in calls() if call["recorded"]]
    phis = {terms.phi for terms in (case.spec.objective.d, case.spec.objective.g)}
    kinds = {call["call"] for call in recorded}
    if case.spec.kinds:
        assert RECORDABLE <= kinds <= RECORDABLE | COPIED | BEGUN
    else:
        assert kinds == RECORDABLE | (COPIED if "identity" in phis else set())
    (stream,) = {call["stream"] for call in recorded}
    assert stream != 0

    program()
    (launch,) = calls()
    assert (launch["call"], launch["nodes"]) == ("graphLaunch", len(recorded))

    backend.forget_device_peak()  # gives back what nobody holds
    products = [call for call in recorded if call["call"] == "gemm"]
    arrays = {at for call in products for at in call["at"]}
    assert all(held(at, 1) for at in arrays), "the graph works on memory that was given back"
    for start, size in {tuple(call["workspace"]) for call in products}:
        assert held(start, size), "cuBLAS would allocate a workspace of its own"
        assert not any(start <= at < start + size for at in arrays), "others use the workspace of cuBLAS"
    calls()
    program()
    assert [call["call"] for call in calls()] == ["graphLaunch"]


def held(start, size):
    return DRIVER.fake_holds(ctypes.c_void_p(start), ctypes.c_size_t(size))


def facts(call):
    """Return what a product reads and writes, and how; steps along an axis of length 1 say nothing."""
    (m, n, k), (step_a, step_b, step_c) = call["sizes"], call["steps"]
    flip_a, flip_b = call["flips"]
    axes = [(m, k, step_a, flip_a), (k, n, step_b, flip_b), (m, n, step_c, 0)]
    return {
        "sizes": [m, n, k],
        "steps": [_steps(rows, columns, *((step, 1) if flip else (1, step))) for rows, columns, step, flip in axes],
        **{name: call[name] for name in ("at", "types", "scales", "compute", "pointers", "math", "stream")},
    }


def meant(a, b, out, form):
    """Return the facts of ``out = a b``: cuBLAS reads columns, so for it that is ``outᵀ = bᵀ aᵀ``."""
    dtype, precision = form
    rows, columns, item = len(a), b.shape[1], out.itemsize
    turned = [(array, *(step // item for step in reversed(array.strides))) for array in (b, a, out)]
    return {
        "sizes": [columns, rows, len(b)],
        "steps": [_steps(*reversed(array.shape), *steps) for array, *steps in turned],
        "at": [b.data.ptr, a.data.ptr, out.data.ptr],
        "types": [int(dtype == "float64")] * 3,  # CUDA_R_32F, CUDA_R_64F
        "scales": [1, 0],
        "compute": COMPUTE["float64" if dtype == "float64" else precision],
        "pointers": HOST,
        "math": 0,
        "stream": cupy.cuda.get_current_stream().ptr,
    }


def _steps(rows, columns, down, along):
    return (down * (rows > 1), along * (columns > 1))


def test_what_cuda_refuses_is_refused_here(calls):
    """Else the tests above would say nothing."""
    array = cupy.ones((4, 4), "float32")
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream, Allocations() as allocations:
        stream.begin_capture()
        array + array
        assert allocations.count == 1
        with pytest.raises(NotImplementedError):  # cupy#6290
            array @ array
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="CaptureUnsupported"):
            stream.synchronize()
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="CaptureInvalidated"):
            stream.end_capture()
    assert WAITS & {call["call"] for call in calls() if call["recorded"]}
