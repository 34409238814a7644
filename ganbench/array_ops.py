"""The operations on arrays that every framework and the oracle implement.

Shapes and formulas are in docs/workload.md. In halves (bfloat16, float16) the arrays of the layers have that dtype;
parameters, moments, statistics and sums over a batch are float32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from .errors import UnsupportedError

if TYPE_CHECKING:
    import numpy as np

    from .gan import GANSpec
    from .layers import OnImages

Array = Any  # an array of the framework, on its device
Arrays = Sequence[Array]
Triple = tuple[Array, Array, Array]
Updated = tuple[list[Array], list[Array], list[Array]]  # parameters and Adam's two moments
Step = Callable[[Any, Any, Any], tuple[Any, Any]]  # (fixed, state, batch) -> (state, results)


class NetworkState(NamedTuple):
    """One network in training: parameters, Adam's two moments, batch norm's running (mean, var) pairs."""

    params: list[Array]
    m: list[Array]
    v: list[Array]
    running: list[Array]


class GANState(NamedTuple):
    """Both networks and the number of iterations completed."""

    generator: NetworkState
    discriminator: NetworkState
    step: Any


Trained = tuple[Any, ...]  # the new GANState, d_loss, g_loss and, where the loss has one, the penalty


class Adam(msgspec.Struct, frozen=True):
    """Adam's settings without a model."""

    lr: float = 2e-4
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


AdamSettings: TypeAlias = "Adam | GANSpec"  # what a step of Adam needs to know


class ArrayOps(ABC):
    """Arrays of one framework and the operations on them."""

    @abstractmethod
    def from_numpy(self, array: np.ndarray) -> Array:
        """Return a device array of the same dtype that shares no memory with ``array``.

        A bfloat16 comes as its bits in uint16, and goes so: see ``ganbench.precision``.
        """

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray:
        """Return a device array as a NumPy array; it waits until the array is computed."""

    @abstractmethod
    def matmul(self, a: Array, b: Array) -> Array:
        """Return ``a b``: (m,k), (k,n) -> (m,n)."""

    @abstractmethod
    def matmul_grad(self, a: Array, b: Array, grad: Array) -> tuple[Array, Array]:
        """Return ``grad bᵀ`` (m,k) and ``aᵀ grad`` (k,n), given ``grad`` = ∂L/∂(ab) (m,n)."""

    @abstractmethod
    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        """Return ``y`` (B,n), ``mean`` (n,) and biased ``var`` (n,) of x (B,n), over the batch axis."""

    @abstractmethod
    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        """Return ∂L/∂x (B,n), ∂L/∂gamma (n,), ∂L/∂beta (n,) for ``grad`` = ∂L/∂y, through mean and var."""

    @abstractmethod
    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """Return updated (params, m, v): Kingma & Ba 2015, algorithm 1; ``step`` counts from 1."""

    @abstractmethod
    def generator_forward(self, spec: GANSpec, params: Sequence[Array], z: Array) -> Array:
        """Return images (B, img_dim) for noise z (B, z_dim); batch norm in training mode."""

    @abstractmethod
    def discriminator_forward(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        """Return logits (B, 1) for images x (B, img_dim)."""

    @abstractmethod
    def gan_iteration(
        self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array, u: Array | None = None
    ) -> Trained:
        """Return the new state, d_loss and g_loss after one step on D, then one on G with the updated D.

        ``spec.objective`` says what they are trained on. Where it has a gradient penalty, ``u`` (critic_steps, B, 1) is
        given, and the penalty, which is a part of d_loss, returned as well. Where ``spec.stacked``, D is trained
        ``critic_steps`` times, on ``real`` (critic_steps, B, img_dim) and ``z_d`` (critic_steps, B, z_dim); d_loss and
        penalty are those of the last. Without, ``real`` is (B, img_dim) and ``z_d`` (B, z_dim).
        """

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        """Return ``layer.forward``, without bias and activation: images (B, C, H, W) of images x (B, C, H, W).

        ``layer`` is a ``Conv`` or a ``ConvTranspose``, and its ``window`` has the sizes; w is as PyTorch stores it.
        """
        raise UnsupportedError("this backend has no convolution alone")

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        """Return ∂L/∂x and ∂L/∂w, shaped as x and w, given ``grad`` = ∂L/∂(convolution)."""
        raise UnsupportedError("this backend has no gradient of a convolution alone")

    def transposed(self, a: Array) -> Array:
        """Return ``aᵀ`` for a product to take: a view, if the framework has such."""
        return a.T

    def matmul_into(self, a: Array, b: Array, out: Array) -> Array:
        """Return ``a b``, written to ``out`` (m,n) if the framework can do that without a copy."""
        return self.matmul(a, b)

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        """Return the gradient of ``λ mean((‖∂D/∂x‖ − 1)²)`` for each of D's parameters, at rows x (B, img_dim).

        The norm is taken row by row; a row where it is 0 adds nothing to the gradient.
        """
        raise UnsupportedError("this backend has no gradient penalty")


def steps_on_d(spec: GANSpec, real: Array, z_d: Array, u: Array | None) -> Iterator[tuple[Array, Array, Array | None]]:
    """Yield what each step on D of an iteration takes: (B, img_dim), (B, z_dim) and (B, 1) or None."""
    if not spec.stacked:
        yield real, z_d, None
        return
    for turn in range(spec.critic_steps):
        yield real[turn], z_d[turn], None if u is None else u[turn]


def map_arrays(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return ``tree`` (nested tuples, lists, named tuples) with ``function`` applied to every array.

    Numbers, among them the step counter, pass as they are.
    """
    if isinstance(tree, list):
        return [map_arrays(function, leaf) for leaf in tree]
    if isinstance(tree, tuple):
        mapped = [map_arrays(function, leaf) for leaf in tree]
        return type(tree)(*mapped) if hasattr(tree, "_fields") else tuple(mapped)
    return function(tree) if getattr(tree, "ndim", 0) else tree


def arrays(tree: Any) -> Iterator[Any]:
    """Yield every array of ``tree``, depth first."""
    if isinstance(tree, list | tuple):
        for leaf in tree:
            yield from arrays(leaf)
    elif hasattr(tree, "dtype"):
        yield tree
