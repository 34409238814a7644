"""What a GPU makes the host wait for, seen in the operations that PyTorch dispatches."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ONE_NUMBER = torch.ops.aten._local_scalar_dense.default  # what ``item`` and ``bool`` are


class Watched(TorchDispatchMode):
    """Counts the operations of GPUs; notes each that the host waits for, or that carries something from or to it.

    ``tell`` is told the name of each.
    """

    def __init__(self, tell=lambda name: None):
        super().__init__()
        self.waits, self.operations, self._tell = [], 0, tell

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = _devices((args, kwargs))
        result = 1.0 if function is ONE_NUMBER else function(*args, **(kwargs or {}))
        made = _devices(result)
        if "cuda" in given | made:
            self.operations += 1
            self._tell(str(function))
        if (function is ONE_NUMBER and "cuda" in given) or (given and len(given | made) > 1):
            self.waits.append(str(function))
        return result


def _devices(tree):
    return {leaf.device.type for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)}
