"""The whole iteration, Adam included, as one function of tensors for ``torch.compile``.

Gradients are by hand: what the compiler is given then holds no autograd graph, and every formula between two
products becomes one kernel. State is updated in place.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ganbench.backend import Array, Backend, BoundProgram, GANState
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec, Layer, by_layer, working
from ganbench.operation import Inputs, Operation

from .torch_manual import SOFTPLUS_LINEAR

Kept = tuple[Array, Array | None, Array | None, Array]  # input, x̂, 1/std, output of one layer


class CompiledProgram(BoundProgram):
    """Compiles while it is prepared: the first call of a compiled function is what compiles it."""

    def __init__(self, backend: Backend, torch: Any, operation: Operation, inputs: Inputs) -> None:
        self._math = Iteration(torch, operation.spec)
        torch._dynamo.reset()  # a worker may compile several models; none is to count as a recompilation
        self._compiled = torch.compile(self._math.run, fullgraph=True, dynamic=False)
        self._count = torch.zeros((), dtype=torch.float64, device=backend.device)
        super().__init__(backend, operation, inputs, self._one)
        self()
        backend.synchronize()
        self.reset()

    def reset(self) -> None:
        super().reset()
        self._count.fill_(int(self._start.step))

    def _one(self, fixed: Any, state: GANState, batch: tuple[Array, ...]) -> tuple[GANState, Any]:
        g, d, step = state
        self._count.add_(1)
        losses = self._compiled(tuple(map(tuple, g)), tuple(map(tuple, d)), self._count, *batch)
        return GANState(g, d, step + 1), losses


class Iteration:
    """The mathematics of one iteration on separate tensors."""

    def __init__(self, torch: Any, spec: GANSpec) -> None:
        self._torch, self._spec = torch, spec
        self._generator, self._discriminator = spec.generator_layers, spec.discriminator_layers
        self._batch, self._lr, self._eps, self._betas = spec.batch, spec.lr, spec.eps, (spec.beta1, spec.beta2)
        self._saturating = spec.loss == "saturating"

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

        made_by, weights = self._working(self._generator, g[0], z_g), self._working(self._discriminator, d[0], real)
        made = self._forward(self._generator, made_by, z_g, g[3])
        judged = self._forward(self._discriminator, weights, made[-1][-1])
        logits = judged[-1][-1].to(d[0][0].dtype)
        sign = 1 if self._saturating else -1
        g_loss = -sign * softplus(sign * logits).mean()
        grad = (-sigmoid(sign * logits) / b).to(real.dtype)
        for layer, (w, _), kept in reversed(list(zip(self._discriminator, self._cut(weights), judged, strict=True))):
            grad = self._through(layer.activation, kept[-1], grad) @ w
        self._adam(g, self._backward(self._generator, made_by, made, grad), count)
        return d_loss, g_loss

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
