"""Networks of ``torch.nn`` read as a model, each module by what it says of itself.

PyTorch is not imported here: whoever made the modules has done so.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from ..errors import SpecError
from ..gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec
from ..layers import ConvTable, ConvTransposeTable, DenseTable, Entry, ReshapeTable, tables, weighted
from ..layers.tables import WeightedTable, times

BATCH = 64  # of the model; modules do not say one
LAYERS = {"Linear": DenseTable, "Conv2d": ConvTable, "ConvTranspose2d": ConvTransposeTable}
WINDOW = ("kernel_size", "stride", "padding")
NORMS = ("BatchNorm1d", "BatchNorm2d")
ACTIVATIONS: dict[str, Any] = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
READABLE = ("Sequential", *LAYERS, *NORMS, *ACTIVATIONS, "Flatten", "Unflatten")
CONV = {"dilation": (1, 1), "groups": 1}
NORM = {"eps": BATCH_NORM_EPS, "momentum": BATCH_NORM_MOMENTUM, "affine": True, "track_running_stats": True}
FIXED: dict[str, dict[str, Any]] = {  # what a model file has no word for, and what it therefore must be
    "Conv2d": {**CONV, "padding_mode": "zeros"},
    "ConvTranspose2d": {**CONV, "output_padding": (0, 0)},
    **dict.fromkeys(NORMS, NORM),
    "LeakyReLU": {"negative_slope": LEAKY_SLOPE},
    "Flatten": {"start_dim": 1, "end_dim": -1},
    "Unflatten": {"dim": 1},
}
NEAREST = {  # of other modules, by the beginnings of their names
    ("Dropout", "AlphaDropout", "Identity"): "leave it out",
    ("ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "PReLU", "RReLU", "Softplus"): f"LeakyReLU({LEAKY_SLOPE})",
    ("Hardtanh", "Softsign"): "Tanh",
    ("Hardsigmoid", "LogSigmoid"): "Sigmoid",
    ("LayerNorm", "InstanceNorm", "GroupNorm", "SyncBatchNorm"): "BatchNorm2d, or none",
    ("MaxPool", "AvgPool"): "a Conv2d with stride 2 before it, without it",
    ("Adaptive",): "Flatten and Linear",
    ("Upsample", "Upsampling", "PixelShuffle"): "ConvTranspose2d with kernel_size=4, stride=2, padding=1",
    ("LazyLinear", "LazyConv", "LazyBatchNorm"): "the same with its sizes",
}


class Part(NamedTuple):
    """A module with a weight, where it stands, and the batch norm behind it."""

    place: str
    module: Any
    norm: Any = None


def gan_of(generator: Any, discriminator: Any, noise: int) -> tuple[GANSpec, list[str]]:
    """Return the model of two ``nn.Sequential`` for noise of so many values, and what was read as something else.

    Raises ``SpecError`` with everything that cannot be read, where it stands, and what comes nearest.
    """
    made, judged = _Reading("generator"), _Reading("discriminator")
    made.read(generator)
    judged.read(discriminator)
    _require([*made.faults, *judged.faults])
    _, shape = made.checked((noise,))
    if getattr(judged.entries[-1], "activation", "") == "sigmoid":
        judged.entries[-1] = replace(judged.entries[-1], activation="identity")
        judged.notes.append(
            "the last Sigmoid of the discriminator is a part of the loss here: Sigmoid with BCELoss is the loss "
            "'non-saturating', computed from the logit"
        )
    judged.checked(shape)
    fields = _fields("generator", (noise,), made.entries) | _fields("discriminator", shape, judged.entries)
    return GANSpec(batch=BATCH, **fields), [*made.notes, *judged.notes]


def _require(faults: Sequence[str]) -> None:
    if faults:
        raise SpecError("\n  ".join([f"cannot be read as a model ({', '.join(READABLE)} can):", *faults]))


def _fields(role: str, takes: tuple[int, ...], entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the fields of a network; one of dense layers alone, as integers can say them, is a list of integers."""
    first: Any = takes if len(takes) > 1 else takes[0]
    plain = [entry for entry in entries if isinstance(entry, DenseTable) and entry.bias and not entry.batch_norm]
    if len(plain) < len(entries):
        return {role: (first, *entries)}
    activations = tuple(entry.activation for entry in plain)
    return {role: (first, *(entry.out for entry in plain)), f"{role}_activations": activations}


def _leaves(module: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield every module of a Sequential in order, those of nested ones in their place; one used twice comes twice."""
    for name, child in module._modules.items():
        at = f"{place}[{name}]"
        if is_sequential(child):
            yield from _leaves(child, at)
        else:
            yield at, child


def is_sequential(module: Any) -> bool:
    """Whether a module does nothing but call those that it lists, one after the other."""
    own = next((cls for cls in type(module).__mro__ if cls.__name__ == "Sequential" and _of_torch(cls)), None)
    return own is not None and type(module).forward is vars(own)["forward"]


def is_module(value: Any) -> bool:
    """Whether a value is an ``nn.Module``."""
    return any(cls.__name__ == "Module" and _of_torch(cls) for cls in type(value).__mro__)


def _of_torch(cls: type) -> bool:
    return cls.__module__.startswith("torch.nn.modules.")


class _Reading:
    """One network, read module by module: ``entries`` of its layers, ``faults``, and ``notes`` on what is said anew."""

    def __init__(self, role: str) -> None:
        self._role = role
        self.entries: list[Any] = []
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._parts: list[Part] = []
        self._form = ""  # of a row where reading is: 'row', 'image', or '' where it may be either

    def read(self, network: Any) -> None:
        """Read all modules; what cannot be read is a fault, and reading goes on behind it."""
        if not is_sequential(network):
            return self._refuse(self._role, type(network).__name__, _inside(network))
        if network._forward_hooks or network._forward_pre_hooks:
            self._refuse(self._role, "what is hooked into it", "leave it out")
        for place, module in _leaves(network, self._role):
            self._read(place, module)
        if not self._parts and not self.faults:
            self._refuse(self._role, "a network without a layer", "one with a Linear")

    def checked(self, takes: tuple[int, ...]) -> tables.Network:
        """Return the network with its sizes, given the shape of a row; raises where those of its modules differ."""
        first: Any = takes if len(takes) > 1 else takes[0]
        found = tables.network(self._role, (first, *self.entries), "identity")
        for part, layer in zip(self._parts, weighted(found[0]), strict=True):
            wants, gets = (times(shape) for shape in (part.module.weight.shape, layer.weight_shape))
            if wants != gets:
                given = f"{part.module} gets {times(layer.in_shape)}, which needs a weight {gets}, not {wants}, and"
                self._refuse(part.place, given, "other sizes, or Flatten or Unflatten before it")
                break
            if part.norm is not None and part.norm.num_features != layer.channels:
                self._refuse(part.place, f"{part.norm} behind it", f"BatchNorm of {layer.channels}")
        _require(self.faults)
        return found

    def _refuse(self, place: str, what: Any, nearest: str) -> None:
        self.faults.append(f"{place}: {what} cannot be read; nearest: {nearest}")

    def _read(self, place: str, module: Any) -> None:
        name = type(module).__name__
        if not (name in READABLE and _of_torch(type(module))):
            return self._refuse(place, module if _of_torch(type(module)) else name, _near(module))
        if module._forward_hooks or module._forward_pre_hooks:
            self._refuse(place, f"what is hooked into {name}, such as a norm of its weight,", f"{name} alone")
        if not all(parameter.requires_grad for parameter in module.parameters()):
            self._refuse(place, f"{name}, whose weight is not trained,", "requires_grad=True")
        for field, needed in FIXED.get(name, {}).items():
            if getattr(module, field) != needed:
                self._refuse(place, f"{field}={getattr(module, field)} of {name}", f"{field}={needed}")
        if name in LAYERS:
            self._layer(place, module)
        elif name in NORMS:
            self._norm(place, module)
        elif name in ACTIVATIONS:
            self._activation(place, module)
        elif name == "Flatten":
            self._form = "row"
        else:
            self._form = "image"
            if len(shape := tuple(module.unflattened_size)) != 3:
                return self._refuse(place, module, "Unflatten(1, (C, H, W))")
            self.entries.append(ReshapeTable(shape=shape))

    def _layer(self, place: str, module: Any) -> None:
        name = type(module).__name__
        needs = "row" if name == "Linear" else "image"
        if self._form not in ("", needs):
            way = "Flatten()" if needs == "row" else "Unflatten(1, (C, H, W))"
            self._refuse(place, f"{name} of {'images' if needs == 'row' else 'rows'}", f"{way} before it")
        if any(part.module is module for part in self._parts):
            self._refuse(place, f"{name}, whose weight another layer has too,", f"a {name} of its own")
        self._form = needs
        bias = module.bias is not None
        if name == "Linear":
            self.entries.append(DenseTable(out=module.out_features, activation="identity", bias=bias))
        else:
            sizes = {field.partition("_")[0]: self._square(place, module, field) for field in WINDOW}
            self.entries.append(LAYERS[name](out=module.out_channels, activation="identity", bias=bias, **sizes))
        self._parts.append(Part(place, module))

    def _square(self, place: str, module: Any, field: str) -> int:
        """Return the one number that a field says for height and width."""
        said = getattr(module, field)
        words = {"valid": (0, 0), "same": [(k - 1) / 2 for k in module.kernel_size]}  # of padding, with a stride of 1
        both = words[said] if isinstance(said, str) else said
        if both[0] != both[1] or both[0] % 1:
            self._refuse(place, f"{field}={said} of {type(module).__name__}", f"{field}={int(max(both))}")
        return int(both[0])

    def _norm(self, place: str, module: Any) -> None:
        name, last = type(module).__name__, self.entries[-1] if self.entries else None
        if not isinstance(last, WeightedTable) or last.activation != "identity" or last.batch_norm:
            return self._refuse(place, f"{name} in this place", f"{name} between a layer and its activation")
        if self._form != ("row" if name == "BatchNorm1d" else "image"):
            self._refuse(place, f"{name} behind {type(self._parts[-1].module).__name__}", "the BatchNorm of its kind")
        self.entries[-1] = replace(last, batch_norm=True, bias=True)
        if last.bias:
            self.notes.append(f"{self._parts[-1].place}: its bias is left out, since {name} subtracts it again")
        self._parts[-1] = self._parts[-1]._replace(norm=module)

    def _activation(self, place: str, module: Any) -> None:
        at = next((n for n, one in reversed([*enumerate(self.entries)]) if isinstance(one, WeightedTable)), None)
        if at is None or self.entries[at].activation != "identity":
            return self._refuse(place, f"{module} in this place", "one activation behind each layer")
        self.entries[at] = replace(self.entries[at], activation=ACTIVATIONS[type(module).__name__])


def _inside(network: Any) -> str:
    """Return how a network that is no Sequential may be had as one."""
    if not is_module(network):
        return "return an nn.Sequential"
    found = [name for name, child in network._modules.items() if is_sequential(child)]
    if not found:
        return "an nn.Sequential of its layers"
    return f"its {' or '.join(found)}: return {type(network).__name__}(…).{found[0]}, if its forward does no more"


def _near(module: Any) -> str:
    """Return what comes nearest to a module that cannot be read."""
    name = type(module).__name__
    if not _of_torch(type(module)):
        return "nn.Sequential of its layers, with nn.Flatten or nn.Unflatten where it changes a shape"
    return next((near for names, near in NEAREST.items() if name.startswith(names)), "a module that can")
