"""The floor: the matrix products of an iteration, and nothing else."""

from typing import Any

import numpy as np

from ..array_ops import Array, ArrayOps
from ..layers import Layer, Product, smooth_depth, weighted
from ..operation import Inputs, ModelOperation, Output, Shape
from .fresh import turns
from .networks import iteration_shape
from .rounding import to_host

FLOOR = "gan_products"  # the operation that is the floor of gan_iteration


class GANProducts(ModelOperation):
    """The matrix products of one minimal iteration and nothing else: the floor of ``gan_iteration``.

    Sizes, layouts and number are those of an iteration; every product has operands of its own, so that no
    compiler can share one. Products with a vector (D's last layer) are left out where there are others. Only the
    smaller operand of a product rotates over the staged batches: if both did, they would hold several times the memory
    that an iteration does, and the products would wait for it.
    """

    name = FLOOR

    @property
    def _sizes(self) -> tuple[int, list[Layer], list[Layer]]:
        """The batch, and the layers of G and of D that have products."""
        return self.spec.batch, weighted(self.spec.generator_layers), weighted(self.spec.discriminator_layers)

    @property
    def products(self) -> list[Product]:
        """In the order of an iteration: the steps on D, whose rows share one batch, then a step on G."""
        b, g, d = self._sizes
        step = self._penalised_step() if self.spec.objective.penalised else self._discriminator_step()
        listed = [
            *step * self.spec.critic_steps,
            *(layer.forward_product(b) for layer in (*g, *d)),
            *(layer.input_grad_product(b) for layer in d),
            *(layer.weight_grad_product(b) for layer in g),
            *(layer.input_grad_product(b) for layer in g[1:]),
        ]
        return [product for product in listed if min(product[:3]) > 1] or listed

    def _discriminator_step(self) -> list[Product]:
        """On real and fake rows."""
        b, g, d = self._sizes
        passes = [b, b] if self.spec.apart else [2 * b]
        return [
            *(layer.forward_product(b) for layer in g),
            *(layer.forward_product(rows) for layer in d for rows in passes),
            *(layer.weight_grad_product(rows) for layer in d for rows in passes),
            *(layer.input_grad_product(rows) for layer in d[1:] for rows in passes),
        ]

    def _penalised_step(self) -> list[Product]:
        """On real, fake and mixed rows; the penalty's part of a weight gradient is so many more rows of its product."""
        b, g, d = self._sizes
        below = [number <= smooth_depth(d) for number in range(1, len(d) + 1)]
        return [
            *(layer.forward_product(b) for layer in g),
            *(layer.forward_product(3 * b) for layer in d[:-1]),
            d[-1].forward_product(2 * b),
            *(layer.input_grad_product(b) for layer in d),  # down
            *(layer.forward_product(b) for layer in d[:-1]),  # up
            *(layer.weight_grad_product((3 + more) * b) for layer, more in zip(d, below, strict=True)),
            *(layer.input_grad_product((2 + more) * b) for layer, more in zip(d[1:], below[1:], strict=True)),
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

        fixed, rotating = [], []
        for p in self.products:
            a, b = (p.m, p.k, p.a_transposed), (p.k, p.n, p.b_transposed)
            smaller, larger = (a, b) if p.m < p.n else (b, a)
            fixed.append(draw(*larger))
            rotating.append(turns(rng, draw(*smaller), p.k * min(p.m, p.n)))
        outs = [to_host(np.zeros((p.m, p.n)), dtype) for p in self.products]
        return Inputs(tuple(fixed), outs, list(zip(*rotating, strict=True)))

    def outputs(self) -> list[Output]:
        return [Output(f"product{number}", (p.m, p.n), "products") for number, p in enumerate(self.products, 1)]

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        made = []
        for p, larger, smaller, out in zip(self.products, fixed, batch, state, strict=True):
            a, b = (smaller, larger) if p.m < p.n else (larger, smaller)
            a, b = backend.transposed(a) if p.a_transposed else a, backend.transposed(b) if p.b_transposed else b
            made.append(backend.matmul_into(a, b, out))
        return made, ()

    def collect(self, state: Any, results: Any) -> list[Array]:
        return list(state)
