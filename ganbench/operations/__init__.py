"""The operations by name, and by the shapes that results tell."""

import contextlib
from collections.abc import Sequence

from ..errors import unknown
from ..gan import GANSpec
from ..operation import Operation, Shape
from .layers import BatchNorm, BatchNormGrad, Matmul, MatmulGrad
from .networks import AdamStep, DiscriminatorForward, GANIteration, GeneratorForward, PenaltyGrad
from .products import GANProducts

LAYERS: list[type[Operation]] = [Matmul, MatmulGrad, BatchNorm, BatchNormGrad]
NETWORKS: list[type[Operation]] = [
    AdamStep,
    GeneratorForward,
    DiscriminatorForward,
    PenaltyGrad,
    GANIteration,
    GANProducts,
]
OPERATIONS = {kind.name: kind for kind in (*LAYERS, *NETWORKS)}
DEFAULT_OPERATIONS = ("matmul", "matmul_grad", "batch_norm", "adam_step", "gan_iteration")


def operation(name: str, spec: GANSpec) -> Operation:
    """Return the operation called ``name`` as the model ``spec`` has it; raises ``UsageError``.

    One at a shape of its own is made by its class: ``Matmul(m, k, n)``.
    """
    if name not in OPERATIONS:
        raise unknown("operation", name, OPERATIONS)
    return OPERATIONS[name].of(spec)


def shape_of(name: str, sizes: Sequence[int], spec: GANSpec | None = None) -> Shape:
    """Return the shape of operation ``name`` whose sizes were recorded, in a run on ``spec``.

    Where no model is known, a preset names the parts of a shape that one has at some batch. Sizes of which nothing is
    known are one part, ``sizes``.
    """
    with contextlib.suppress(KeyError, ValueError):
        kind = OPERATIONS[name]
        return kind.sized(sizes).shape if spec is None else kind.of(spec).shape.filled(sizes)
    return Shape(sizes=tuple(sizes))
