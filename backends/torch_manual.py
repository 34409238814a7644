"""PyTorch without autograd: gradients by hand through ``out=`` kernels, on flat buffers."""

from collections.abc import Sequence
from typing import Any

from ganbench.array_ops import AdamSettings
from ganbench.backend import Array
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE
from ganbench.layers import Window

from .inplace import Kernels, LossColumns
from .pixels import OnPixels
from .torch_maps import TorchMaps

SOFTPLUS_LINEAR = 40  # above this softplus(x) is x in float64 too; PyTorch's own 20 is right for float32 only


class TorchKernels(OnPixels, Kernels):
    """ATen's own forward and backward kernels, each with ``out=``; nothing waits for the device."""

    def __init__(self, torch: Any, device: str, dtype: Any) -> None:
        self._torch, self._aten, self._device, self._dtype = torch, torch.ops.aten, device, dtype
        self._one = torch.ones((), device=device)  # a Python number would be made a tensor at every step
        self._maps = TorchMaps(torch)
        self._least = torch.finfo(dtype).tiny ** 0.5

    def empty(self, *shape: int) -> Array:
        return self._torch.empty(shape, dtype=self._dtype, device=self._device)

    def copy(self, source: Array, target: Array) -> None:
        target.copy_(self._torch.as_tensor(source))

    def product(self, a: Array, b: Array, out: Array) -> None:
        self._torch.mm(a, b, out=out)

    def conv(self, x: Array, w: Array, window: Window, out: Array) -> None:
        """PyTorch has no convolutions that write where they are told: what ``out=`` of them does is this copy."""
        out.copy_(self._maps.conv(x, w, window))

    def conv_transpose(self, y: Array, w: Array, window: Window, out: Array) -> None:
        out.copy_(self._maps.conv_transpose(y, w, window))

    def conv_weight_grad(self, x: Array, y: Array, window: Window, out: Array) -> None:
        out.copy_(self._maps.conv_weight_grad(x, y, window))

    def dense(self, x: Array, w: Array, b: Array, activation: str, out: Array) -> None:
        self._torch.addmm(b, x, w, out=out)
        self.activate(activation, out)

    def activate(self, activation: str, x: Array) -> None:
        if activation == "leaky_relu":
            self._aten.leaky_relu_(x, LEAKY_SLOPE)
        elif activation != "identity":
            getattr(x, f"{activation}_")()

    def activation_grad(self, activation: str, out: Array, grad: Array) -> None:
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

    def loss(self, logits: Array, loss: LossColumns, value: Array, grad: Array) -> None:
        torch = self._torch
        if loss.phi == "identity":  # a shift would change nothing
            torch.mul(logits, loss.slope, out=grad)
            torch.sum(grad, (0, 1), out=value)
            grad.copy_(loss.slope)
            return
        torch.mul(logits, loss.sign, out=grad)
        if loss.shift is not None:
            grad.add_(loss.shift)
        if loss.phi == "softplus":
            torch.sum(self._aten.softplus(grad, 1, SOFTPLUS_LINEAR), (0, 1), out=value)
            grad.sigmoid_()
        elif loss.phi == "relu":
            torch.sum(grad.relu_(), (0, 1), out=value)
            grad.sign_()
        else:
            torch.sum(grad.square(), (0, 1), out=value)
            grad.mul_(2)
        value.mul_(loss.scale)
        grad.mul_(loss.slope)

    def mix(self, real: Array, fake: Array, u: Array, out: Array) -> None:
        self._torch.lerp(fake, real, u, out=out)

    def penalise(self, slopes: Array, weight: float, value: Array, total: Array) -> None:
        norms = self._torch.linalg.vector_norm(slopes, 2, 1, True)
        off = norms - 1
        norms.clamp_min_(self._least)  # where there is no slope, nothing pulls at it
        slopes.mul_(self._torch.div(off, norms, out=norms).mul_(2 * weight / len(slopes)))
        self._torch.sum(off.square_(), (0, 1), out=value)
        total.add_(value.mul_(weight / len(slopes)))

    def activation_second_grad(self, activation: str, out: Array, p: Array, pi: Array, target: Array) -> None:
        self._torch.mul(out, -2, out=target)
        if activation == "sigmoid":
            target.add_(1)
        target.mul_(p).mul_(pi)

    def add(self, x: Array, out: Array) -> None:
        out.add_(x)

    def counter(self) -> Array:
        return self._torch.zeros((), device=self._device)  # where the fused Adam wants it

    def set_step(self, spec: AdamSettings, counter: Array, step: int) -> None:
        counter.fill_(step)

    def begin_step(self, spec: AdamSettings, counter: Array) -> None:
        counter.add_(self._one)

    def adam(self, spec: AdamSettings, counter: Array, flat: Sequence[Array]) -> None:
        params, m, v, grads = flat
        self._torch._fused_adam_(
            [params], [grads], [m], [v], [], [counter],
            lr=spec.lr, beta1=spec.beta1, beta2=spec.beta2, weight_decay=0.0, eps=spec.eps,
            amsgrad=False, maximize=False,
        )  # fmt: skip
