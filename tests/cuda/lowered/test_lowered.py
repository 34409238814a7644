"""JAX's programs as they are handed to XLA for CUDA: how precise each product is, and what of the state is donated.

Run once for each set of variables, since JAX reads them when it is imported; ``FORMATS`` says for which formats.
"""

import os
import re

import jax
import pytest
from programs import inputs_of

from ganbench.errors import UnavailableError
from ganbench.gan import preset
from ganbench.operations import operation, operations_of
from ganbench.registry import load
from ganbench.testing import ODD_SPECS
from ganbench.verification.models import IMAGE_SPECS

FORMATS = [form.split("-") for form in os.environ["FORMATS"].split()]
ELEMENT = {"float64": "f64", "float32": "f32", "bfloat16": "bf16", "float16": "f16"}
SPECS = (preset("tiny"), ODD_SPECS[-1], IMAGE_SPECS[0])
NO_PRODUCT = {"batch_norm", "batch_norm_grad", "adam_step"}
JaxBackend = load("jax")


CASES = [
    pytest.param((mode, operation(name, spec), *form), id=f"{mode}-{spec.name}-{name}-{'-'.join(form)}")
    for form in FORMATS
    for mode in JaxBackend.modes
    for spec in SPECS
    for name in (operations_of(spec) if mode == "jit" else ("gan_iteration",))
]


@pytest.fixture(params=CASES, scope="module")
def lowered(request):
    """(operation, dtype, precision, the state, the text of the program for CUDA), once for all tests."""
    mode, case, dtype, precision = request.param
    program = JaxBackend(mode, "cpu").prepare(case, inputs_of(case, dtype))
    arguments = program._fixed, program._state, program._batches[0]
    return (
        case,
        dtype,
        precision,
        program._state,
        program._step.trace(*arguments).lower(lowering_platforms=("cuda",)).as_text(),
    )


def test_every_product_has_the_precision_that_was_asked_for(lowered):
    case, dtype, precision, _, text = lowered
    products = re.findall(r"stablehlo\.(?:dot_general|convolution)\b.*", text)
    assert bool(products) == (case.name not in NO_PRODUCT)
    wanted = "DEFAULT" if precision == "tf32" else "HIGHEST"
    for product in products:
        assert re.findall(r"\b(?:DEFAULT|HIGH|HIGHEST)\b", product) == [wanted, wanted]
        assert "algorithm" not in product
        assert set(re.findall(r"x([a-z]+\d+)>", product)) == {ELEMENT[dtype]}


def test_the_whole_state_is_donated_and_nothing_else(lowered):
    case, _, _, state, text = lowered
    if case.name == "gan_products":  # whose state is where others write to: JAX has no such thing, and drops it
        state = ()
    (signature,) = re.findall(r"func\.func public @main\((.*)\) ->", text)
    donated = re.findall(r"tf\.aliasing_output|jax\.buffer_donor", signature)
    assert len(donated) == len(jax.tree.leaves(state))


def test_nothing_in_a_program_asks_the_host(lowered):
    assert "callback" not in lowered[-1]


def test_an_error_without_words_is_put_into_words(monkeypatch):
    def devices(kind):
        raise AssertionError

    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(UnavailableError, match="has no cuda device: it sees none"):
        JaxBackend("jit", "cuda")
