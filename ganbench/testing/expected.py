"""What the oracle answers to the conformance suite, on noise in the place of real data."""

import functools
from collections.abc import Sequence

import numpy as np
import pytest

from ..gan import STAGED_BATCHES, GANSpec
from ..operation import ModelOperation, Operation
from ..precision import precision_of
from ..verification.answers import Answers
from ..verification.choose_inputs import collected
from ..verification.emulation import answer
from ..verification.gate import GATED_ITERATIONS
from ..verification.reference import Reference
from .kept import KeptAnswers

KEPT = KeptAnswers()
LONG_RUN = (20, 24)  # iterations over which float64 must agree; 24 where a call makes 8


def keep_answers(config: pytest.Config) -> None:
    """Let ``answers`` be kept in pytest's cache, for other test processes and later runs."""
    if cache := getattr(config, "cache", None):  # none with ``-p no:cacheprovider``
        KEPT.folder = cache.mkdir("ganbench")


def images(model: GANSpec | Operation) -> np.ndarray:
    """Return seeded noise in the place of real data, enough for every staged batch; none where no model asks for it."""
    spec = model.spec if isinstance(model, ModelOperation) else model
    if isinstance(spec, Operation):
        return np.empty(0)
    return np.random.default_rng(0).uniform(*spec.data_range, (STAGED_BATCHES * spec.batch, spec.img_dim))


@functools.cache
def answers(operation: Operation, dtype: str, math: str = "", counts: Sequence[int] = (1, GATED_ITERATIONS)) -> Answers:
    """Return what the oracle says to ``operation`` on ``images``, for arithmetic that ``precision_of`` names."""
    staged, precision = images(operation), precision_of(dtype, math)
    conditions = dtype, precision, counts
    return KEPT.get(operation, conditions, lambda: answer(operation, dtype, precision, staged, counts=counts))


@functools.cache
def long_answers(operation: Operation) -> Answers:
    """Return the oracle's answers after ``LONG_RUN`` iterations."""

    def compute() -> Answers:
        inputs = operation.inputs(0, "float64", images(operation))
        return Answers(0, inputs.digest(), max(LONG_RUN), collected(Reference(), operation, inputs, LONG_RUN), {}, {})

    return KEPT.get(operation, LONG_RUN, compute)
