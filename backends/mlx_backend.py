"""MLX: lazy arrays and ``value_and_grad``; one ``mx.eval`` an iteration computes what was noted, as its manual says.

Images have their channels last, and so have the weights of convolutions, as MLX takes them.
"""

import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ganbench.array_ops import AdamSettings, Arrays, Trained, Triple, Updated, steps_on_d
from ganbench.backend import Array, Backend, BoundProgram, GANState, NetworkState, Program, Step
from ganbench.errors import UnavailableError
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec
from ganbench.layers import KINDS, Layer, Matrices, OnImages, Window, by_layer, cast_weights
from ganbench.losses import LOSSES, Terms
from ganbench.operation import Inputs, Operation


class MlxBackend(Matrices, Backend):
    """Arrays in the memory that processor and GPU share; nothing is computed before ``synchronize``."""

    name = "mlx"
    modes: ClassVar[dict[str, str]] = {
        "eval": "value_and_grad for D, then for G, and one mx.eval of losses and state an iteration",
        "compile": "the same iteration under mx.compile",
    }
    device_kinds = ("cpu", "gpu")
    formats = ("float64", "float32", "bfloat16", "float16")
    losses = tuple(LOSSES)
    layers = KINDS
    module = "mlx"
    distributions = ("mlx",)
    undone_by: ClassVar[dict[str, tuple[str, ...]]] = {"MLX_DISABLE_COMPILE": ("compile",)}
    install = 'pip install "ganbench[mlx]"'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        if threads := os.environ.get("OMP_NUM_THREADS"):
            os.environ["MLX_CPU_THREADS"] = threads  # MLX has threads of its own, and reads this once
        import mlx.core

        self.mx: Any = mlx.core
        if self.device != "cpu" and not self.mx.metal.is_available():
            raise UnavailableError("MLX sees no GPU of Apple's")
        if self.mode == "compile" and self.device == "cpu" and not shutil.which("g++"):
            raise UnavailableError("mlx.compile needs g++ on a processor: without it, MLX leaves functions as they are")
        self.mx.set_default_device(self.mx.cpu if self.device == "cpu" else self.mx.gpu)
        self._maps = ChannelsLast(self.mx)

    @classmethod
    def missing_device(cls, kind: str, version: str) -> str:
        apple = (platform.system(), platform.machine()) == ("Darwin", "arm64")
        return "" if kind == "cpu" or apple else "it takes a Mac with a processor of Apple's"

    @classmethod
    def lacks(cls, device: str, dtype: str, precision: str) -> str:
        if device != "cpu" and dtype == "float64":
            return "MLX has no float64 on a GPU"
        return super().lacks(device, dtype, precision)

    @classmethod
    def environment(cls, device: str, dtype: str, precision: str, cache: str) -> dict[str, str]:
        """MLX keeps what it has compiled in the folder for temporary files."""
        return {"TMPDIR": cache}

    def libraries(self) -> list[str]:
        """The wheel for Linux brings a BLAS of its own."""
        return [path.name for path in Path(self.mx.__file__).parents[1].glob("mlx_cpu.libs/*blas*")]

    def from_numpy(self, array: np.ndarray) -> Array:
        host = np.array(np.moveaxis(array, 1, -1) if array.ndim == 4 else array, order="C")
        staged = self.mx.array(host, dtype=getattr(self.mx, str(host.dtype)))
        staged = staged.view(self.mx.bfloat16) if host.dtype == np.uint16 else staged  # the bits of a bfloat16
        self.mx.eval(staged)
        return staged

    def to_numpy(self, array: Array) -> np.ndarray:
        host = np.array(array.view(self.mx.uint16) if array.dtype == self.mx.bfloat16 else array)
        return np.moveaxis(host, -1, 1) if host.ndim == 4 else host

    def synchronize(self, result: Any = None) -> None:
        """Compute what was noted for ``result``, and wait for it."""
        self.mx.eval(result)

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        return MlxProgram(self, operation, inputs)

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        return layer.forward(x, w, self._maps)

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        _, (grad_x, grad_w) = self.mx.vjp(lambda x, w: self.convolution(layer, x, w), [x, w], [grad])
        return grad_x, grad_w

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        wide, axes = x.astype(gamma.dtype), [*range(x.ndim - 1)]
        mean = wide.mean(axes)
        centred = wide - mean
        var = self.mx.square(centred).mean(axes)
        return (centred * (gamma * self.mx.rsqrt(var + eps)) + beta).astype(x.dtype), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        given = [x, gamma, beta]
        _, grads = self.mx.vjp(lambda x, gamma, beta: self.batch_norm(x, gamma, beta, eps)[0], given, [grad])
        return grads[0], grads[1], grads[2]

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """Corrections by expm1: in float32, 1 − 0.999¹ would keep only four digits."""
        mx = self.mx
        t = (step if isinstance(step, mx.array) else mx.array(int(step))).astype(params[0].dtype)
        correct1, correct2 = (-mx.expm1(t * float(np.log(beta))) if beta else 1.0 for beta in (spec.beta1, spec.beta2))
        grads = [g.astype(t.dtype) for g in grads]
        new_m = [spec.beta1 * mi + (1 - spec.beta1) * g for mi, g in zip(m, grads, strict=True)]
        new_v = [spec.beta2 * vi + (1 - spec.beta2) * mx.square(g) for vi, g in zip(v, grads, strict=True)]
        new_params = [
            p - spec.lr * (mi / correct1) / (mx.sqrt(vi / correct2) + spec.eps)
            for p, mi, vi in zip(params, new_m, new_v, strict=True)
        ]
        return new_params, new_m, new_v

    def generator_forward(self, spec: GANSpec, params: Sequence[Array], z: Array) -> Array:
        return self._forward(spec.generator_layers, params, z)[0]

    def discriminator_forward(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        return self._forward(spec.discriminator_layers, params, x)[0]

    def gan_iteration(
        self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array, u: Array | None = None
    ) -> Trained:
        (g, d), taken = state[:2], state.step * spec.critic_steps
        for rows, noise, share in steps_on_d(spec, real, z_d, u):
            taken = taken + 1
            fake, running = self._forward(spec.generator_layers, g.params, noise, g.running)
            g = g._replace(running=running)
            d, *losses = self._step_on_discriminator(spec, d, rows, fake, share, taken)
        g, d, g_loss = self._step_on_generator(spec, g, d, z_g, state.step + 1)
        return GANState(g, d, state.step + 1), losses[0], g_loss, *losses[1:]

    def _step_on_discriminator(
        self, spec: GANSpec, d: NetworkState, real: Array, fake: Array, share: Array | None, step: Any
    ) -> tuple[Any, ...]:
        """Return D after one step, its loss and, where there is one, the penalty in it."""
        seen = [real, fake] if spec.apart else [self.mx.concatenate([real, fake])]

        def d_loss_of(params: list[Array]) -> tuple[Any, ...]:
            outs, running = [], list(d.running)
            for x in seen:
                out, running = self._forward(spec.discriminator_layers, params, x, running)
                outs.append(out)
            d_loss = self._loss(spec.objective.d, self.mx.concatenate(outs).astype(params[0].dtype))
            if share is None:
                return d_loss, running
            penalty = self._penalty(spec, params, share * real + (1 - share) * fake)
            return d_loss + penalty, running, penalty

        (d_loss, running, *penalty), grads = self.mx.value_and_grad(d_loss_of)(list(d.params))
        return NetworkState(*self.adam_step(spec, d.params, grads, d.m, d.v, step), running), d_loss, *penalty

    def _step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z: Array, step: Any
    ) -> tuple[NetworkState, NetworkState, Array]:
        """Return G after one step against the updated D, D, whose running statistics have moved, and G's loss."""

        def g_loss_of(params: list[Array]) -> tuple[Any, ...]:
            images, running = self._forward(spec.generator_layers, params, z, g.running)
            logits, of_d = self._forward(spec.discriminator_layers, d.params, images, d.running)
            return self._loss(spec.objective.g, logits.astype(params[0].dtype)), running, of_d

        (g_loss, running, of_d), grads = self.mx.value_and_grad(g_loss_of)(list(g.params))
        g = NetworkState(*self.adam_step(spec, g.params, grads, g.m, g.v, step), running)
        return g, d._replace(running=of_d), g_loss

    def _loss(self, terms: Terms, logits: Array) -> Array:
        mx = self.mx
        phi = {"softplus": lambda x: mx.logaddexp(x, 0), "relu": lambda x: mx.maximum(x, 0), "square": mx.square}
        return terms.value(terms.arguments(logits), phi.get(terms.phi, lambda x: x))

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        return list(self.mx.grad(lambda params: self._penalty(spec, params, x))(list(params)))

    def _penalty(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        mx = self.mx
        slopes = mx.grad(lambda x: self.discriminator_forward(spec, params, x).sum())(x)
        squares = mx.square(slopes.astype(self._wide(x))).sum(axis=1)
        # The root has no derivative at 0, and 0 times infinity is no number: so it is taken of 1 there.
        norms = mx.where(squares > 0, mx.sqrt(mx.where(squares > 0, squares, 1)), 0)
        return spec.penalty * mx.square(norms - 1).mean()

    def _wide(self, x: Array) -> Any:
        """Return the dtype in which halves are summed."""
        return self.mx.float64 if x.dtype == self.mx.float64 else self.mx.float32

    def _forward(
        self, layers: Sequence[Layer], params: Sequence[Array], x: Array, running: Sequence[Array] = ()
    ) -> tuple[Array, list[Array]]:
        """Return the output and the updated running statistics."""
        updated: list[Array] = []
        wide = self._wide(x)
        params = cast_weights(layers, params, lambda p: p.astype(x.dtype))
        for layer, own in zip(layers, by_layer(layers, params), strict=True):
            w, *rest = own or (None,)
            x = layer.forward(x, w, self._maps)
            if layer.batch_norm:
                x, mean, var = self.batch_norm(x, rest[0], rest[1], BATCH_NORM_EPS)
                if running:
                    count = x.size // mean.size
                    fresh, old = (mean, var * (count / (count - 1))), running[len(updated) : len(updated) + 2]
                    updated += [o + BATCH_NORM_MOMENTUM * (f - o) for o, f in zip(old, fresh, strict=True)]
            elif rest:
                # Added in float32, so that the gradient of the bias, a sum over the batch, is not summed in halves.
                x = (x.astype(wide) + rest[0].astype(wide)).astype(x.dtype)
            x = self._activate(layer.activation, x)
        return x, updated

    def _activate(self, name: str, x: Array) -> Array:
        mx = self.mx
        if name == "leaky_relu":
            return mx.maximum(LEAKY_SLOPE * x, x)
        if name == "relu":
            return mx.maximum(x, 0)
        return {"tanh": mx.tanh, "sigmoid": mx.sigmoid}[name](x) if name != "identity" else x


class MlxProgram(BoundProgram):
    """Begins with a step counter that is an array: of a number, each step would be compiled anew."""

    _backend: MlxBackend

    def __init__(self, backend: MlxBackend, operation: Operation, inputs: Inputs) -> None:
        step = operation.step(backend)
        step = self._compiled(backend, step) if backend.mode == "compile" else step
        super().__init__(backend, operation, inputs, step)

    def _compiled(self, backend: MlxBackend, step: Step) -> Step:
        """What goes into a compiled function and comes out of it has lost the names of its parts."""

        def unnamed(fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
            return step(fixed, _named(self._form, state), batch)

        made: Step = backend.mx.compile(unnamed)
        return made

    def reset(self) -> None:
        super().reset()
        if hasattr(self._state, "step"):
            self._state = self._state._replace(step=self._backend.from_numpy(np.array(self._state.step, np.int32)))
        elif self._state is None:
            self._state = ()
        self._form = self._state
        self.result = (self._state, ())

    def outputs(self) -> list[np.ndarray]:
        self._backend.synchronize(self.result)
        state, results = self.result
        found = self._operation.collect(_named(self._form, state), results)
        return [self._backend.to_numpy(array) for array in found]


def _named(form: Any, tree: Any) -> Any:
    """Return ``tree`` with the named tuples of ``form``."""
    if not isinstance(form, list | tuple):
        return tree
    parts = [_named(*pair) for pair in zip(form, tree, strict=True)]
    if isinstance(form, list):
        return parts
    return type(form)(*parts) if hasattr(form, "_fields") else tuple(parts)


class ChannelsLast(Matrices):
    """The maps of ``ganbench.layers.Maps``: images are (B, H, W, C), weights (C of small, kernel, kernel, C of big)."""

    def __init__(self, mx: Any) -> None:
        self._mx = mx

    def conv(self, x: Array, w: Array, window: Window) -> Array:
        return self._mx.conv2d(x, w, stride=window.stride, padding=window.padding)

    def conv_transpose(self, y: Array, w: Array, window: Window) -> Array:
        return self._mx.conv_transpose2d(y, w.swapaxes(0, 3), stride=window.stride, padding=window.padding)

    def conv_weight_grad(self, x: Array, y: Array, window: Window) -> Array:
        raise NotImplementedError  # MLX differentiates

    def reshape(self, x: Array, before: tuple[int, ...], after: tuple[int, ...]) -> Array:
        """A vector has the order C, H, W."""
        rows = (self._mx.moveaxis(x, -1, 1) if len(before) > 1 else x).reshape(-1, *after)
        return self._mx.moveaxis(rows, 1, -1) if len(after) > 1 else rows
