"""The floor: the matrix products of an iteration, and nothing else."""

from typing import Any, NamedTuple

import numpy as np

from ..array_ops import Array, ArrayOps
from ..gan import Layer
from ..operation import Inputs, ModelOperation, Output, Shape
from .networks import iteration_shape
from .rounding import to_host

FLOOR = "gan_products"  # the operation that is the floor of gan_iteration


class Product(NamedTuple):
    """One matrix product, (m, k) · (k, n); an operand that is stored transposed is handed over as a view."""

    m: int
    k: int
    n: int
    a_transposed: bool = False
    b_transposed: bool = False


class GANProducts(ModelOperation):
    """The matrix products of one minimal iteration and nothing else: the floor of ``gan_iteration``.

    Sizes, layouts and number are those of an iteration; every product has operands of its own, so that no
    compiler can share one. Products with a vector (D's last layer) are left out where there are others.
    """

    name = FLOOR

    @property
    def products(self) -> list[Product]:
        """In the order of an iteration: the steps on D, whose rows share one batch, then a step on G."""
        b, g, d = self.spec.batch, self.spec.generator_layers, self.spec.discriminator_layers
        step = self._critic_step() if self.spec.wasserstein else self._discriminator_step()
        listed = [
            *step * self.spec.critic_steps,
            *(_forward(layer, b) for layer in (*g, *d)),
            *(_input_gradient(layer, b) for layer in d),
            *(_weight_gradient(layer, b) for layer in g),
            *(_input_gradient(layer, b) for layer in g[1:]),
        ]
        return [product for product in listed if min(product[:3]) > 1] or listed

    def _discriminator_step(self) -> list[Product]:
        """On real and fake rows."""
        b, g, d = self.spec.batch, self.spec.generator_layers, self.spec.discriminator_layers
        return [
            *(_forward(layer, b) for layer in g),
            *(_forward(layer, 2 * b) for layer in d),
            *(_weight_gradient(layer, 2 * b) for layer in d),
            *(_input_gradient(layer, 2 * b) for layer in d[1:]),
        ]

    def _critic_step(self) -> list[Product]:
        """On real, fake and mixed rows; the penalty's part of a weight gradient is so many more rows of its product."""
        b, g, d = self.spec.batch, self.spec.generator_layers, self.spec.discriminator_layers
        curved = [number <= self.spec.curved for number in range(1, len(d) + 1)]
        return [
            *(_forward(layer, b) for layer in g),
            *(_forward(layer, 3 * b) for layer in d[:-1]),
            _forward(d[-1], 2 * b),
            *(_input_gradient(layer, b) for layer in d),  # down
            *(_forward(layer, b) for layer in d[:-1]),  # up
            *(_weight_gradient(layer, (3 + below) * b) for layer, below in zip(d, curved, strict=True)),
            *(_input_gradient(layer, (2 + below) * b) for layer, below in zip(d[1:], curved[1:], strict=True)),
        ]

    @property
    def shape(self) -> Shape:
        return iteration_shape(self.spec)

    @property
    def flops(self) -> int:
        return sum(2 * p.m * p.k * p.n for p in self.products)

    @property
    def _values_read(self) -> int:
        return sum(p.m * p.k + p.k * p.n for p in self.products)

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)

        def draw(rows: int, columns: int, transposed: bool) -> np.ndarray:
            return to_host(rng.standard_normal((columns, rows) if transposed else (rows, columns)), dtype)

        pairs = [(draw(p.m, p.k, p.a_transposed), draw(p.k, p.n, p.b_transposed)) for p in self.products]
        outs = [to_host(np.zeros((p.m, p.n)), dtype) for p in self.products]
        return Inputs(tuple(pairs), outs, [()])

    def outputs(self) -> list[Output]:
        return [Output(f"product{number}", (p.m, p.n), "products") for number, p in enumerate(self.products, 1)]

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        made = [
            backend.matmul_into(a.T if p.a_transposed else a, b.T if p.b_transposed else b, out)
            for p, (a, b), out in zip(self.products, fixed, state, strict=True)
        ]
        return made, ()

    def collect(self, state: Any, results: Any) -> list[Array]:
        return list(state)


def _forward(layer: Layer, rows: int) -> Product:
    """``x Wᵀ``."""
    return Product(rows, layer.n_in, layer.n_out, b_transposed=True)


def _weight_gradient(layer: Layer, rows: int) -> Product:
    """``δᵀ x``."""
    return Product(layer.n_out, rows, layer.n_in, a_transposed=True)


def _input_gradient(layer: Layer, rows: int) -> Product:
    """``δ W``."""
    return Product(rows, layer.n_out, layer.n_in)
