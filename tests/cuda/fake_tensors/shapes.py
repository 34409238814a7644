"""PyTorch's ``FakeTensorMode``, asked once for each kind of call: its own cache takes longer than most answers."""

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager, no_dispatch

LIFTED = torch.ops.aten.lift_fresh.default  # by it ``torch.tensor`` hands over numbers of the host
KNOWN = {}  # what was answered to calls of which all that is asked about is the same


class Shapes(FakeTensorMode):
    """Tensors that have a device, a dtype and a shape, and no numbers."""

    def __init__(self):
        super().__init__()
        self.cache_enabled = False  # what is not known here is not known there

    def dispatch(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is LIFTED and type(args[0]) is torch.Tensor:
            return self._made((args[0].shape, args[0].stride(), args[0].dtype, args[0].device))
        if func.is_view:  # what it makes shares its memory
            with in_kernel_invocation_manager(self):
                views, device = func(*args, **kwargs), args[0].fake_device
                if isinstance(views, torch.Tensor):
                    return FakeTensor(self, views, device)
                return [FakeTensor(self, view, device) for view in views]
        given = [*leaves(args), *leaves(kwargs.values())]
        asked = func, tuple(kwargs), described(args), described(tuple(kwargs.values())), shared(given)
        if asked in KNOWN:
            return self._again(KNOWN[asked], given)
        answer = super().dispatch(func, types, args, kwargs)
        same = asked[2:4] == (described(args), described(tuple(kwargs.values())))  # else it has given them other shapes
        if same and all(isinstance(one, FakeTensor | None) for one in leaves([answer])):
            KNOWN[asked] = noted(answer, given)
        return answer

    def _again(self, note, given):
        match note:
            case None:
                return None
            case int():
                return given[note]
            case tuple():
                return self._made(note)
            case list():
                return [self._again(one, given) for one in note]

    def _made(self, note):
        *form, dtype, device = note
        with no_dispatch():
            return FakeTensor(self, torch.empty_strided(*form, dtype=dtype, device="meta"), device)


def leaves(values):
    """Yield all that a call is given, out of lists too."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from leaves(value)
        else:
            yield value


def described(value):
    """Return what the answer to a call may depend on, of one thing that it is given."""
    if isinstance(value, FakeTensor):
        return value.shape, value.stride(), value.storage_offset(), value.dtype, value.fake_device
    if isinstance(value, tuple | list):
        return tuple(map(described, value))
    return type(value), value  # 1, 1.0 and True are equal


def shared(given):
    """Return which tensors share memory: the place of the first one with the same, for each."""
    places = [one.untyped_storage()._cdata for one in given if isinstance(one, FakeTensor)]
    return tuple(map(places.index, places))


def noted(answer, given):
    """Return of each tensor in an answer which of the given ones it is, or else what it looks like."""
    if answer is None:
        return None
    if isinstance(answer, tuple | list):
        return [noted(one, given) for one in answer]
    place = next((place for place, one in enumerate(given) if one is answer), None)
    return (answer.shape, answer.stride(), answer.dtype, answer.fake_device) if place is None else place
