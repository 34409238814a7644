"""What a GPU makes the host wait for, seen in the operations that PyTorch dispatches."""

import contextlib
import types

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ONE_NUMBER = torch.ops.aten._local_scalar_dense.default  # what ``item`` and ``bool`` are
WHERE = torch.ops.prim.device.default  # asked at every second operation


class Watched(TorchDispatchMode):
    """Tells ``tell`` the name of each operation of GPUs. Entered once: each mode more would be one more way to go."""

    def __init__(self, tell):
        super().__init__()
        self._tell, self._records = tell, []

    @classmethod
    def _should_skip_dynamo(cls):
        """PyTorch: what makes dynamo pass over a mode takes time at every operation, and nothing is compiled here."""
        return False

    @contextlib.contextmanager
    def seen(self):
        """Return how many operations there are meanwhile, and those the host waits for: between it and a GPU."""
        record = types.SimpleNamespace(waits=[], operations=0)
        self._records.append(record)
        yield record
        self._records.remove(record)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is WHERE:
            return args[0].device
        given = _devices(args) | _devices(kwargs)
        result = 1.0 if function is ONE_NUMBER else function(*args, **(kwargs or {}))
        made = _devices(result)
        waits = (function is ONE_NUMBER and "cuda" in given) or (given and len(given | made) > 1)
        for record in self._records:
            record.operations += "cuda" in given | made
            record.waits += [str(function)] * bool(waits)
        if "cuda" in given | made:
            self._tell(str(function))
        return result


def _devices(tree):
    if isinstance(tree, torch.Tensor):
        return {tree.device.type}
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, tuple | list):
        return set()
    return set().union(*map(_devices, tree))
