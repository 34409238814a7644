"""What networks are made of: a kind of layer is a file, and ``network`` has what is done with all layers of one."""

from .base import Activation, Layer, Product
from .dense import Dense
from .network import by_layer, cast_weights, initial_params, mlp, n_params, parameters, smooth_depth

__all__ = [
    "Activation",
    "Dense",
    "Layer",
    "Product",
    "by_layer",
    "cast_weights",
    "initial_params",
    "mlp",
    "n_params",
    "parameters",
    "smooth_depth",
]
