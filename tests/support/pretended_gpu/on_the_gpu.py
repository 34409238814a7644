"""What stands for the tests that need a GPU: one for each framework that is there."""

import pytest


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["first", "second"])
def test_of(name):
    assert name
