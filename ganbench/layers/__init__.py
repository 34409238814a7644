"""What networks are made of: a kind of layer is a file, ``network`` has what is done with all layers of one network.

``tables`` has the words of a model file.
"""

from . import tables
from .base import Activation, Init, Layer, Maps, Matrices, Product, Window
from .conv import Conv, ConvTranspose, OnImages
from .dcgan import dcgan
from .dense import Dense
from .network import (
    biases,
    by_layer,
    cast_weights,
    initial_params,
    mlp,
    n_params,
    parameters,
    smooth_depth,
    weighted,
    weights,
)
from .reshape import Reshape
from .tables import KINDS, ConvTable, ConvTransposeTable, DenseTable, Entry, ReshapeTable
from .work import iteration_work, penalty_work

__all__ = [
    "KINDS",
    "Activation",
    "Conv",
    "ConvTable",
    "ConvTranspose",
    "ConvTransposeTable",
    "Dense",
    "DenseTable",
    "Entry",
    "Init",
    "Layer",
    "Maps",
    "Matrices",
    "OnImages",
    "Product",
    "Reshape",
    "ReshapeTable",
    "Window",
    "biases",
    "by_layer",
    "cast_weights",
    "dcgan",
    "initial_params",
    "iteration_work",
    "mlp",
    "n_params",
    "parameters",
    "penalty_work",
    "smooth_depth",
    "tables",
    "weighted",
    "weights",
]
