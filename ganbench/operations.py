"""The operations by name."""

from .errors import unknown
from .gan import GANSpec
from .gan_operations import AdamStep, DiscriminatorForward, GANIteration, GeneratorForward
from .gan_products import GANProducts
from .layer_operations import BatchNorm, BatchNormGrad, Matmul, MatmulGrad
from .operation import Operation

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
