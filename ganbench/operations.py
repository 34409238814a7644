"""The operations that are measured: seeded inputs, named outputs, the work they take.

An operation says how its arrays meet a backend's method in one pure ``apply``; a mode that compiles,
scans or captures transforms that one function. docs/workload.md has the mathematics.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .backend import Array, Backend, GANState, NetworkState, Step, arrays
from .errors import unknown
from .gan import BATCH_NORM_EPS, STAGED_BATCHES, GANSpec, Layer, parameters, working
from .precision import BYTES, kept
from .rounding import to_host


class Inputs(NamedTuple):
    """Host arrays of one operation, already in the dtypes that are measured (``ganbench.precision.to_host``).

    ``fixed`` is read by every call, ``state`` is carried from call to call, ``batches`` are taken in turn.
    """

    fixed: tuple[Any, ...]
    state: Any
    batches: list[tuple[Any, ...]]

    def digest(self) -> str:
        """Return a hash over every number, by which a worker proves that it has the oracle's inputs."""
        hasher = hashlib.sha256()
        for array in arrays(self):
            hasher.update(np.ascontiguousarray(array).data)
        return hasher.hexdigest()


class Output(NamedTuple):
    """One output array; errors are taken over each ``group``, concatenated.

    ``kept`` arrays (what is carried on, statistics, losses) are float32 where halves are measured.
    """

    name: str
    shape: tuple[int, ...]
    group: str
    kept: bool = False


class AdamState(NamedTuple):
    """What ``adam_step`` carries on; ``step`` counts completed steps."""

    params: list[Array]
    m: list[Array]
    v: list[Array]
    step: Any


@dataclass(frozen=True)
class Operation(ABC):
    """One operation at the shapes of one model."""

    spec: GANSpec
    name: ClassVar[str]
    stateful: ClassVar[bool] = False
    minimum_batch: ClassVar[int] = 1

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The sizes that determine the work."""

    @property
    @abstractmethod
    def flops(self) -> int:
        """Least FLOP of one iteration."""

    @abstractmethod
    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        """Return seeded inputs; ``images`` is (STAGED_BATCHES · B, img_dim) of real data."""

    @abstractmethod
    def outputs(self) -> list[Output]:
        """Return what a program of this operation must produce, in order."""

    @abstractmethod
    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        """Return (state, results) after one iteration on ``backend``'s arrays."""

    def step(self, backend: Backend) -> Step:
        """Return ``apply`` bound to ``backend``: the pure function that modes transform."""
        return lambda fixed, state, batch: self.apply(backend, fixed, state, batch)

    def collect(self, state: Any, results: Any) -> list[Array]:
        """Return the arrays named by ``outputs``, in that order."""
        return list(results)

    def bytes(self, dtype: str) -> int:
        """Fewest bytes of one iteration: every input read once, every output written once."""
        written = [(math.prod(output.shape), output.kept) for output in self.outputs()]
        wide = self._kept_read + sum(count for count, keep in written if keep)
        narrow = self._values_read - self._kept_read + sum(count for count, keep in written if not keep)
        return BYTES[kept(dtype)] * wide + BYTES[dtype] * narrow

    @property
    @abstractmethod
    def _values_read(self) -> int:
        """How many array values one iteration reads."""

    @property
    def _kept_read(self) -> int:
        """How many of them are float32 where halves are measured."""
        return 0


def _single(names: dict[str, tuple[int, ...]], kept: Sequence[str] = ()) -> list[Output]:
    return [Output(name, shape, name, name in kept) for name, shape in names.items()]


class _Product(Operation):
    """Shapes of the heaviest generator layer: (B, n_in) · (n_in, n_out)."""

    @property
    def shape(self) -> tuple[int, ...]:
        layer = max(self.spec.generator_layers, key=lambda layer: layer.n_in * layer.n_out)
        return self.spec.batch, layer.n_in, layer.n_out

    def _draw(self, seed: int, dtype: str, *shapes: tuple[int, ...]) -> Inputs:
        rng = np.random.default_rng(seed)
        return Inputs(tuple(to_host(rng.standard_normal(shape), dtype) for shape in shapes), None, [()])


class Matmul(_Product):
    """``c = a b``."""

    name = "matmul"

    @property
    def flops(self) -> int:
        return 2 * math.prod(self.shape)

    @property
    def _values_read(self) -> int:
        m, k, n = self.shape
        return m * k + k * n

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        m, k, n = self.shape
        return self._draw(seed, dtype, (m, k), (k, n))

    def outputs(self) -> list[Output]:
        m, _, n = self.shape
        return _single({"c": (m, n)})

    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, (backend.matmul(*fixed),)


class MatmulGrad(_Product):
    """``grad_a = grad bᵀ`` and ``grad_b = aᵀ grad``."""

    name = "matmul_grad"

    @property
    def flops(self) -> int:
        return 4 * math.prod(self.shape)

    @property
    def _values_read(self) -> int:
        m, k, n = self.shape
        return m * k + k * n + m * n

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        m, k, n = self.shape
        return self._draw(seed, dtype, (m, k), (k, n), (m, n))

    def outputs(self) -> list[Output]:
        m, k, n = self.shape
        return _single({"grad_a": (m, k), "grad_b": (k, n)})

    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, backend.matmul_grad(*fixed)


class _Normalisation(Operation):
    """Shapes of the widest hidden generator layer (of the output, where there is no hidden one)."""

    minimum_batch = 3  # with two rows every output is ±1 and every gradient vanishes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.batch, max(self.spec.generator[1:-1] or self.spec.generator[-1:])

    def _draw(self, seed: int, dtype: str, with_grad: bool) -> Inputs:
        rng = np.random.default_rng(seed)
        batch, n = self.shape
        drawn = [
            to_host(2 * rng.standard_normal((batch, n)) + 0.5, dtype),
            rng.uniform(0.5, 1.5, n).astype(kept(dtype)),
            rng.standard_normal(n).astype(kept(dtype)),
        ]
        if with_grad:
            drawn.append(to_host(rng.standard_normal((batch, n)), dtype))
        return Inputs(tuple(drawn), None, [()])

    @property
    def _kept_read(self) -> int:
        return 2 * self.shape[1]  # gamma and beta


class BatchNorm(_Normalisation):
    """Batch norm in training mode, over the batch axis."""

    name = "batch_norm"

    @property
    def flops(self) -> int:
        return 6 * math.prod(self.shape)  # mean 1, var 3 with the difference kept, scale and shift 2

    @property
    def _values_read(self) -> int:
        batch, n = self.shape
        return batch * n + 2 * n

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        return self._draw(seed, dtype, with_grad=False)

    def outputs(self) -> list[Output]:
        _, n = self.shape
        return _single({"y": self.shape, "mean": (n,), "var": (n,)}, kept=("mean", "var"))

    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        x, gamma, beta = fixed
        return state, backend.batch_norm(x, gamma, beta, BATCH_NORM_EPS)


class BatchNormGrad(_Normalisation):
    """The exact gradient of batch norm, statistics recomputed from x."""

    name = "batch_norm_grad"

    @property
    def flops(self) -> int:
        return 11 * math.prod(self.shape)  # mean and var 4, the sums of grad and of grad·x̂ 3, grad_x 4

    @property
    def _values_read(self) -> int:
        batch, n = self.shape
        return 2 * batch * n + 2 * n

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        return self._draw(seed, dtype, with_grad=True)

    def outputs(self) -> list[Output]:
        _, n = self.shape
        named = {"grad_x": self.shape, "grad_gamma": (n,), "grad_beta": (n,)}
        return _single(named, kept=("grad_gamma", "grad_beta"))

    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        x, gamma, beta, grad = fixed
        return state, backend.batch_norm_grad(x, gamma, beta, BATCH_NORM_EPS, grad)


class AdamStep(Operation):
    """One Adam step on all of the generator's parameters."""

    name = "adam_step"
    stateful = True

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(math.prod(shape) for _, shape in parameters(self.spec.generator_layers)),)

    @property
    def flops(self) -> int:
        return 12 * self.shape[0]  # m 3, v 4, root, ε, quotient, lr, difference

    @property
    def _values_read(self) -> int:
        return 4 * self.shape[0]

    @property
    def _kept_read(self) -> int:
        return 3 * self.shape[0]

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        params = initial_params(rng, self.spec.generator_layers, kept(dtype))
        grads = [to_host(1e-2 * rng.standard_normal(p.shape), dtype) for p in params]
        zeros = [np.zeros_like(p) for p in params]
        return Inputs((grads,), AdamState(params, zeros, zeros, np.int32(0)), [()])

    def outputs(self) -> list[Output]:
        return _adam_outputs("", self.spec.generator_layers)

    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        step = state.step + 1
        params, m, v = backend.adam_step(self.spec, state.params, fixed[0], state.m, state.v, step)
        return AdamState(params, m, v, step), ()

    def collect(self, state: Any, results: Any) -> list[Array]:
        return [*state.params, *state.m, *state.v]


class GeneratorForward(Operation):
    """Images from noise; the noise rotates over the staged batches."""

    name = "generator_forward"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.batch, *self.spec.generator

    @property
    def flops(self) -> int:
        return sum(layer.flops(self.spec.batch) for layer in self.spec.generator_layers)

    @property
    def _values_read(self) -> int:
        n_params = sum(math.prod(shape) for _, shape in parameters(self.spec.generator_layers))
        return n_params + self.spec.batch * self.spec.z_dim

    @property
    def _kept_read(self) -> int:
        return sum(2 * layer.n_out for layer in self.spec.generator_layers if layer.batch_norm)  # gamma and beta

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        drawn = initial_params(rng, self.spec.generator_layers, kept(dtype))
        params = working(self.spec.generator_layers, drawn, lambda p: to_host(p, dtype))
        return Inputs((params,), None, [(_noise(rng, self.spec, dtype),) for _ in range(STAGED_BATCHES)])

    def outputs(self) -> list[Output]:
        return _single({"images": (self.spec.batch, self.spec.img_dim)})

    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, (backend.generator_forward(self.spec, fixed[0], *batch),)


class DiscriminatorForward(Operation):
    """Logits of real images, which rotate over the staged batches."""

    name = "discriminator_forward"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.batch, *self.spec.discriminator

    @property
    def flops(self) -> int:
        return sum(layer.flops(self.spec.batch) for layer in self.spec.discriminator_layers)

    @property
    def _values_read(self) -> int:
        n_params = sum(math.prod(shape) for _, shape in parameters(self.spec.discriminator_layers))
        return n_params + self.spec.batch * self.spec.img_dim

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        drawn = initial_params(rng, self.spec.discriminator_layers, kept(dtype))
        params = working(self.spec.discriminator_layers, drawn, lambda p: to_host(p, dtype))
        return Inputs((params,), None, [(real,) for real in _staged(images, self.spec, dtype)])

    def outputs(self) -> list[Output]:
        return _single({"logits": (self.spec.batch, 1)})

    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, (backend.discriminator_forward(self.spec, fixed[0], *batch),)


class GANIteration(Operation):
    """One whole training iteration: a step on D, then a step on G with the updated D."""

    name = "gan_iteration"
    stateful = True

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.batch, *self.spec.generator, *self.spec.discriminator[1:]

    @property
    def flops(self) -> int:
        return self.spec.iteration_flops

    @property
    def _values_read(self) -> int:
        spec = self.spec
        running = sum(2 * layer.n_out for layer in spec.generator_layers if layer.batch_norm)
        return 3 * spec.n_params + running + spec.batch * (spec.img_dim + 2 * spec.z_dim)

    @property
    def _kept_read(self) -> int:
        return self._values_read - self.spec.batch * (self.spec.img_dim + 2 * self.spec.z_dim)

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        state = initial_state(rng, self.spec, kept(dtype))
        batches = [
            (real, _noise(rng, self.spec, dtype), _noise(rng, self.spec, dtype))
            for real in _staged(images, self.spec, dtype)
        ]
        return Inputs((), state, batches)

    def outputs(self) -> list[Output]:
        named = []
        for role, layers in (
            ("generator", self.spec.generator_layers),
            ("discriminator", self.spec.discriminator_layers),
        ):
            named += _adam_outputs(f"{role} ", layers)
            named += [
                Output(f"{role} {name}{number}", (layer.n_out,), f"{role} running {name}", kept=True)
                for number, layer in enumerate(layers, 1)
                if layer.batch_norm
                for name in ("mean", "var")
            ]
        return [*named, *_single({"d_loss": (), "g_loss": ()}, kept=("d_loss", "g_loss"))]

    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        state, *losses = backend.gan_iteration(self.spec, state, *batch)
        return state, losses

    def collect(self, state: Any, results: Any) -> list[Array]:
        networks = (state.generator, state.discriminator)
        return [array for net in networks for part in net for array in part] + list(results)


class Product(NamedTuple):
    """One matrix product, (m, k) · (k, n); an operand that is stored transposed is handed over as a view."""

    m: int
    k: int
    n: int
    a_transposed: bool = False
    b_transposed: bool = False


class GANProducts(Operation):
    """The matrix products of one minimal iteration and nothing else: the floor of ``gan_iteration``.

    Sizes, layouts and number are those of an iteration; every product has operands of its own, so that no
    compiler can share one. Products with a vector (D's last layer) are left out where there are others.
    """

    name = "gan_products"

    @property
    def products(self) -> list[Product]:
        """In the order of an iteration: a step on D, real and fake rows in one batch, then a step on G."""
        b, g, d = self.spec.batch, self.spec.generator_layers, self.spec.discriminator_layers
        listed = [
            *(_forward(layer, b) for layer in g),
            *(_forward(layer, 2 * b) for layer in d),
            *(_weight_gradient(layer, 2 * b) for layer in d),
            *(_input_gradient(layer, 2 * b) for layer in d[1:]),
            *(_forward(layer, b) for layer in (*g, *d)),
            *(_input_gradient(layer, b) for layer in d),
            *(_weight_gradient(layer, b) for layer in g),
            *(_input_gradient(layer, b) for layer in g[1:]),
        ]
        return [product for product in listed if min(product[:3]) > 1] or listed

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.batch, *self.spec.generator, *self.spec.discriminator[1:]

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

    def apply(self, backend: Backend, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
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


def initial_params(rng: np.random.Generator, layers: Sequence[Layer], dtype: str) -> list[np.ndarray]:
    """Return fresh parameters: uniform(±1/√n_in) as ``torch.nn.Linear``; gamma 1, beta 0."""
    drawn = []
    for number, layer in enumerate(layers, 1):
        for name, shape in layer.parameters(number):
            if name.startswith("gamma"):
                drawn.append(np.ones(shape, dtype))
            elif name.startswith("beta"):
                drawn.append(np.zeros(shape, dtype))
            else:
                bound = 1 / math.sqrt(layer.n_in)
                drawn.append(rng.uniform(-bound, bound, shape).astype(dtype))
    return drawn


def initial_state(rng: np.random.Generator, spec: GANSpec, dtype: str) -> GANState:
    """Return a model before its first iteration: moments 0, running mean 0 and variance 1."""
    networks = []
    for layers in (spec.generator_layers, spec.discriminator_layers):
        params = initial_params(rng, layers, dtype)
        zeros = [np.zeros_like(p) for p in params]
        running = [make(layer.n_out, dtype) for layer in layers if layer.batch_norm for make in (np.zeros, np.ones)]
        networks.append(NetworkState(params, zeros, zeros, running))
    return GANState(networks[0], networks[1], np.int32(0))


def _adam_outputs(prefix: str, layers: Sequence[Layer]) -> list[Output]:
    return [
        Output(f"{prefix}{part} {name}", shape, f"{prefix}{part}", kept=True)
        for part in ("params", "m", "v")
        for name, shape in parameters(layers)
    ]


def _noise(rng: np.random.Generator, spec: GANSpec, dtype: str) -> np.ndarray:
    return to_host(rng.standard_normal((spec.batch, spec.z_dim)), dtype)


def _staged(images: np.ndarray, spec: GANSpec, dtype: str) -> list[np.ndarray]:
    return list(to_host(images, dtype).reshape(STAGED_BATCHES, spec.batch, spec.img_dim))


OPERATIONS: dict[str, type[Operation]] = {
    kind.name: kind
    for kind in (
        Matmul,
        MatmulGrad,
        BatchNorm,
        BatchNormGrad,
        AdamStep,
        GeneratorForward,
        DiscriminatorForward,
        GANIteration,
        GANProducts,
    )
}
DEFAULT_OPERATIONS = ("matmul", "matmul_grad", "batch_norm", "adam_step", "gan_iteration")


def operation(name: str, spec: GANSpec) -> Operation:
    """Return the operation called ``name`` at the shapes of ``spec``; raises ``UsageError``."""
    if name not in OPERATIONS:
        raise unknown("operation", name, OPERATIONS)
    return OPERATIONS[name](spec)
