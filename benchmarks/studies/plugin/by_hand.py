"""JAX with the gradient of the penalty by hand, to hold ``grad`` of ``grad`` against."""

from collections.abc import Sequence
from typing import ClassVar

from ganbench.backends.jax_backend import JaxBackend

from ganbench.backend import Array
from ganbench.errors import UnsupportedError
from ganbench.gan import LEAKY_SLOPE, GANSpec


class JaxByHand(JaxBackend):
    """The formulas of docs/workload.md, for a D whose activations are straight but for a kink."""

    name = "jax_by_hand"
    modes: ClassVar[dict[str, str]] = {"jit": "the penalty's gradient by hand, under jit"}
    device_kinds = ("cpu",)

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        if spec.curved:
            raise UnsupportedError("by hand only for relu and leaky_relu")
        np_, weights, slopes, h = self.jax.numpy, params[::2], [], x
        for layer, w, b in zip(spec.discriminator_layers, weights, params[1::2], strict=True):
            u = h @ w.T + b
            below = {"relu": 0.0, "leaky_relu": LEAKY_SLOPE}.get(layer.activation, 1.0)
            slopes.append(np_.where(u > 0, 1.0, below).astype(x.dtype))
            h = u * slopes[-1]
        p = [slopes[-1]]
        for w, slope in zip(weights[:0:-1], slopes[-2::-1], strict=True):
            p.insert(0, p[0] @ w * slope)
        g = p[0] @ weights[0]
        norms = np_.linalg.norm(g, axis=1, keepdims=True)
        gamma = 2 * spec.penalty / len(x) * (1 - 1 / np_.where(norms > 0, norms, 1)) * g
        grads: list[Array] = []
        for w, b, slope, down in zip(weights, params[1::2], slopes, p, strict=True):
            grads += [down.T @ gamma, np_.zeros_like(b)]
            gamma = gamma @ w.T * slope
        return grads
