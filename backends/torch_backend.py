"""PyTorch: autograd and the fused Adam by default; its other modes have a file each."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ganbench.array_ops import AdamSettings, Arrays, Triple, Updated
from ganbench.backend import DISPLACING, Array, Backend, NetworkState, Program
from ganbench.errors import UnavailableError, UnsupportedError
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec
from ganbench.layers import Dense, Layer, Matrices, OnImages, Reshape, by_layer, cast_weights
from ganbench.losses import Terms
from ganbench.operation import Inputs, Operation
from ganbench.precision import require_full, require_tf32

from .captured import CapturedProgram
from .inplace_program import InPlaceProgram
from .steps import Steps
from .torch_compiled import CompiledProgram, PenaltyProgram, require_compiler
from .torch_manual import SOFTPLUS_LINEAR, TorchKernels
from .torch_maps import gradients
from .torch_textbook import Textbook


class TorchBackend(Matrices, Steps, Backend):
    """Tensors on one device; methods update state in place, as PyTorch's optimisers do."""

    torch: Any
    name = "torch"
    modes: ClassVar[dict[str, str]] = {
        "eager": "autograd, fake batch detached, only the trained network's gradients, Adam(fused=True)",
        "manual": "gradients by hand through out= kernels, real and fake in one batch, Adam fused on flat buffers",
        "compile": "gradients by hand as a function of tensors, Adam included, under torch.compile(fullgraph=True)",
        "graph": "eight in-place iterations captured in one CUDA graph and replayed",
        "textbook": "two nn.Sequential, BCELoss on sigmoids, fake batch not detached, default Adam",
    }
    device_kinds = ("cpu", "cuda")
    formats = ("float64", "float32", "tf32", "bfloat16", "float16")
    queues = True
    forks = True
    module = "torch"
    distributions = ("torch",)
    undone_by: ClassVar[dict[str, tuple[str, ...]]] = {
        "TORCHDYNAMO_DISABLE": ("compile",),
        "TORCH_COMPILE_DISABLE": ("compile",),
    }
    install = 'pip install "ganbench[torch]"'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        import torch
        from torch.optim.adam import adam  # the functional form of torch.optim.Adam

        if self.device != "cpu":
            if not torch.cuda.is_available():
                raise UnavailableError(f"PyTorch {torch.__version__} sees no CUDA device")
            if self.index >= torch.cuda.device_count():
                raise UnavailableError(f"no CUDA device {self.index}: PyTorch sees {torch.cuda.device_count()}")
            if precision == "tf32":
                major, minor = torch.cuda.get_device_capability(self.index)
                require_tf32(self.index, major + minor / 10)
            torch.cuda.set_device(self.index)  # so that streams and events belong to the device that works
        if self.mode == "graph" and self.device == "cpu":
            raise UnsupportedError("torch.graph needs a GPU, for CUDA graphs: use torch.graph@cuda")
        if self.mode == "compile":
            require_compiler(self.device)
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"  # of convolutions, which take it if nobody says anything
        self.torch, self._adam = torch, adam
        self._channels_last = self.mode != "textbook"  # weights of convolutions

    @classmethod
    def missing_device(cls, kind: str, version: str) -> str:
        if kind == "cuda" and version.endswith("+cpu"):
            return f"PyTorch {version} is a CPU build"
        return super().missing_device(kind, version)

    @classmethod
    def environment(cls, device: str, dtype: str, precision: str, cache: str) -> dict[str, str]:
        """Compile in the worker itself: processes of a pool would outlive it when it is killed."""
        return {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}

    def libraries(self) -> list[str]:
        """What Intel calls oneMKL and oneDNN is linked into PyTorch, where it is; its build record names it."""
        lines = (line.strip(" -") for line in self.torch.__config__.show().splitlines())
        named = [line for line in lines if line.startswith("Intel")]
        return [*named, f"{self.torch.get_num_threads()} threads"]

    def device_peak(self) -> int | None:
        return None if self.device == "cpu" else int(self.torch.cuda.max_memory_allocated())

    def forget_device_peak(self) -> int:
        if self.device == "cpu":
            return 0
        self.torch.cuda.reset_peak_memory_stats()
        return int(self.torch.cuda.memory_allocated())

    def event(self) -> Any:
        if self.device == "cpu":
            return None
        event = self.torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def cache_displacer(self) -> Callable[[], object]:
        size = getattr(self.torch.cuda.get_device_properties(self.device), "L2_cache_size", 0)
        if not size:  # PyTorch tells it from 2.5 on
            return super().cache_displacer()
        memory = self.torch.empty(DISPLACING * size, dtype=self.torch.uint8, device=self.device)
        return memory.zero_  # type: ignore[no-any-return]

    def elapsed(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end)) / 1e3

    def from_numpy(self, array: np.ndarray) -> Array:
        array = np.ascontiguousarray(array)
        bits = array.dtype == np.uint16  # of a bfloat16
        staged = self.torch.tensor(array.view(np.int16) if bits else array, device=self.device)
        staged = staged.view(self.torch.bfloat16) if bits else staged
        return staged.to(memory_format=self.torch.channels_last) if self._channels_last and array.ndim == 4 else staged

    def to_numpy(self, array: Array) -> np.ndarray:
        array = array.detach().cpu()
        if array.dtype == self.torch.bfloat16:
            return np.asarray(array.contiguous().view(self.torch.int16).numpy()).view(np.uint16)
        return np.asarray(array.numpy())

    def synchronize(self, result: Any = None) -> None:
        """Wait for a mark or else for the device; on the host a call has finished when it returns."""
        if self.device != "cpu":
            (result if isinstance(result, self.torch.cuda.Event) else self.torch.cuda).synchronize()

    def mark(self, result: Any) -> Any:
        """On a GPU an event: whoever waits for the device waits for later calls, too."""
        return result if self.device == "cpu" else self.event()

    def matmul_into(self, a: Array, b: Array, out: Array) -> Array:
        return self.torch.mm(a, b, out=out)

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        return self._convolved(layer, x, w, None)

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        return gradients(self.torch, grad, x, w, layer.window, layer.turned, [True, True, False])[:2]

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        """With momentum 1 the running statistics become those of this batch, the variance unbiased."""
        mean, var = self.torch.empty_like(gamma), self.torch.empty_like(gamma)
        mean.zero_(), var.zero_()
        y = self.torch.nn.functional.batch_norm(x, mean, var, gamma, beta, True, 1.0, eps)
        return y, mean, var.mul_((len(x) - 1) / len(x))

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        x, gamma, beta = (leaf.detach().requires_grad_() for leaf in (x, gamma, beta))
        y = self.torch.nn.functional.batch_norm(x, None, None, gamma, beta, True, 0.0, eps)
        return self.torch.autograd.grad(y, (x, gamma, beta), grad)  # type: ignore[no-any-return]

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """Run the function behind ``torch.optim.Adam``, fused unless by the book, as it is by default; it counts up.

        It takes parameters and gradients of one dtype, so gradients in halves are cast first.
        """
        params, grads, m, v = list(params), list(grads), list(m), list(v)
        if grads[0].dtype != params[0].dtype:
            grads = [grad.to(params[0].dtype) for grad in grads]
        if self._channels_last:  # the fused kernel goes through the memory of all four
            pairs = zip(params, grads, strict=True)
            grads = [grad if grad.stride() == p.stride() else self.torch.empty_like(p).copy_(grad) for p, grad in pairs]
        # As torch.optim.Adam keeps them: the fused kernel reads them on the device, the others on the host.
        place = "cpu" if self.mode == "textbook" else self.device
        before = self.torch.full((len(params),), float(step) - 1, device=place)
        with self.torch.no_grad():
            self._adam(
                params, grads, m, v, [], list(before.unbind()),
                fused=self.mode != "textbook" or None, lr=spec.lr, beta1=spec.beta1, beta2=spec.beta2,
                weight_decay=0.0, eps=spec.eps, amsgrad=False, maximize=False,
            )  # fmt: skip
        return params, m, v

    def generator_forward(self, spec: GANSpec, params: Sequence[Array], z: Array) -> Array:
        with self.torch.no_grad():
            return self._forward(spec.generator_layers, params, z)

    def discriminator_forward(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        with self.torch.no_grad():
            return self._forward(spec.discriminator_layers, params, x)

    def step_on_discriminator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, real: Array, z: Array, u: Array | None, step: Any
    ) -> tuple[Any, ...]:
        with self.torch.no_grad():
            fake = self._forward(spec.generator_layers, g.params, z, g.running)
        leaves = [p.requires_grad_() for p in d.params]
        batches = [real, fake] if spec.apart else [self.torch.cat([real, fake])]
        logits = self.torch.cat([self._logits(spec, leaves, batch, d.running) for batch in batches])
        losses = [self._loss(spec.objective.d, logits)]
        if u is not None:
            penalty = self._penalty(spec, leaves, u * real + (1 - u) * fake)
            losses = [losses[0] + penalty, penalty]
        self.adam_step(spec, leaves, self.torch.autograd.grad(losses[0], leaves), d.m, d.v, step)
        return g, d, *(one.detach() for one in losses)

    def step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z: Array, step: Any
    ) -> tuple[NetworkState, NetworkState, Array]:
        for p in d.params:
            p.requires_grad_(False)
        leaves = [p.requires_grad_() for p in g.params]
        images = self._forward(spec.generator_layers, leaves, z, g.running)
        g_loss = self._loss(spec.objective.g, self._logits(spec, d.params, images, d.running))
        self.adam_step(spec, leaves, self.torch.autograd.grad(g_loss, leaves), g.m, g.v, step)
        return g, d, g_loss.detach()

    def _loss(self, terms: Terms, logits: Array) -> Array:
        torch, softplus = self.torch, partial(self.torch.nn.functional.softplus, threshold=SOFTPLUS_LINEAR)
        named: dict[str, Callable[[Array], Array]] = {"softplus": softplus, "relu": torch.relu, "square": torch.square}
        return terms.value(terms.arguments(logits), named.get(terms.phi, lambda x: x))

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        leaves = [p.detach().requires_grad_() for p in params]
        penalty = self._penalty(spec, leaves, x)
        return list(self.torch.autograd.grad(penalty, leaves, materialize_grads=True))

    def _penalty(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        """Return the penalty at rows ``x``, to be differentiated once more."""
        x = x.detach().requires_grad_()
        logits = self._forward(spec.discriminator_layers, params, x)
        (slopes,) = self.torch.autograd.grad(logits.sum(), x, create_graph=True)
        norms = slopes.to(self.torch.promote_types(x.dtype, self.torch.float32)).norm(2, dim=1)
        return spec.penalty * (norms - 1).square().mean()

    def _logits(self, spec: GANSpec, params: Sequence[Array], x: Array, running: Sequence[Array]) -> Array:
        """Return logits in the dtype of the parameters, for the losses."""
        logits = self._forward(spec.discriminator_layers, params, x, running)
        return logits if logits.dtype == params[0].dtype else logits.to(params[0].dtype)

    def _forward(
        self, layers: Sequence[Layer], params: Sequence[Array], x: Array, running: Sequence[Array] = ()
    ) -> Array:
        functional, statistics = self.torch.nn.functional, iter(running)
        if params[0].dtype != x.dtype:
            params = cast_weights(layers, params, lambda p: p.to(x.dtype))
        for layer, own in zip(layers, by_layer(layers, params), strict=True):
            x = self._linear(layer, x, *own)
            if layer.batch_norm:
                mean, var = next(statistics, None), next(statistics, None)
                x = functional.batch_norm(x, mean, var, *own[1:], True, BATCH_NORM_MOMENTUM, BATCH_NORM_EPS)
            x = self._activation(layer.activation)(x)
        return x

    def _linear(self, layer: Layer, x: Array, *own: Array) -> Array:
        """Return what a layer makes before batch norm and activation, its bias added."""
        functional = self.torch.nn.functional
        if isinstance(layer, Reshape):
            x = x.reshape(-1, *layer.after)
            return x.to(memory_format=self.torch.channels_last) if x.ndim == 4 and self._channels_last else x
        bias = own[1] if layer.bias and not layer.batch_norm else None
        if isinstance(layer, Dense):
            return functional.linear(x, own[0], bias)
        assert isinstance(layer, OnImages)
        return self._convolved(layer, x, own[0], bias)

    def _convolved(self, layer: OnImages, x: Array, w: Array, bias: Array | None) -> Array:
        functional = self.torch.nn.functional
        kind = functional.conv_transpose2d if layer.turned else functional.conv2d
        return kind(x, w, bias, layer.window.stride, layer.window.padding)

    def _activation(self, name: str) -> Callable[[Array], Array]:
        if name == "leaky_relu":
            return lambda x: self.torch.nn.functional.leaky_relu(x, LEAKY_SLOPE)
        return (lambda x: x) if name == "identity" else getattr(self.torch, name)

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        if operation.name == "penalty_grad" and self.mode in ("manual", "compile", "graph"):
            return PenaltyProgram(self, self.torch, operation, inputs)
        if operation.name != "gan_iteration" or self.mode == "eager":
            return super().prepare(operation, inputs)
        if self.mode != "compile":
            require_full(inputs.batches[0][0].itemsize, f"torch.{self.mode}", "torch or torch.compile")
        if self.mode == "textbook":
            return Textbook(self, self.torch, operation, inputs)
        if self.mode == "compile":
            return CompiledProgram(self, self.torch, operation, inputs)
        if self.mode == "graph":
            return CapturedProgram(self, self._kernels(inputs), operation, inputs, self._capture)
        return InPlaceProgram(self, self._kernels(inputs), operation, inputs)

    def _capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Run once on a side stream, as CUDA graphs need, then record; return what replays."""
        cuda: Any = self.torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            function()
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            function()
        return graph.replay  # type: ignore[no-any-return]

    def _kernels(self, inputs: Inputs) -> TorchKernels:
        dtype = str(inputs.state.generator.params[0].dtype)
        return TorchKernels(self.torch, self.device, getattr(self.torch, dtype))
