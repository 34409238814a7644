"""What networks are made of: a kind of layer is a file, ``network`` has what is done with all layers of one network.

``tables`` has the words of a model file.
"""

from . import tables as tables
from .base import (
    Activation as Activation,
    Init as Init,
    Layer as Layer,
    Maps as Maps,
    Matrices as Matrices,
    Product as Product,
    Window as Window,
)
from .conv import Conv as Conv, ConvTranspose as ConvTranspose, OnImages as OnImages
from .dcgan import dcgan as dcgan
from .dense import Dense as Dense
from .network import (
    by_layer as by_layer,
    cast_weights as cast_weights,
    initial_params as initial_params,
    mlp as mlp,
    n_params as n_params,
    parameters as parameters,
    running as running,
    smooth_depth as smooth_depth,
    weighted as weighted,
    weights as weights,
)
from .reshape import Reshape as Reshape
from .tables import (
    KINDS as KINDS,
    ConvTable as ConvTable,
    ConvTransposeTable as ConvTransposeTable,
    DenseTable as DenseTable,
    Entry as Entry,
    ReshapeTable as ReshapeTable,
)
from .work import iteration_work as iteration_work, penalty_work as penalty_work
