"""PyTorch without autograd: gradients by hand through ``out=`` kernels, on flat buffers."""

from collections.abc import Sequence
from typing import Any

from ganbench.backend import Array
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec

from .inplace import Kernels, Loss

SOFTPLUS_LINEAR = 40  # above this softplus(x) is x in float64 too; PyTorch's own 20 is right for float32 only


class TorchKernels(Kernels):
    """ATen's own forward and backward kernels, each with ``out=``; nothing waits for the device."""

    def __init__(self, torch: Any, device: str, dtype: Any) -> None:
        self._torch, self._aten, self._device, self._dtype = torch, torch.ops.aten, device, dtype
        self._one = torch.ones((), device=device)  # a Python number would be made a tensor at every step
        self._least = torch.finfo(dtype).tiny ** 0.5

    def empty(self, *shape: int) -> Array:
        return self._torch.empty(shape, dtype=self._dtype, device=self._device)

    def copy(self, source: Array, target: Array) -> None:
        target.copy_(self._torch.as_tensor(source))

    def product(self, a: Array, b: Array, out: Array) -> None:
        self._torch.mm(a, b, out=out)

    def dense(self, x: Array, w: Array, b: Array, activation: str, out: Array) -> None:
        self._torch.addmm(b, x, w, out=out)
        self.activate(activation, out)

    def activate(self, activation: str, x: Array) -> None:
        if activation == "leaky_relu":
            self._aten.leaky_relu_(x, LEAKY_SLOPE)
        elif activation != "identity":
            getattr(x, f"{activation}_")()

    def through(self, activation: str, out: Array, grad: Array) -> None:
        aten = self._aten
        if activation == "relu":
            aten.threshold_backward.grad_input(grad, out, 0, grad_input=grad)
        elif activation == "leaky_relu":
            aten.leaky_relu_backward.grad_input(grad, out, LEAKY_SLOPE, True, grad_input=grad)
        elif activation == "tanh":
            aten.tanh_backward.grad_input(grad, out, grad_input=grad)
        elif activation == "sigmoid":
            aten.sigmoid_backward.grad_input(grad, out, grad_input=grad)

    def column_sums(self, x: Array, out: Array) -> None:
        self._torch.sum(x, 0, out=out)

    def batch_norm(
        self, x: Array, gamma: Array, beta: Array, running: Sequence[Array], saved: Sequence[Array], out: Array
    ) -> None:
        self._aten.native_batch_norm.out(
            x, gamma, beta, *running, True, BATCH_NORM_MOMENTUM, BATCH_NORM_EPS,
            out=out, save_mean=saved[0], save_invstd=saved[1],
        )  # fmt: skip

    def batch_norm_grad(
        self, x: Array, gamma: Array, saved: Sequence[Array], grad: Array, grad_gamma: Array, grad_beta: Array
    ) -> None:
        found = self._aten.native_batch_norm_backward(
            grad, x, gamma, None, None, *saved, True, BATCH_NORM_EPS, [True, True, True]
        )
        for source, target in zip(found, (grad, grad_gamma, grad_beta), strict=True):
            target.copy_(source)

    def judge(self, logits: Array, loss: Loss, value: Array, grad: Array) -> None:
        torch = self._torch
        torch.mul(logits, loss.sign, out=grad)
        torch.sum(self._aten.softplus(grad, 1, SOFTPLUS_LINEAR), (0, 1), out=value)
        value.mul_(loss.scale)
        grad.sigmoid_().mul_(loss.slope)

    def weigh(self, logits: Array, loss: Loss, value: Array, grad: Array) -> None:
        self._torch.mul(logits, loss.slope, out=grad)
        self._torch.sum(grad, (0, 1), out=value)
        grad.copy_(loss.slope)

    def mix(self, real: Array, fake: Array, u: Array, out: Array) -> None:
        self._torch.lerp(fake, real, u, out=out)

    def penalise(self, slopes: Array, weight: float, value: Array, total: Array) -> None:
        norms = self._torch.linalg.vector_norm(slopes, 2, 1, True)
        off = norms - 1
        norms.clamp_min_(self._least)  # where there is no slope, nothing pulls at it
        slopes.mul_(self._torch.div(off, norms, out=norms).mul_(2 * weight / len(slopes)))
        self._torch.sum(off.square_(), (0, 1), out=value)
        total.add_(value.mul_(weight / len(slopes)))

    def bend(self, activation: str, out: Array, p: Array, pi: Array, bent: Array) -> None:
        self._torch.mul(out, -2, out=bent)
        if activation == "sigmoid":
            bent.add_(1)
        bent.mul_(p).mul_(pi)

    def add(self, x: Array, out: Array) -> None:
        out.add_(x)

    def counter(self) -> Array:
        return self._torch.zeros((), device=self._device)  # where the fused Adam wants it

    def set_step(self, spec: GANSpec, counter: Array, step: int) -> None:
        counter.fill_(step)

    def begin_step(self, spec: GANSpec, counter: Array) -> None:
        counter.add_(self._one)

    def adam(self, spec: GANSpec, counter: Array, flat: Sequence[Array]) -> None:
        params, m, v, grads = flat
        self._torch._fused_adam_(
            [params], [grads], [m], [v], [], [counter],
            lr=spec.lr, beta1=spec.beta1, beta2=spec.beta2, weight_decay=0.0, eps=spec.eps,
            amsgrad=False, maximize=False,
        )  # fmt: skip
