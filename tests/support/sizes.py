"""Which models are large: those of MNIST size and larger, of which one takes as long as all small ones."""

import math

from ganbench.gan import GANSpec
from ganbench.operation import Operation
from ganbench.testing import BackendConformance


def large(parameter):
    """Whether a model, or an operation, has as many numbers as one of MNIST."""
    if isinstance(parameter, Operation):
        return sum(math.prod(output.shape) for output in parameter.outputs()) > 50_000
    return getattr(parameter, "img_dim", 0) >= 28 * 28


def models_of(item):
    """Return the model, or the operation, to which a test of conformance holds a backend; nothing for other tests."""
    if item.cls is None or not issubclass(item.cls, BackendConformance) or not hasattr(item, "callspec"):
        return []
    return [one for one in item.callspec.params.values() if isinstance(one, Operation | GANSpec)]
