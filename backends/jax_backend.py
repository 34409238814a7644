"""JAX: pure functions, differentiated by ``value_and_grad`` and compiled whole by ``jit`` with donated state."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ganbench.array_ops import AdamSettings, Arrays, Trained, Triple, Updated
from ganbench.backend import Array, Backend, GANState, NetworkState, Program, Step
from ganbench.errors import UnavailableError, UnsupportedError
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec
from ganbench.layers import KINDS, Layer, Matrices, OnImages, by_layer, cast_weights
from ganbench.losses import LOSSES, Terms
from ganbench.operation import Inputs, Operation

from .jax_maps import CellMaps, LaxMaps
from .jax_programs import JaxProgram, ScannedProgram

ALIGNMENT = 64  # bytes: XLA takes memory that begins so as it is
AMPERE = 8.0  # the first compute capability with TF32


class JaxBackend(Matrices, Backend):
    """Arrays on one device; every operation is one compiled call."""

    name = "jax"
    modes: ClassVar[dict[str, str]] = {
        "jit": "value_and_grad under one jit per iteration, the state donated",
        "scan": "under lax.scan: the eight staged iterations in one call; convolutions as in custom",
        "custom": "as jit, but convolutions are products, and the derivatives of each its two adjoints, by custom_vjp",
    }
    queues = True
    device_kinds = ("cpu", "cuda")
    formats = ("float64", "float32", "tf32", "bfloat16", "float16")
    losses = tuple(LOSSES)
    layers = KINDS
    forks = True
    module = "jax"
    distributions = ("jax",)
    undone_by: ClassVar[dict[str, tuple[str, ...]]] = {"JAX_DISABLE_JIT": ("jit", "scan", "custom")}
    install = 'pip install "ganbench[jax]" (for a GPU: pip install "jax[cuda13]")'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        import jax

        kind, _, index = self.device.partition(":")
        try:
            devices = jax.devices(kind)
        except (RuntimeError, AssertionError) as error:  # without any GPU to be seen, an assertion without words
            why = str(error) or "it sees none"
            raise UnavailableError(f"JAX {jax.__version__} has no {kind} device: {why}") from error
        if int(index or 0) >= len(devices):
            raise UnavailableError(f"no CUDA device {index}: JAX sees {len(devices)}")
        self.jax, self._on = jax, devices[int(index or 0)]
        # In a loop, XLA's convolutions on a CPU take several times as long as outside of it: docs/limit-images.md.
        self._maps = (LaxMaps if self.mode == "jit" else CellMaps)(jax)
        self._one_number = jax.jit(lambda array: array.ravel()[0])
        if precision == "tf32" and float(getattr(self._on, "compute_capability", AMPERE)) < AMPERE:
            raise UnsupportedError(f"{self._on.device_kind} has no TF32: only GPUs from Ampere on have it")

    @classmethod
    def missing_device(cls, kind: str, version: str) -> str:
        import importlib.util

        plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
        if kind == "cuda" and not any(importlib.util.find_spec(plugin) for plugin in plugins):
            return "JAX's CUDA plug-in is not installed"
        return super().missing_device(kind, version)

    @classmethod
    def environment(cls, device: str, dtype: str, precision: str, cache: str) -> dict[str, str]:
        # "default" lets every kernel of XLA on a GPU take TF32, "tensorfloat32" only some: never tried on a device yet.
        return {
            "JAX_PLATFORMS": device.partition(":")[0],
            "JAX_ENABLE_X64": "1" if dtype == "float64" else "0",
            "JAX_DEFAULT_MATMUL_PRECISION": "default" if precision == "tf32" else "highest",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def device_peak(self) -> int | None:
        """That of the process so far: JAX cannot forget it, so other operations may be in it."""
        statistics = self._on.memory_stats() if self.device != "cpu" else None
        return int(statistics["peak_bytes_in_use"]) if statistics else None

    def from_numpy(self, array: np.ndarray) -> Array:
        return self.from_numpys([array])[0]

    def from_numpys(self, arrays: Sequence[np.ndarray]) -> list[Array]:
        copies = [*map(self._copied, arrays)]
        staged: list[Array] = self.jax.device_put(copies, self._on)
        for array, there in zip(copies, staged, strict=True):
            if there.dtype != array.dtype:
                raise UnsupportedError(
                    f"JAX turned {array.dtype} into {there.dtype}: set JAX_ENABLE_X64=1 before it is imported"
                )
        return staged

    def _copied(self, array: np.ndarray) -> np.ndarray:
        """Return a copy for JAX alone, in memory that it can keep on the host without another copy."""
        memory = np.empty(array.nbytes + ALIGNMENT, np.uint8)
        first = -memory.__array_interface__["data"][0] % ALIGNMENT
        copy = memory[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy.view(self.jax.numpy.bfloat16) if array.dtype == np.uint16 else copy  # the bits of a bfloat16

    def to_numpy(self, array: Array) -> np.ndarray:
        host = np.asarray(array)
        return host.view(np.uint16) if host.dtype == self.jax.numpy.bfloat16 else host

    def synchronize(self, result: Any = None) -> None:
        """Wait for the arrays of ``result``: JAX returns before they are computed."""
        self.jax.block_until_ready(result)  # type: ignore[no-untyped-call]

    def mark(self, result: Any) -> Array:
        """Return an array that is there when ``result`` is, and that no later call consumes."""
        state, results = result
        kept = self.jax.tree.leaves(results)
        return kept[0] if kept else self._one_number(self.jax.tree.leaves(state)[0])

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        step = operation.step(self)
        if self.mode == "scan" and operation.name == "gan_iteration":
            return ScannedProgram(self, operation, inputs, self.jax.jit(self._scanned(step), donate_argnums=1))
        return JaxProgram(self, operation, inputs, self.jax.jit(step, donate_argnums=1))

    def _scanned(self, step: Step) -> Step:
        """Return ``step`` over batches stacked along a first axis; its results are stacked likewise."""

        def scanned(fixed: Any, state: Any, stacked: Any) -> tuple[Any, Any]:
            return self.jax.lax.scan(  # type: ignore[no-any-return]
                lambda state, batch: step(fixed, state, batch), state, stacked
            )

        return scanned

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        return self._maps.convolution(layer, x, w)

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        return self._maps.convolution_grad(layer, x, w, grad)

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        wide, axes = x.astype(gamma.dtype), (0, *range(2, x.ndim))
        mean, var = wide.mean(axis=axes), wide.var(axis=axes)
        centre, scale, shift = (_along(v, x) for v in (mean, gamma * self.jax.lax.rsqrt(var + eps), beta))
        return ((wide - centre) * scale + shift).astype(x.dtype), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        _, pullback = self.jax.vjp(lambda x, gamma, beta: self.batch_norm(x, gamma, beta, eps)[0], x, gamma, beta)
        return pullback(grad)  # type: ignore[no-any-return]

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """Corrections by expm1: in float32, 1 − 0.999¹ would keep only four digits."""
        np_ = self.jax.numpy
        t = np_.asarray(step, params[0].dtype)
        correct1, correct2 = (-np_.expm1(t * float(np.log(beta))) if beta else 1.0 for beta in (spec.beta1, spec.beta2))
        grads = [g.astype(t.dtype) for g in grads]
        new_m = [spec.beta1 * mi + (1 - spec.beta1) * g for mi, g in zip(m, grads, strict=True)]
        new_v = [spec.beta2 * vi + (1 - spec.beta2) * g * g for vi, g in zip(v, grads, strict=True)]
        new_params = [
            p - spec.lr * (mi / correct1) / (np_.sqrt(vi / correct2) + spec.eps)
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
        """Several steps on D under ``lax.scan``: compiled once, however many they are."""
        (g, d), before = state[:2], state.step * spec.critic_steps

        def step_on_discriminator(carried: Any, batch: Any) -> tuple[Any, Any]:
            (d, running), (turn, real, z, u) = carried, batch
            fake, running = self._forward(spec.generator_layers, g.params, z, running)
            # One product of 2 B rows is faster than two of B.
            seen = [real, fake] if spec.apart else [self.jax.numpy.concatenate([real, fake])]

            def d_loss_of(params: Any) -> tuple[Array, tuple[list[Array], tuple[Array, ...]]]:
                outs, of_d = [], d.running
                for x in seen:
                    out, of_d = self._forward(spec.discriminator_layers, params, x, of_d)
                    outs.append(out)
                logits = self.jax.numpy.concatenate(outs).astype(params[0].dtype)
                d_loss = self._loss(spec.objective.d, logits)
                if u is None:
                    return d_loss, (of_d, ())
                penalty = self._penalty(spec, params, u * real + (1 - u) * fake)
                return d_loss + penalty, (of_d, (penalty,))

            (d_loss, (of_d, penalty)), grads = self.jax.value_and_grad(d_loss_of, has_aux=True)(d.params)
            updated = self.adam_step(spec, d.params, grads, d.m, d.v, before + turn + 1)
            return (NetworkState(*updated, of_d), running), (d_loss, *penalty)

        if spec.stacked:
            turns = self.jax.numpy.arange(spec.critic_steps, dtype="int32")
            unrolled = spec.convolutional and isinstance(self._maps, LaxMaps)  # or they would be slow: see _maps
            (d, running), stacked = self.jax.lax.scan(
                step_on_discriminator, (d, g.running), (turns, real, z_d, u), unroll=unrolled
            )
            losses = [one[-1] for one in stacked]
        else:
            (d, running), losses = step_on_discriminator((d, g.running), (0, real, z_d, None))
        g, d, g_loss = self._step_on_generator(spec, g._replace(running=running), d, z_g, state.step + 1)
        return GANState(g, d, state.step + 1), losses[0], g_loss, *losses[1:]

    def _loss(self, terms: Terms, logits: Array) -> Array:
        phi = {"softplus": self.jax.nn.softplus, "relu": self.jax.nn.relu, "square": self.jax.numpy.square}
        return terms.value(terms.arguments(logits), phi.get(terms.phi, lambda x: x))

    def _step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z_g: Array, step: Array
    ) -> tuple[NetworkState, NetworkState, Array]:
        """Return G after one step against the updated D, D, whose running statistics have moved, and G's loss."""

        def g_loss_of(params: Any) -> tuple[Array, Any]:
            images, running = self._forward(spec.generator_layers, params, z_g, g.running)
            logits, of_d = self._forward(spec.discriminator_layers, d.params, images, d.running)
            return self._loss(spec.objective.g, logits.astype(params[0].dtype)), (running, of_d)

        (g_loss, (running, of_d)), grads = self.jax.value_and_grad(g_loss_of, has_aux=True)(g.params)
        g = NetworkState(*self.adam_step(spec, g.params, grads, g.m, g.v, step), running)
        return g, d._replace(running=of_d), g_loss

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        return list(self.jax.grad(lambda params: self._penalty(spec, params, x))(list(params)))

    def _penalty(self, spec: GANSpec, params: Any, x: Array) -> Array:
        np_ = self.jax.numpy
        slopes = self.jax.grad(lambda x: self.discriminator_forward(spec, params, x).sum())(x)
        squares = np_.square(slopes.astype(np_.promote_types(x.dtype, "float32"))).sum(axis=1)
        # The root has no derivative at 0, and 0 times infinity is no number: so it is taken of 1 there.
        norms = np_.where(squares > 0, np_.sqrt(np_.where(squares > 0, squares, 1)), 0)
        return spec.penalty * np_.square(norms - 1).mean()

    def _forward(
        self, layers: Sequence[Layer], params: Sequence[Array], x: Array, running: Sequence[Array] = ()
    ) -> tuple[Array, list[Array]]:
        """Return the output and the updated running statistics."""
        updated: list[Array] = []
        wide = self.jax.numpy.promote_types(x.dtype, "float32")
        params = cast_weights(layers, params, lambda p: p.astype(x.dtype))
        for layer, own in zip(layers, by_layer(layers, params), strict=True):
            w, *rest = own or (None,)
            x = layer.forward(x, w, self._maps)
            if layer.batch_norm:
                x, mean, var = self.batch_norm(x, rest[0], rest[1], BATCH_NORM_EPS)
                if running:
                    count = x.size // len(mean)
                    fresh = (mean, var * (count / (count - 1)))
                    old = running[len(updated) : len(updated) + 2]
                    updated += [
                        (1 - BATCH_NORM_MOMENTUM) * o + BATCH_NORM_MOMENTUM * f for o, f in zip(old, fresh, strict=True)
                    ]
            elif rest:
                # Added in float32, so that the gradient of the bias, a sum over the batch, is not summed in halves.
                x = (x.astype(wide) + _along(rest[0], x).astype(wide)).astype(x.dtype)
            x = self._activate(layer.activation, x)
        return x, updated

    def _activate(self, name: str, x: Array) -> Array:
        if name == "leaky_relu":
            return self.jax.nn.leaky_relu(x, LEAKY_SLOPE)
        return x if name == "identity" else getattr(self.jax.nn, name)(x)


def _along(v: Array, x: Array) -> Array:
    """Return one number for each channel of ``x`` such that both can be added: (n,) or (C, 1, 1)."""
    return v.reshape(-1, *[1] * (x.ndim - 2))
