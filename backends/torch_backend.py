"""PyTorch: autograd and the fused Adam; and, as a mode of its own, the loop that most tutorials print."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ganbench.backend import Array, Backend, GANState, NetworkState, Program
from ganbench.errors import UnavailableError
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec, Layer, by_layer
from ganbench.operations import Inputs, Operation

from .inplace import InPlaceProgram
from .torch_manual import TorchKernels


class TorchBackend(Backend):
    """Tensors on one device; methods update state in place, as PyTorch's optimisers do."""

    name = "torch"
    modes: ClassVar[dict[str, str]] = {
        "eager": "autograd, fake batch detached, only the trained network's gradients, Adam(fused=True)",
        "manual": "gradients by hand through out= kernels, real and fake in one batch, Adam fused on flat buffers",
        "textbook": "two nn.Sequential, BCELoss on sigmoids, fake batch not detached, default Adam",
    }
    device_kinds = ("cpu", "cuda")
    module = "torch"
    distributions = ("torch",)
    install = 'pip install "ganbench[torch]"'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        self.require()
        import torch
        from torch.optim.adam import adam  # the functional form of torch.optim.Adam

        if self.device != "cpu":
            if not torch.cuda.is_available():
                raise UnavailableError(f"PyTorch {torch.__version__} sees no CUDA device")
            index = int(self.device.partition(":")[2] or 0)
            if index >= torch.cuda.device_count():
                raise UnavailableError(f"no CUDA device {index}: PyTorch sees {torch.cuda.device_count()}")
            torch.cuda.set_device(index)  # so that streams and events belong to the device that works
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        self.torch, self._adam = torch, adam

    @classmethod
    def missing_device(cls, kind: str, version: str) -> str:
        if kind == "cuda" and version.endswith("+cpu"):
            return f"PyTorch {version} is a CPU build"
        return super().missing_device(kind, version)

    def libraries(self) -> list[str]:
        """What Intel calls oneMKL and oneDNN is linked into PyTorch, where it is; its build record names it."""
        lines = (line.strip(" -") for line in self.torch.__config__.show().splitlines())
        named = [line for line in lines if line.startswith("Intel")]
        return [*named, f"{self.torch.get_num_threads()} threads"]

    def device_peak(self) -> int | None:
        return None if self.device == "cpu" else int(self.torch.cuda.max_memory_allocated())

    def event(self) -> Any:
        if self.device == "cpu":
            return None
        event = self.torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def elapsed(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end)) / 1e3

    def from_numpy(self, array: np.ndarray) -> Array:
        return self.torch.tensor(np.ascontiguousarray(array), device=self.device)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.asarray(array.detach().cpu().numpy())

    def synchronize(self, result: Any = None) -> None:
        """Wait for the device; on the host a call has finished when it returns."""
        if self.device != "cpu":
            self.torch.cuda.synchronize()

    def matmul(self, a: Array, b: Array) -> Array:
        return a @ b

    def matmul_into(self, a: Array, b: Array, out: Array) -> Array:
        return self.torch.mm(a, b, out=out)

    def matmul_grad(self, a: Array, b: Array, grad: Array) -> tuple[Array, Array]:
        return grad @ b.T, a.T @ grad

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        """With momentum 1 the running statistics become those of this batch, the variance unbiased."""
        mean, var = self.torch.empty_like(gamma), self.torch.empty_like(gamma)
        mean.zero_(), var.zero_()
        y = self.torch.nn.functional.batch_norm(x, mean, var, gamma, beta, True, 1.0, eps)
        return y, mean, var.mul_((len(x) - 1) / len(x))

    def batch_norm_grad(
        self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array
    ) -> tuple[Array, Array, Array]:
        x, gamma, beta = (leaf.detach().requires_grad_() for leaf in (x, gamma, beta))
        y = self.torch.nn.functional.batch_norm(x, None, None, gamma, beta, True, 0.0, eps)
        return self.torch.autograd.grad(y, (x, gamma, beta), grad)  # type: ignore[return-value]

    def adam_step(
        self,
        spec: GANSpec,
        params: Sequence[Array],
        grads: Sequence[Array],
        m: Sequence[Array],
        v: Sequence[Array],
        step: Any,
    ) -> tuple[list[Array], list[Array], list[Array]]:
        """Run the function behind ``torch.optim.Adam``, fused unless by the book; it counts the step up."""
        params, grads, m, v = list(params), list(grads), list(m), list(v)
        before = self.torch.full((len(params),), float(step) - 1, device=self.device)
        with self.torch.no_grad():
            self._adam(
                params,
                grads,
                m,
                v,
                [],
                list(before.unbind()),
                fused=self.mode != "textbook",
                foreach=None if self.mode == "textbook" else False,
                amsgrad=False,
                beta1=spec.beta1,
                beta2=spec.beta2,
                lr=spec.lr,
                weight_decay=0.0,
                eps=spec.eps,
                maximize=False,
            )
        return params, m, v

    def generator_forward(self, spec: GANSpec, params: Sequence[Array], z: Array) -> Array:
        with self.torch.no_grad():
            return self._forward(spec.generator_layers, params, z)

    def discriminator_forward(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        with self.torch.no_grad():
            return self._forward(spec.discriminator_layers, params, x)

    def gan_iteration(
        self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array
    ) -> tuple[GANState, Array, Array]:
        softplus = self.torch.nn.functional.softplus
        g, d, step = state.generator, state.discriminator, state.step + 1

        with self.torch.no_grad():
            fake = self._forward(spec.generator_layers, g.params, z_d, g.running)
        leaves = [p.requires_grad_() for p in d.params]
        on_real = self._forward(spec.discriminator_layers, leaves, real)
        on_fake = self._forward(spec.discriminator_layers, leaves, fake)
        d_loss = softplus(-on_real).mean() + softplus(on_fake).mean()
        self.adam_step(spec, leaves, self.torch.autograd.grad(d_loss, leaves), d.m, d.v, step)

        for p in d.params:
            p.requires_grad_(False)
        leaves = [p.requires_grad_() for p in g.params]
        images = self._forward(spec.generator_layers, leaves, z_g, g.running)
        judged = self._forward(spec.discriminator_layers, d.params, images)
        if spec.loss == "non-saturating":
            g_loss = softplus(-judged).mean()
        else:
            g_loss = -softplus(judged).mean()
        self.adam_step(spec, leaves, self.torch.autograd.grad(g_loss, leaves), g.m, g.v, step)
        return GANState(g, d, step), d_loss.detach(), g_loss.detach()

    def _forward(
        self, layers: Sequence[Layer], params: Sequence[Array], x: Array, running: Sequence[Array] = ()
    ) -> Array:
        functional, statistics = self.torch.nn.functional, iter(running)
        for layer, (w, *rest) in zip(layers, by_layer(layers, params), strict=True):
            if layer.batch_norm:
                mean, var = next(statistics, None), next(statistics, None)
                x = functional.batch_norm(x @ w.T, mean, var, *rest, True, BATCH_NORM_MOMENTUM, BATCH_NORM_EPS)
            else:
                x = functional.linear(x, w, rest[0])
            x = self._activation(layer.activation)(x)
        return x

    def _activation(self, name: str) -> Callable[[Array], Array]:
        torch = self.torch
        if name == "leaky_relu":
            return lambda x: torch.nn.functional.leaky_relu(x, LEAKY_SLOPE)
        if name == "identity":
            return lambda x: x
        named: dict[str, Callable[[Array], Array]] = {
            "relu": torch.relu,
            "tanh": torch.tanh,
            "sigmoid": torch.sigmoid,
        }
        return named[name]

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        if self.mode == "textbook" and operation.name == "gan_iteration":
            return Textbook(self, operation, inputs)
        if self.mode == "manual" and operation.name == "gan_iteration":
            return InPlaceProgram(self, self._kernels(inputs), operation, inputs)
        return super().prepare(operation, inputs)


    def _kernels(self, inputs: Inputs) -> TorchKernels:
        dtype = str(inputs.state.generator.params[0].dtype)
        return TorchKernels(self.torch, self.device, getattr(self.torch, dtype))


class Textbook(Program):
    """The loop as tutorials print it: 1.43 times the FLOP of the minimum for the same result.

    D learns from a fake batch that was not detached, so autograd also runs back through G; in the G step
    D's weight gradients are computed and thrown away by the next ``zero_grad``.
    """

    def __init__(self, backend: TorchBackend, operation: Operation, inputs: Inputs) -> None:
        torch, self._backend, self._operation = backend.torch, backend, operation
        self._spec, self._start = operation.spec, inputs.state
        self._batches = [tuple(map(backend.from_numpy, batch)) for batch in inputs.batches]
        self._bce = torch.nn.BCELoss()
        self.reset()

    def reset(self) -> None:
        spec, step = self._spec, int(self._start.step)
        self._g, self._adam_g = self._network(spec.generator_layers, self._start.generator, step)
        self._d, self._adam_d = self._network(spec.discriminator_layers, self._start.discriminator, step)
        self._d.append(self._backend.torch.nn.Sigmoid())
        self._turn, self.result = 0, ()

    def _network(self, layers: Sequence[Layer], start: NetworkState, step: int) -> tuple[Any, Any]:
        """Return an ``nn.Sequential`` and its Adam, both in the state ``start``."""
        nn, spec, stage = self._backend.torch.nn, self._spec, self._backend.from_numpy
        modules: list[Any] = []
        for layer in layers:
            modules.append(nn.Linear(layer.n_in, layer.n_out, bias=not layer.batch_norm))
            if layer.batch_norm:
                modules.append(nn.BatchNorm1d(layer.n_out, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM))
            if layer.activation != "identity":
                modules.append(
                    {
                        "relu": nn.ReLU,
                        "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
                        "tanh": nn.Tanh,
                        "sigmoid": nn.Sigmoid,
                    }[layer.activation]()
                )
        network = nn.Sequential(*modules)
        for parameter, value in zip(network.parameters(), start.params, strict=True):
            parameter.data = stage(value)
        buffers = [buffer for name, buffer in network.named_buffers() if "running" in name]
        for buffer, value in zip(buffers, start.running, strict=True):
            buffer.data = stage(value)
        adam = self._backend.torch.optim.Adam(
            network.parameters(), lr=spec.lr, betas=(spec.beta1, spec.beta2), eps=spec.eps
        )
        for parameter, m, v in zip(network.parameters(), start.m, start.v, strict=True):
            adam.state[parameter] = {
                "step": self._backend.torch.tensor(float(step)),
                "exp_avg": stage(m),
                "exp_avg_sq": stage(v),
            }
        return network.to(self._backend.device), adam

    def __call__(self) -> None:
        torch, bce = self._backend.torch, self._bce
        real, z_d, z_g = self._batches[self._turn % len(self._batches)]
        self._turn += 1

        p_real, p_fake = self._d(real), self._d(self._g(z_d))
        d_loss = bce(p_real, torch.ones_like(p_real)) + bce(p_fake, torch.zeros_like(p_fake))
        self._adam_d.zero_grad()
        d_loss.backward()
        self._adam_d.step()

        p_fake = self._d(self._g(z_g))
        if self._spec.loss == "non-saturating":
            g_loss = bce(p_fake, torch.ones_like(p_fake))
        else:
            g_loss = -bce(p_fake, torch.zeros_like(p_fake))
        self._adam_g.zero_grad()
        g_loss.backward()
        self._adam_g.step()
        self.result = d_loss.detach(), g_loss.detach()

    def feed(self, batches: Sequence[tuple[np.ndarray, ...]], state: GANState | None = None) -> None:
        self._batches = [tuple(map(self._backend.from_numpy, batch)) for batch in batches]
        self._turn = 0
        if state is not None:
            self._start = state
            self.reset()

    def losses(self) -> tuple[Array, Array]:
        d_loss, g_loss = self.result
        return d_loss, g_loss

    def outputs(self) -> list[np.ndarray]:
        self._backend.synchronize()
        networks = [self._state(self._g, self._adam_g), self._state(self._d, self._adam_d)]
        state = GANState(networks[0], networks[1], self._turn)
        return [self._backend.to_numpy(array) for array in self._operation.collect(state, self.result)]

    @staticmethod
    def _state(network: Any, adam: Any) -> NetworkState:
        params = list(network.parameters())
        m, v = ([adam.state[p][key] for p in params] for key in ("exp_avg", "exp_avg_sq"))
        running = [buffer for name, buffer in network.named_buffers() if "running" in name]
        return NetworkState(params, m, v, running)
