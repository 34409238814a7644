"""Gradients by central finite differences, and how far arrays are apart."""

import numpy as np

STEP = 1e-5  # truncated at STEP², rounded at 1e-16 / STEP


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
