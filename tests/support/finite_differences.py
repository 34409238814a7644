"""Gradients by central finite differences, where there are no kinks; and how far arrays are apart."""

import numpy as np

from ganbench.operations.networks import initial_state
from ganbench.verification.choose_inputs import SEEDS
from ganbench.verification.reference import Reference

STEP = 1e-5  # truncated at STEP², rounded at 1e-16 / STEP


def staged(spec, draw, clear_of=50 * STEP):
    """Return (state, batch) with parameters away from their initial 0 and 1, and so far from every kink."""
    for seed in range(SEEDS):
        rng, oracle = np.random.default_rng(seed), Reference()
        state = initial_state(rng, spec, "float64")
        for network in (state.generator, state.discriminator):
            for index, param in enumerate(network.params):
                network.params[index] = param + 0.3 * rng.standard_normal(param.shape)
        batch = draw(spec, rng)
        oracle.gan_iteration(spec, state, *batch)
        if oracle.nearest_kink > clear_of:
            return state, batch
    raise AssertionError("every seed comes too near a kink")


def relative(received, expected):
    """Return ‖received - expected‖ / ‖expected‖ over all arrays; the absolute error where all should be zero."""
    received, expected = (np.concatenate([np.ravel(array) for array in part]) for part in (received, expected))
    return np.linalg.norm(received - expected) / (np.linalg.norm(expected) or 1.0)


def differences(function, arrays):
    """Return the gradient of the scalar ``function(arrays)`` with respect to every element of ``arrays``."""
    grads = []
    for number, array in enumerate(arrays):
        grad = np.empty_like(array)
        for index in np.ndindex(array.shape):
            values = []
            for sign in (1, -1):
                moved = [np.array(other) for other in arrays]
                moved[number][index] += sign * STEP
                values.append(function(moved))
            grad[index] = (values[0] - values[1]) / (2 * STEP)
        grads.append(grad)
    return grads
