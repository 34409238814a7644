"""What ``torch.compile`` makes of the gradient of a gradient: why our compiled mode derives the penalty by hand.

Should one of these fail, PyTorch has changed: then decision 11, the mode's line in backends/torch_backend.py and the
study double_backward are to be looked at again.
"""

import pytest
import torch
from ganbench.backends.torch_backend import TorchBackend

from ganbench.errors import UnavailableError

pytestmark = pytest.mark.modes
SLOPE = 0.2


@pytest.fixture(autouse=True)
def _compiler():
    try:
        TorchBackend(mode="compile")
    except UnavailableError as error:
        pytest.skip(str(error))
    torch._dynamo.reset()


@pytest.fixture
def critic():
    """Return (W1, b1, W2) and rows."""
    torch.manual_seed(0)
    shapes = (16, 36), (16,), (1, 16)
    return [torch.randn(shape).div_(4).requires_grad_() for shape in shapes], torch.rand(8, 36)


def penalty(params, rows, judge=None):
    """Return the gradient penalty as users of PyTorch write it."""
    w1, b1, w2 = params
    rows = rows.detach().requires_grad_()
    judged = torch.nn.functional.leaky_relu(rows @ w1.T + b1, SLOPE) @ w2.T if judge is None else judge(rows)
    (slopes,) = torch.autograd.grad(judged.sum(), rows, create_graph=True)
    return ((slopes.norm(2, dim=1) - 1) ** 2).mean()


def gradient(params, rows):
    return torch.autograd.grad(penalty(params, rows), params, materialize_grads=True)


def test_a_compiled_penalty_is_refused(critic):
    with pytest.raises(torch._dynamo.exc.Unsupported, match="trace_autograd_ops"):
        torch.compile(penalty, fullgraph=True)(*critic)


def test_a_compiled_critic_refuses_double_backward(critic):
    (w1, b1, w2), rows = critic
    judge = torch.compile(lambda x: torch.nn.functional.leaky_relu(x @ w1.T + b1, SLOPE) @ w2.T)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        penalty(critic[0], rows, judge).backward()


def test_both_gradients_inside_are_right_where_a_private_setting_allows_it(critic):
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        found = torch.compile(gradient, fullgraph=True)(*critic)
    for one, other in zip(found, gradient(*critic), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)
