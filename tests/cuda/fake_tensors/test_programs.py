"""Every mode, format and operation of PyTorch on a GPU: where arrays are, their dtypes and shapes, and no wait."""

import pytest
import torch
from programs import SPECS, inputs_of, programs

from ganbench.backend import DISPLACING
from ganbench.errors import UnsupportedError
from ganbench.gan import preset
from ganbench.measure.engine import time_visit
from ganbench.operations import operation
from ganbench.precision import accumulation_dtype
from ganbench.registry import load
from ganbench.testing import IMAGE_SPECS

TorchBackend = load("torch")
EVERY_FORMULA = [spec for spec in SPECS if spec.name in ("tiny", "activations", "saturating-bn")] + [IMAGE_SPECS[0]]
HALVES = ("eager", "compile")  # modes whose iteration has them


SAME = ("tf32", "float16")  # as float32 with another setting, and as bfloat16
PROGRAMS = programs(TorchBackend, HALVES, EVERY_FORMULA, SAME)


@pytest.mark.parametrize(("mode", "case", "dtype", "precision"), PROGRAMS)
def test_a_program(cuda, mode, case, dtype, precision):
    backend = TorchBackend(mode, "cuda:1", precision)
    inputs = inputs_of(case, dtype)
    program = backend.prepare(case, inputs)
    program()
    program.reset()
    synchronised = cuda.synchronised
    with cuda.seen() as watched:
        program()
    for seen in [watched] if cuda.recorded is None else [watched, cuda.recorded]:
        assert seen.waits == []
    assert cuda.synchronised == synchronised
    assert cuda.order.pending
    backend.synchronize(program.result)
    assert not cuda.order.pending, "synchronize has not waited for the work"
    assert (cuda.recorded or watched).operations >= program.iterations
    for array, output in zip(program.outputs(), case.outputs(), strict=True):
        wanted = getattr(torch, accumulation_dtype(dtype) if output.kept else dtype)
        assert (array.device, array.dtype, tuple(array.shape)) == (torch.device("cuda:1"), wanted, output.shape)
    if case.name == "gan_iteration":
        program.feed(inputs.batches, inputs.state)
        program()
        assert all(loss.numel() == program.iterations for loss in program.losses())


@pytest.mark.parametrize("mode", [mode for mode in TorchBackend.modes if mode not in HALVES])
def test_an_iteration_in_halves_is_refused(cuda, mode):
    case = operation("gan_iteration", preset("tiny"))
    with pytest.raises(UnsupportedError, match=f"torch.{mode} has only"):
        TorchBackend(mode, "cuda", "mixed").prepare(case, inputs_of(case, "float16"))


@pytest.mark.parametrize(("precision", "told"), [("ieee", "highest"), ("tf32", "high"), ("mixed", "highest")])
def test_products_have_the_precision_that_was_asked_for(cuda, precision, told):
    TorchBackend("eager", "cuda", precision)
    assert torch.get_float32_matmul_precision() == told
    assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")


def test_the_gpu_that_is_named_becomes_the_current_one(cuda):
    TorchBackend("eager", "cuda:1")
    assert cuda.used == [1]


def test_the_cache_is_displaced_by_writing_several_times_its_size(cuda):
    displace = TorchBackend("eager", "cuda:1").cache_displacer()
    with cuda.seen() as watched:
        written = displace()
    assert written.device == torch.device("cuda:1")
    assert written.nbytes == DISPLACING * 50 * 2**20
    assert (watched.operations, watched.waits) == (1, [])


def test_a_torch_that_does_not_tell_the_size_of_the_cache_says_what_to_do(cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: object())  # as 2.4, the oldest admitted
    with pytest.raises(UnsupportedError, match="--caches warm"):
        TorchBackend("eager", "cuda:1").cache_displacer()


def test_a_visit_has_the_time_between_its_events(cuda):
    backend, case = TorchBackend("eager", "cuda:1"), operation("adam_step", preset("tiny"))
    program = backend.prepare(case, inputs_of(case, "float32"))
    with cuda.seen() as watched:
        program()
    assert time_visit(backend, case, program, 4).device_s == pytest.approx(watched.operations / 1e3)


def test_who_waits_for_a_mark_does_not_wait_for_the_call_after_it(cuda):
    backend, case = TorchBackend("eager", "cuda:1"), operation("adam_step", preset("tiny"))
    program = backend.prepare(case, inputs_of(case, "float32"))
    program()
    mark = backend.mark(program.result)
    program()
    backend.synchronize(mark)
    assert cuda.order.pending, "the queue is empty when the clock starts, and when it stops"
    backend.synchronize(backend.mark(program.result))
    assert not cuda.order.pending


def test_what_waits_is_noticed(cuda):
    """Else the tests above would say nothing."""
    for wait in (torch.Tensor.item, torch.Tensor.cpu, bool, lambda tensor: torch.zeros(1).copy_(tensor)):
        with cuda.seen() as watched:
            wait(torch.ones(1, device="cuda"))
        assert watched.waits
    with cuda.seen() as watched:
        torch.ones(()).item()
    assert not watched.waits


def test_work_beside_other_work_is_noticed(cuda):
    one, side, main = torch.ones(1, device="cuda"), torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        one.add_(1)
    assert not cuda.order.beside
    one.add_(1)
    assert cuda.order.beside == {(side, main)}
    with pytest.raises(AssertionError, match=r"mul_.* was not run before"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        one.mul_(2)
    cuda.order.beside.clear()
