"""Every program of a backend, for tests that run all of them on what only pretends to be a GPU."""

import pytest

from ganbench.gan import preset
from ganbench.operations import OPERATIONS, operation, operations_of
from ganbench.precision import FULL, precision_of
from ganbench.testing import ODD_SPECS, images

SPECS = (preset("tiny"), *ODD_SPECS)
WHOLE = ("adam_step", "gan_iteration")  # what a mode other than the default changes


def formats(backend):
    """Return (dtype, precision) of each format that a backend has."""
    return [("float32", "tf32") if name == "tf32" else (name, precision_of(name)) for name in backend.formats]


def inputs_of(case, dtype):
    """Return inputs with two batches: no later one is handled otherwise than the second."""
    inputs = case.inputs(0, dtype, images(case))
    return inputs._replace(batches=inputs.batches[:2])


def programs(backend, halves, specs=SPECS, same=()):
    """Return (mode, operation, dtype, precision) as parameters; ``halves`` names the modes that iterate in them.

    ``same`` are dtypes and precisions for which the backend has no code of their own: the first model shows them.
    """
    return [
        pytest.param(mode, operation(name, spec), dtype, precision, id=f"{mode}-{spec.name}-{name}-{dtype}-{precision}")
        for number, mode in enumerate(backend.modes)
        for spec in specs
        for name in (WHOLE if number else operations_of(spec))
        for dtype, precision in formats(backend)
        if spec is specs[0] or not {dtype, precision} & {*same}
        if dtype in FULL or mode in halves or name != "gan_iteration"
        if spec.batch >= OPERATIONS[name].minimum_batch and {*spec.kinds} <= {*backend.layers}
    ]
