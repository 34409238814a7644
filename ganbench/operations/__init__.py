"""The operations by name, and by the shapes that results tell."""

import contextlib
import functools

from ..errors import SpecError, unknown
from ..gan import GANSpec
from ..operation import Operation, Shape
from .convolutions import Conv2d, Conv2dGrad, ConvTranspose2d, ConvTranspose2dGrad
from .layers import BatchNorm, BatchNormGrad, Matmul, MatmulGrad
from .networks import AdamStep, DiscriminatorForward, GANIteration, GeneratorForward, PenaltyGrad
from .products import GANProducts

PRODUCTS = (Matmul.name, MatmulGrad.name)  # what there is of square matrices
CONVOLUTIONS: list[type[Operation]] = [Conv2d, Conv2dGrad, ConvTranspose2d, ConvTranspose2dGrad]
LAYERS: list[type[Operation]] = [Matmul, MatmulGrad, *CONVOLUTIONS, BatchNorm, BatchNormGrad]
NETWORKS: list[type[Operation]] = [
    AdamStep,
    GeneratorForward,
    DiscriminatorForward,
    PenaltyGrad,
    GANIteration,
    GANProducts,
]
OPERATIONS = {kind.name: kind for kind in (*LAYERS, *NETWORKS)}
ITERATION = GANIteration.name  # what a training repeats, and starts are paid for
DEFAULT_OPERATIONS = (*PRODUCTS, "batch_norm", "adam_step", ITERATION)


def operations_of(spec: GANSpec) -> tuple[str, ...]:
    """Return the names of all operations that a model has."""
    found = []
    for name, kind in OPERATIONS.items():
        with contextlib.suppress(SpecError):
            kind.of(spec)
            found.append(name)
    return tuple(found)


def default_operations(spec: GANSpec) -> tuple[str, ...]:
    """Return what is measured of a model by default: where it has convolutions, these in the place of products."""
    known = operations_of(spec)
    own = tuple(kind.name for kind in CONVOLUTIONS if kind.name in known)
    return (*own, *(name for name in DEFAULT_OPERATIONS if name not in PRODUCTS)) if own else DEFAULT_OPERATIONS


@functools.cache  # a folder of results asks for the same ones thousands of times
def operation(name: str, spec: GANSpec) -> Operation:
    """Return the operation called ``name`` as the model ``spec`` has it; raises ``UsageError`` where it has none.

    One at a shape of its own is made by its class: ``Matmul(m, k, n)``.
    """
    if name not in OPERATIONS:
        raise unknown("operation", name, OPERATIONS)
    return OPERATIONS[name].of(spec)


@functools.cache  # as above
def shape_of(name: str, sizes: tuple[int, ...], spec: GANSpec | None = None) -> Shape:
    """Return the shape of operation ``name`` whose sizes were recorded, in a run on ``spec``.

    Where no model is known, a preset names the parts of a shape that one has at some batch. Sizes of which nothing is
    known are one part, ``sizes``.
    """
    with contextlib.suppress(KeyError, ValueError):
        kind = OPERATIONS[name]
        return kind.sized(sizes).shape if spec is None else operation(name, spec).shape.filled(sizes)
    return Shape(sizes=sizes)
