"""The whole iteration, Adam included, as one function of tensors for ``torch.compile``.

Gradients are by hand: what the compiler is given then holds no autograd graph, and every formula between two
products becomes one kernel. State is updated in place.
"""

import importlib.util
import os
import shutil
from functools import partial
from types import SimpleNamespace
from typing import Any

from ganbench.array_ops import AdamSettings, Arrays, Updated, steps_on_d
from ganbench.backend import Array, Backend, BoundProgram, GANState
from ganbench.errors import UnavailableError
from ganbench.gan import LEAKY_SLOPE, GANSpec, with_loss
from ganbench.operation import Inputs, Operation

from .by_hand import ByHand
from .torch_manual import SOFTPLUS_LINEAR
from .torch_maps import TorchMaps


class CompiledProgram(BoundProgram):
    """Compiles while it is prepared: the first call of a compiled function is what compiles it."""

    def __init__(self, backend: Backend, torch: Any, operation: Operation, inputs: Inputs) -> None:
        torch._dynamo.reset()  # a worker may compile several models; none is to count as a recompilation
        compiled = partial(torch.compile, fullgraph=True, dynamic=False)
        math, self._model = TensorMath(torch), traced(operation.spec)
        self._whole, self._d, self._g = map(
            compiled, (math.gan_iteration, math.step_on_discriminator, math.step_on_generator)
        )
        # How many steps G and D have taken.
        self._counts = [torch.zeros((), dtype=torch.float64, device=backend.device) for _ in range(2)]
        super().__init__(backend, operation, inputs, self._stacked if operation.spec.stacked else self._one)
        self()
        backend.synchronize()
        self.reset()

    def reset(self) -> None:
        super().reset()
        step = int(self._start.step)
        for count, taken in zip(self._counts, (step, step * self._operation.spec.critic_steps), strict=True):
            count.fill_(taken)

    def _one(self, fixed: Any, state: GANState, batch: tuple[Array, ...]) -> tuple[GANState, Any]:
        _, *losses = self._whole(self._model, state._replace(step=self._counts[0]), *batch)
        self._counts[0].add_(1)
        return state._replace(step=state.step + 1), losses

    def _stacked(self, fixed: Any, state: GANState, batch: tuple[Array, ...]) -> tuple[GANState, Any]:
        """Two compiled functions: one for all steps on D would have to be compiled as often as there are."""
        (g, d, step), (real, z_d, z_g, *u), model = state, batch, self._model
        for one in steps_on_d(model, real, z_d, *u or [None]):
            self._counts[1].add_(1)
            _, _, d_loss, *penalty = self._d(model, g, d, *one, self._counts[1])
        self._counts[0].add_(1)
        _, _, g_loss = self._g(model, g, d, z_g, self._counts[0])
        return GANState(g, d, step + 1), (d_loss, g_loss, *penalty)


class PenaltyProgram(BoundProgram):
    """``penalty_grad`` by hand, compiled where the mode is."""

    def __init__(self, backend: Backend, torch: Any, operation: Operation, inputs: Inputs) -> None:
        derived = partial(TensorMath(torch).penalty_grad, traced(with_loss(operation.spec, "wgan-gp")))
        if backend.mode == "compile":
            torch._dynamo.reset()
            derived = torch.compile(derived, fullgraph=True, dynamic=False)
        super().__init__(backend, operation, inputs, lambda fixed, state, batch: (state, derived(*batch)))
        self()
        backend.synchronize()
        self.reset()


def traced(spec: GANSpec) -> Any:
    """Return what the mathematics asks of a model, as plain values: a compiler can make no layers."""
    asked = (
        "batch", "critic_steps", "stacked", "apart", "objective", "penalty", "lr", "beta1", "beta2", "eps",
        "generator_layers", "discriminator_layers",
    )  # fmt: skip
    return SimpleNamespace(**{name: getattr(spec, name) for name in asked})


class TensorMath(TorchMaps, ByHand):
    """The mathematics on tensors, without what only a backend has."""

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """In place; ``step`` is a tensor, so that the next one needs no other code."""
        dtype = params[0].dtype
        root = (1 - spec.beta2**step).sqrt()
        lr, eps = (spec.lr * root / (1 - spec.beta1**step)).to(dtype), (spec.eps * root).to(dtype)
        for p, mi, vi, g in zip(params, m, v, grads, strict=True):
            g = g.to(dtype)
            mi.mul_(spec.beta1).add_(g * (1 - spec.beta1))
            vi.mul_(spec.beta2).add_(g * g * (1 - spec.beta2))
            p.sub_(lr * mi / (vi.sqrt() + eps))
        return list(params), list(m), list(v)

    def _cast(self, array: Array, dtype: Any) -> Array:
        return array.to(dtype)

    def _activate(self, name: str, x: Array) -> Array:
        if name == "leaky_relu":
            return self.xp.where(x > 0, x, LEAKY_SLOPE * x)
        return x if name == "identity" else getattr(self.xp, name)(x)

    def _sigmoid(self, x: Array) -> Array:
        return self.xp.sigmoid(x)

    def _softplus(self, x: Array) -> Array:
        return self.xp.nn.functional.softplus(x, threshold=SOFTPLUS_LINEAR)


def require_compiler(device: str) -> None:
    """Raise ``UnavailableError`` where torch.compile would find no compiler for ``device``."""
    language, variable, known = "C++", "CXX", ("g++", "clang++")
    if device != "cpu":
        if importlib.util.find_spec("triton") is None:
            raise UnavailableError("torch.compile on a GPU needs Triton: pip install triton")
        language, variable, known = "C", "CC", ("gcc", "clang")  # Triton compiles what launches its kernels
    named = os.environ.get(variable)
    if not any(map(shutil.which, [named] if named else known)):
        found = named or f"no {' or '.join(known)}"
        raise UnavailableError(f"torch.compile needs a {language} compiler, but found {found}")
