"""The whole iteration, Adam included, as one function of tensors for ``torch.compile``.

Gradients are by hand: what the compiler is given then holds no autograd graph, and every formula between two
products becomes one kernel. State is updated in place.
"""

import importlib.util
import os
import shutil
from collections.abc import Sequence
from functools import partial
from typing import Any

from ganbench.backend import Array, Backend, BoundProgram, GANState
from ganbench.errors import UnavailableError
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec, Layer, by_layer, with_loss, working
from ganbench.operation import Inputs, Operation

from .torch_manual import SOFTPLUS_LINEAR

Kept = tuple[Array, Array | None, Array | None, Array]  # input, x̂, 1/std, output of one layer


class CompiledProgram(BoundProgram):
    """Compiles while it is prepared: the first call of a compiled function is what compiles it."""

    def __init__(self, backend: Backend, torch: Any, operation: Operation, inputs: Inputs) -> None:
        self._math = Iteration(torch, operation.spec)
        torch._dynamo.reset()  # a worker may compile several models; none is to count as a recompilation
        compiled = partial(torch.compile, fullgraph=True, dynamic=False)
        self._whole, self._critic, self._generator = map(
            compiled, (self._math.run, self._math.step_on_critic, self._math.step_on_generator)
        )
        # How many steps G and a critic have taken.
        self._counts = [torch.zeros((), dtype=torch.float64, device=backend.device) for _ in range(2)]
        step = self._wasserstein if operation.spec.wasserstein else self._one
        super().__init__(backend, operation, inputs, step)
        self()
        backend.synchronize()
        self.reset()

    def reset(self) -> None:
        super().reset()
        step = int(self._start.step)
        for count, taken in zip(self._counts, (step, step * self._operation.spec.critic_steps), strict=True):
            count.fill_(taken)

    def _one(self, fixed: Any, state: GANState, batch: tuple[Array, ...]) -> tuple[GANState, Any]:
        g, d, step = state
        self._counts[0].add_(1)
        losses = self._whole(tuple(map(tuple, g)), tuple(map(tuple, d)), self._counts[0], *batch)
        return GANState(g, d, step + 1), losses

    def _wasserstein(self, fixed: Any, state: GANState, batch: tuple[Array, ...]) -> tuple[GANState, Any]:
        """Two compiled functions: one for all steps on D would have to be compiled as often as there are."""
        (g, d, step), (real, z_d, z_g, u) = state, batch
        networks = tuple(map(tuple, g)), tuple(map(tuple, d))
        for turn in range(self._operation.spec.critic_steps):
            self._counts[1].add_(1)
            d_loss, penalty = self._critic(*networks, self._counts[1], real[turn], z_d[turn], u[turn])
        self._counts[0].add_(1)
        g_loss = self._generator(*networks, self._counts[0], z_g)
        return GANState(g, d, step + 1), (d_loss, g_loss, penalty)


class PenaltyProgram(BoundProgram):
    """``penalty_grad`` by hand, compiled where the mode is."""

    def __init__(self, backend: Backend, torch: Any, operation: Operation, inputs: Inputs) -> None:
        derived = Iteration(torch, with_loss(operation.spec, "wgan-gp")).penalty_grad
        if backend.mode == "compile":
            torch._dynamo.reset()
            derived = torch.compile(derived, fullgraph=True, dynamic=False)
        super().__init__(backend, operation, inputs, lambda fixed, state, batch: (state, derived(fixed[0], *batch)))
        self()
        backend.synchronize()
        self.reset()


class Iteration:
    """The mathematics of one iteration on separate tensors."""

    def __init__(self, torch: Any, spec: GANSpec) -> None:
        self._torch, self._spec = torch, spec
        self._generator, self._discriminator = spec.generator_layers, spec.discriminator_layers
        self._batch, self._lr, self._eps, self._betas = spec.batch, spec.lr, spec.eps, (spec.beta1, spec.beta2)
        self._loss, self._weight, self._curved = spec.loss, spec.penalty, spec.curved

    def run(self, g: Any, d: Any, count: Array, real: Array, z_d: Array, z_g: Array) -> tuple[Array, Array]:
        """Train (params, m, v, running) of both networks in place; return both losses."""
        torch, b = self._torch, self._batch
        softplus, sigmoid = partial(torch.nn.functional.softplus, threshold=SOFTPLUS_LINEAR), torch.sigmoid
        fake = self._forward(self._generator, self._working(self._generator, g[0], z_d), z_d, g[3])[-1][-1]
        weights = self._working(self._discriminator, d[0], real)
        judged = self._forward(self._discriminator, weights, torch.cat([real, fake]))
        logits = judged[-1][-1].to(d[0][0].dtype)
        d_loss = softplus(-logits[:b]).mean() + softplus(logits[b:]).mean()
        grad = torch.cat([-sigmoid(-logits[:b]), sigmoid(logits[b:])]) / b
        self._adam(d, self._backward(self._discriminator, weights, judged, grad.to(real.dtype)), count)
        return d_loss, self.step_on_generator(g, d, count, z_g)

    def step_on_generator(self, g: Any, d: Any, count: Array, z_g: Array) -> Array:
        """Train G in place against the updated D; return its loss."""
        softplus, sigmoid = partial(self._torch.nn.functional.softplus, threshold=SOFTPLUS_LINEAR), self._torch.sigmoid
        made_by, weights = self._working(self._generator, g[0], z_g), self._working(self._discriminator, d[0], z_g)
        made = self._forward(self._generator, made_by, z_g, g[3])
        judged = self._forward(self._discriminator, weights, made[-1][-1])
        logits = judged[-1][-1].to(d[0][0].dtype)
        if self._loss == "wgan-gp":
            g_loss, grad = -logits.mean(), self._torch.full_like(logits, -1 / self._batch)
        else:
            sign = 1 if self._loss == "saturating" else -1
            g_loss = -sign * softplus(sign * logits).mean()
            grad = -sigmoid(sign * logits) / self._batch
        grad = grad.to(z_g.dtype)
        for layer, (w, _), kept in reversed(list(zip(self._discriminator, self._cut(weights), judged, strict=True))):
            grad = self._through(layer.activation, kept[-1], grad) @ w
        self._adam(g, self._backward(self._generator, made_by, made, grad), count)
        return g_loss

    def step_on_critic(self, g: Any, d: Any, count: Array, real: Array, z_d: Array, u: Array) -> tuple[Array, Array]:
        """Train D in place on the Wasserstein loss with gradient penalty; return d_loss and the penalty in it."""
        torch, b, layers, kept = self._torch, self._batch, self._discriminator, d[0][0].dtype
        fake = self._forward(self._generator, self._working(self._generator, g[0], z_d), z_d, g[3])[-1][-1]
        weights = self._working(layers, d[0], real)
        mixed = u * real + (1 - u) * fake
        judged = self._forward(layers, weights, torch.cat([real, fake, mixed]))
        rows = [judged[0][0], *(layer[-1] for layer in judged)]
        penalty, bent = self.penalty(weights, [array[2 * b :] for array in rows], kept)
        both = [(entered[: 2 * b], None, None, out[: 2 * b]) for entered, _, _, out in judged]
        logits = both[-1][-1].to(kept)
        d_loss = logits[b:].mean() - logits[:b].mean() + penalty
        shares = torch.full_like(logits[:b], 1 / b)
        grads = self._backward(layers, weights, both, torch.cat([-shares, shares]).to(real.dtype))
        self._adam(d, [one if other is None else one + other for one, other in zip(grads, bent, strict=True)], count)
        return d_loss, penalty

    def penalty_grad(self, params: Sequence[Array], x: Array) -> list[Array]:
        """Return the penalty's gradient for D's parameters at rows ``x``."""
        torch, judged = self._torch, self._forward(self._discriminator, params, x)
        rows = [x, *(layer[-1] for layer in judged)]
        _, grads = self.penalty(params, rows, torch.promote_types(x.dtype, torch.float32))
        made = zip(params, grads, strict=True)
        return [torch.zeros_like(p) if grad is None else grad.to(x.dtype) for p, grad in made]

    def penalty(self, params: Sequence[Array], rows: list[Array], dtype: Any) -> tuple[Array, list[Array]]:
        """Return the penalty and its gradient for D's parameters, None where there is none.

        ``rows`` is what each layer of D was given, and its logits. docs/workload.md has the formulas and their names.
        """
        torch, layers, weights, (x, *outs) = self._torch, self._discriminator, params[::2], rows
        p = [torch.ones_like(outs[-1])]
        for index in range(len(layers) - 2, -1, -1):
            p.insert(0, self._through(layers[index].activation, outs[index], p[0] @ weights[index + 1]))
        slopes = (p[0] @ weights[0]).to(dtype)
        norms = (slopes * slopes).sum(1, keepdim=True).sqrt()
        penalty = self._weight * ((norms - 1) ** 2).mean()
        shrunk = 1 - 1 / torch.where(norms > 0, norms, 1)  # where there is no slope, nothing pulls at it
        gamma = (2 * self._weight / len(x) * shrunk * slopes).to(x.dtype)
        grads: list[Array] = [p[0].t() @ gamma, None]
        bends: list[Array] = []
        for index, layer in enumerate(layers[:-1]):
            pi = gamma @ weights[index].t()
            bends.append(self._bend(layer.activation, outs[index], p[index] * pi))
            gamma = self._through(layer.activation, outs[index], pi)
            grads += [p[index + 1].t() @ gamma, None]
        delta = None
        for index in range(self._curved - 1, -1, -1):
            above = None if delta is None else delta @ weights[index + 1]
            delta = bends[index]
            if above is not None:
                delta = delta + self._through(layers[index].activation, outs[index], above)
            grads[2 * index] = grads[2 * index] + delta.t() @ rows[index]
            grads[2 * index + 1] = delta.sum(0, dtype=dtype)
        return penalty, grads

    def _forward(
        self, layers: Sequence[Layer], params: Sequence[Array], x: Array, running: Sequence[Array] = ()
    ) -> list[Kept]:
        kept: list[Kept] = []
        statistics = iter(running)
        for layer, (w, *rest) in zip(layers, by_layer(layers, params), strict=True):
            entered, x_hat, scale = x, None, None
            if layer.batch_norm:
                x = (x @ w.t()).to(rest[0].dtype)
                mean = x.mean(0)
                x_hat = x - mean
                var = (x_hat * x_hat).mean(0)
                scale = (var + BATCH_NORM_EPS).rsqrt()
                x_hat = x_hat * scale
                for new in (mean, var * (len(x) / (len(x) - 1))):
                    next(statistics).mul_(1 - BATCH_NORM_MOMENTUM).add_(new * BATCH_NORM_MOMENTUM)
                x = (x_hat * rest[0] + rest[1]).to(w.dtype)
            else:
                x = x @ w.t() + rest[0]
            x = self._activate(layer.activation, x)
            kept.append((entered, x_hat, scale, x))
        return kept

    def _backward(self, layers: Sequence[Layer], params: Sequence[Array], kept: list[Kept], grad: Array) -> list[Array]:
        grads: list[Array] = []
        cut = by_layer(layers, params)
        for index in range(len(layers) - 1, -1, -1):
            layer, (w, *rest), (x, x_hat, scale, out) = layers[index], cut[index], kept[index]
            delta = self._through(layer.activation, out, grad)
            beta_grad = delta.sum(0, dtype=rest[-1].dtype)
            grads.append(beta_grad)
            if x_hat is not None:
                gamma_grad = (delta * x_hat).sum(0)
                grads.append(gamma_grad)
                delta = (delta - beta_grad / len(x) - x_hat * (gamma_grad / len(x))) * (rest[0] * scale)
                delta = delta.to(w.dtype)
            grads.append(delta.t() @ x)
            if index:
                grad = delta @ w
        return grads[::-1]

    def _adam(self, network: Any, grads: list[Array], count: Array) -> None:
        beta1, beta2 = self._betas
        dtype = network[0][0].dtype
        root = (1 - beta2**count).sqrt()
        lr, eps = (self._lr * root / (1 - beta1**count)).to(dtype), (self._eps * root).to(dtype)
        for p, m, v, g in zip(*network[:3], grads, strict=True):
            g = g.to(dtype)
            m.mul_(beta1).add_(g * (1 - beta1))
            v.mul_(beta2).add_(g * g * (1 - beta2))
            p.sub_(lr * m / (v.sqrt() + eps))

    @staticmethod
    def _working(layers: Sequence[Layer], params: Sequence[Array], x: Array) -> list[Array]:
        """Return the parameters in the dtype of ``x``, which flows through them."""
        return working(layers, params, lambda p: p.to(x.dtype))

    def _cut(self, params: Sequence[Array]) -> list[tuple[Array, ...]]:
        return by_layer(self._discriminator, params)

    def _activate(self, name: str, x: Array) -> Array:
        if name == "leaky_relu":
            return self._torch.where(x > 0, x, LEAKY_SLOPE * x)
        return x if name == "identity" else getattr(self._torch, name)(x)

    def _through(self, name: str, out: Array, grad: Array) -> Array:
        if name == "relu":
            return self._torch.where(out > 0, grad, 0)
        if name == "leaky_relu":
            return self._torch.where(out > 0, grad, LEAKY_SLOPE * grad)
        if name == "tanh":
            return grad * (1 - out * out)
        return grad * (out * (1 - out)) if name == "sigmoid" else grad

    @staticmethod
    def _bend(name: str, out: Array, product: Array) -> Array:
        """Return p · π · σ''/σ' for ``product`` = p · π; 0 where an activation does not curve."""
        if name == "tanh":
            return product * (-2 * out)
        return product * (1 - 2 * out) if name == "sigmoid" else 0


def require_compiler(device: str) -> None:
    """Raise ``UnavailableError`` where torch.compile would find no compiler for ``device``."""
    if device != "cpu":
        if importlib.util.find_spec("triton") is None:
            raise UnavailableError("torch.compile on a GPU needs Triton: pip install triton")
        _require("CC", "gcc", "clang")  # Triton compiles what launches its kernels
    else:
        _require("CXX", "g++", "clang++")


def _require(variable: str, *known: str) -> None:
    """Raise ``UnavailableError`` unless the compiler that ``variable`` names is there, or else one of ``known``."""
    named = os.environ.get(variable)
    if not any(map(shutil.which, [named] if named else known)):
        kind = "C" if variable == "CC" else "C++"
        raise UnavailableError(
            f"torch.compile needs a {kind} compiler, but found {named or 'no ' + ' or '.join(known)}"
        )
