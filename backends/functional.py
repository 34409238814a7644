"""An iteration of a framework whose arrays never change and which differentiates functions: JAX and MLX.

Each has functions under the names that NumPy uses, and what is written here is what a user of either would write.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ganbench.array_ops import AdamSettings, Arrays, Updated
from ganbench.backend import Array, Backend, BoundProgram, NetworkState
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, GANSpec
from ganbench.layers import Layer, Matrices, by_layer, cast_weights
from ganbench.losses import Terms

from .steps import Steps


class Functional(Matrices, Steps, Backend):
    """Adam, forward passes and both steps; a subclass has the attributes, which its constructor sets, and the rest."""

    xp: Any  # the module of functions
    maps: Any  # ``ganbench.layers.Maps``
    functions: dict[str, Callable[[Array], Array]]  # by name: activations, and phi of losses
    grad: Any  # of a function: the function that returns its gradient

    @abstractmethod
    def value_and_grad(self, function: Callable[[Any], tuple[Any, ...]], params: Arrays) -> tuple[Any, list[Array]]:
        """Return all that ``function`` returns of ``params``, and the gradient of the first of it."""

    def along(self, v: Array, x: Array) -> Array:
        """Return one number for each channel such that it can be added to ``x``."""
        return v

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """Corrections by expm1: in float32, 1 − 0.999¹ would keep only four digits."""
        xp, t = self.xp, self.xp.array(step, params[0].dtype)
        correct1, correct2 = (-xp.expm1(t * float(np.log(beta))) if beta else 1.0 for beta in (spec.beta1, spec.beta2))
        grads = [g.astype(t.dtype) for g in grads]
        new_m = [spec.beta1 * mi + (1 - spec.beta1) * g for mi, g in zip(m, grads, strict=True)]
        new_v = [spec.beta2 * vi + (1 - spec.beta2) * xp.square(g) for vi, g in zip(v, grads, strict=True)]
        new_params = [
            p - spec.lr * (mi / correct1) / (xp.sqrt(vi / correct2) + spec.eps)
            for p, mi, vi in zip(params, new_m, new_v, strict=True)
        ]
        return new_params, new_m, new_v

    def generator_forward(self, spec: GANSpec, params: Sequence[Array], z: Array) -> Array:
        return self._forward(spec.generator_layers, params, z)[0]

    def discriminator_forward(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        return self._forward(spec.discriminator_layers, params, x)[0]

    def step_on_discriminator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, real: Array, z: Array, u: Array | None, step: Any
    ) -> tuple[Any, ...]:
        fake, running = self._forward(spec.generator_layers, g.params, z, g.running)
        # One product of 2 B rows is faster than two of B.
        seen = [real, fake] if spec.apart else [self.xp.concatenate([real, fake])]

        def d_loss_of(params: list[Array]) -> tuple[Any, ...]:
            outs, of_d = [], d.running
            for x in seen:
                out, of_d = self._forward(spec.discriminator_layers, params, x, of_d)
                outs.append(out)
            d_loss = self._loss(spec.objective.d, self.xp.concatenate(outs).astype(params[0].dtype))
            if u is None:
                return d_loss, of_d
            penalty = self._penalty(spec, params, u * real + (1 - u) * fake)
            return d_loss + penalty, of_d, penalty

        (d_loss, of_d, *penalty), grads = self.value_and_grad(d_loss_of, d.params)
        d = NetworkState(*self.adam_step(spec, d.params, grads, d.m, d.v, step), of_d)
        return g._replace(running=running), d, d_loss, *penalty

    def step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z: Array, step: Any
    ) -> tuple[NetworkState, NetworkState, Array]:
        def g_loss_of(params: list[Array]) -> tuple[Any, ...]:
            images, running = self._forward(spec.generator_layers, params, z, g.running)
            logits, of_d = self._forward(spec.discriminator_layers, d.params, images, d.running)
            return self._loss(spec.objective.g, logits.astype(params[0].dtype)), running, of_d

        (g_loss, running, of_d), grads = self.value_and_grad(g_loss_of, g.params)
        g = NetworkState(*self.adam_step(spec, g.params, grads, g.m, g.v, step), running)
        return g, d._replace(running=of_d), g_loss

    def _loss(self, terms: Terms, logits: Array) -> Array:
        return terms.value(terms.arguments(logits), self.functions[terms.phi])

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        return list(self.grad(lambda params: self._penalty(spec, params, x))(list(params)))

    def _penalty(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        xp = self.xp
        slopes = self.grad(lambda x: self.discriminator_forward(spec, params, x).sum())(x)
        squares = xp.square(slopes.astype(self._wide(x))).sum(axis=1)
        # The root has no derivative at 0, and 0 times infinity is no number: so it is taken of 1 there.
        norms = xp.where(squares > 0, xp.sqrt(xp.where(squares > 0, squares, 1)), 0)
        return spec.penalty * xp.square(norms - 1).mean()

    def _wide(self, x: Array) -> Any:
        """Return the dtype in which halves are summed."""
        return self.xp.float64 if x.dtype == self.xp.float64 else self.xp.float32

    def _forward(
        self, layers: Sequence[Layer], params: Sequence[Array], x: Array, running: Sequence[Array] = ()
    ) -> tuple[Array, list[Array]]:
        """Return the output and the updated running statistics."""
        updated: list[Array] = []
        params = cast_weights(layers, params, lambda p: p.astype(x.dtype))
        for layer, own in zip(layers, by_layer(layers, params), strict=True):
            w, *rest = own or (None,)
            x = layer.forward(x, w, self.maps)
            if layer.batch_norm:
                x, mean, var = self.batch_norm(x, rest[0], rest[1], BATCH_NORM_EPS)
                if running:
                    count = x.size // mean.size
                    fresh, old = (mean, var * (count / (count - 1))), running[len(updated) : len(updated) + 2]
                    updated += [o + BATCH_NORM_MOMENTUM * (f - o) for o, f in zip(old, fresh, strict=True)]
            elif rest:
                # Added in float32, so that the gradient of the bias, a sum over the batch, is not summed in halves.
                wide = self._wide(x)
                x = (x.astype(wide) + self.along(rest[0], x).astype(wide)).astype(x.dtype)
            x = self.functions[layer.activation](x)
        return x, updated


class FunctionalProgram(BoundProgram):
    """Begins with a step counter that is an array: a Python number would be compiled as a constant."""

    def reset(self) -> None:
        super().reset()
        if hasattr(self._state, "step"):
            self._state = self._state._replace(step=self._backend.from_numpy(np.array(self._state.step, np.int32)))
            self.result = (self._state, ())
