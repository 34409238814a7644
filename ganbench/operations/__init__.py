"""The operations by name."""

from ..errors import unknown
from ..gan import GANSpec
from ..operation import Operation
from .layers import BatchNorm, BatchNormGrad, Matmul, MatmulGrad
from .networks import AdamStep, DiscriminatorForward, GANIteration, GeneratorForward
from .penalty import PenaltyGrad
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
    """Return the operation called ``name`` at the shapes of ``spec``; raises ``UsageError``."""
    if name not in OPERATIONS:
        raise unknown("operation", name, OPERATIONS)
    return OPERATIONS[name](spec)
