"""JAX: pure functions, differentiated by ``value_and_grad`` and compiled whole by ``jit`` with donated state."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ganbench.array_ops import Arrays, Trained, Triple
from ganbench.backend import Array, Backend, GANState, Program, Step, map_arrays
from ganbench.errors import UnavailableError, UnsupportedError
from ganbench.gan import LEAKY_SLOPE, GANSpec
from ganbench.layers import OnImages
from ganbench.operation import Inputs, Operation
from ganbench.precision import AMPERE, require_tf32

from .functional import Functional, FunctionalProgram
from .jax_maps import CellMaps, LaxMaps

ALIGNMENT = 64  # bytes: XLA takes memory that begins so as it is


class JaxBackend(Functional):
    """Arrays on one device; every operation is one compiled call."""

    maps: LaxMaps | CellMaps
    name = "jax"
    modes: ClassVar[dict[str, str]] = {
        "jit": "value_and_grad under one jit per iteration, the state donated",
        "scan": "under lax.scan: the eight staged iterations in one call; convolutions as in custom",
        "custom": "as jit, but convolutions are products, and the derivatives of each its two adjoints, by custom_vjp",
    }
    queues = True
    device_kinds = ("cpu", "cuda")
    formats = ("float64", "float32", "tf32", "bfloat16", "float16")
    forks = True
    module = "jax"
    distributions = ("jax",)
    undone_by: ClassVar[dict[str, tuple[str, ...]]] = {"JAX_DISABLE_JIT": ("jit", "scan", "custom")}
    install = 'pip install "ganbench[jax]" (for a GPU: pip install "jax[cuda13]")'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        import jax

        kind = self.device.partition(":")[0]
        try:
            devices = jax.devices(kind)
        except (RuntimeError, AssertionError) as error:  # without any GPU to be seen, an assertion without words
            why = str(error) or "it sees none"
            raise UnavailableError(f"JAX {jax.__version__} has no {kind} device: {why}") from error
        if self.index >= len(devices):
            raise UnavailableError(f"no CUDA device {self.index}: JAX sees {len(devices)}")
        self.jax, self._on = jax, devices[self.index]
        self.xp, self.grad, nn = jax.numpy, jax.grad, jax.nn
        self.functions = {
            "relu": nn.relu, "leaky_relu": partial(nn.leaky_relu, negative_slope=LEAKY_SLOPE), "tanh": nn.tanh,
            "sigmoid": nn.sigmoid, "identity": lambda x: x, "softplus": nn.softplus, "square": jax.numpy.square,
        }  # fmt: skip
        # In a loop, XLA's convolutions on a CPU take several times as long as outside of it: docs/limit-images.md.
        self.maps = (LaxMaps if self.mode == "jit" else CellMaps)(jax)
        self._one_number = jax.jit(lambda array: array.ravel()[0])
        if precision == "tf32":
            require_tf32(self.index, float(getattr(self._on, "compute_capability", AMPERE)))

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
        return copy.view(self.xp.bfloat16) if array.dtype == np.uint16 else copy  # the bits of a bfloat16

    def to_numpy(self, array: Array) -> np.ndarray:
        host = np.asarray(array)
        return host.view(np.uint16) if host.dtype == self.xp.bfloat16 else host

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
        return FunctionalProgram(self, operation, inputs, self.jax.jit(step, donate_argnums=1))

    def _scanned(self, step: Step) -> Step:
        """Return ``step`` over batches stacked along a first axis; its results are stacked likewise."""

        def scanned(fixed: Any, state: Any, stacked: Any) -> tuple[Any, Any]:
            return self.jax.lax.scan(partial(step, fixed), state, stacked)  # type: ignore[no-any-return]

        return scanned

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        return self.maps.convolution(layer, x, w)

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        return self.maps.convolution_grad(layer, x, w, grad)

    def along(self, v: Array, x: Array) -> Array:
        """As (n,) or (C, 1, 1)."""
        return v.reshape(-1, *[1] * (x.ndim - 2))

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        wide, axes = x.astype(gamma.dtype), (0, *range(2, x.ndim))
        mean, var = wide.mean(axis=axes), wide.var(axis=axes)
        centre, scale, shift = (self.along(v, x) for v in (mean, gamma * self.jax.lax.rsqrt(var + eps), beta))
        return ((wide - centre) * scale + shift).astype(x.dtype), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        _, pullback = self.jax.vjp(lambda x, gamma, beta: self.batch_norm(x, gamma, beta, eps)[0], x, gamma, beta)
        return pullback(grad)  # type: ignore[no-any-return]

    def value_and_grad(self, function: Callable[[Any], tuple[Any, ...]], params: Arrays) -> tuple[Any, list[Array]]:
        def loss_and_rest(params: Arrays) -> tuple[Array, list[Any]]:
            loss, *rest = function(params)
            return loss, rest

        (loss, rest), grads = self.jax.value_and_grad(loss_and_rest, has_aux=True)(params)
        return (loss, *rest), grads

    def gan_iteration(
        self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array, u: Array | None = None
    ) -> Trained:
        """Several steps on D under ``lax.scan``: compiled once, however many they are."""
        if not spec.stacked:
            return super().gan_iteration(spec, state, real, z_d, z_g, u)
        (g, d), before = state[:2], state.step * spec.critic_steps

        def step(carried: Any, batch: Any) -> tuple[Any, Any]:
            (d, running), (turn, real, z, u) = carried, batch
            found = self.step_on_discriminator(spec, g._replace(running=running), d, real, z, u, before + turn)
            return (found[1], found[0].running), found[2:]

        turns = self.xp.arange(1, spec.critic_steps + 1, dtype="int32")
        unrolled = spec.convolutional and isinstance(self.maps, LaxMaps)  # or they would be slow: see maps
        (d, running), losses = self.jax.lax.scan(step, (d, g.running), (turns, real, z_d, u), unroll=unrolled)
        d_loss, *penalty = (one[-1] for one in losses)
        g, d, g_loss = self.step_on_generator(spec, g._replace(running=running), d, z_g, state.step + 1)
        return GANState(g, d, state.step + 1), d_loss, g_loss, *penalty


class ScannedProgram(FunctionalProgram):
    """All staged batches in one call, stacked on the host before they are staged."""

    def __init__(self, backend: Backend, operation: Operation, inputs: Inputs, step: Step) -> None:
        self.iterations = len(inputs.batches)
        super().__init__(backend, operation, inputs._replace(batches=_stacked(inputs.batches)), step)

    def outputs(self) -> list[np.ndarray]:
        state, results = self.result
        last = [np.asarray(stack)[-1] for stack in results]
        return [self._backend.to_numpy(array) for array in self._operation.collect(state, last)]

    def first_outputs(self, count: int) -> list[np.ndarray]:
        """By the same function, compiled for fewer iterations."""
        self.reset()
        first = map_arrays(lambda array: array[:count], self._batches[0])
        self.result = self._step(self._fixed, self._state, first)
        outputs = self.outputs()
        self.reset()
        return outputs

    def feed(self, batches: Sequence[tuple[np.ndarray, ...]], state: GANState | None = None) -> None:
        super().feed(_stacked(batches), state)


def _stacked(batches: Sequence[tuple[np.ndarray, ...]]) -> list[tuple[np.ndarray, ...]]:
    return [tuple(map(np.stack, zip(*batches, strict=True)))]
