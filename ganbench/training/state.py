"""The state of a training as one .npz file, from which any backend resumes.

Keys: ``generator.W1``, ``generator.b1``, ... in the shapes of ``torch.nn.Linear``; with batch norm
``generator.gamma1``, ``generator.beta1`` and ``generator.running.mean1``, ``.var1``; Adam's moments
``generator.m.W1``, ``generator.v.W1``; the same for ``discriminator``; ``step``, the iterations completed;
``spec``, the model as JSON; ``format``, and what resuming needs besides. Nothing in it is pickled.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ..array_ops import GANState, NetworkState
from ..errors import DataError, SpecError
from ..gan import GANSpec
from ..layers import parameters
from ..results.store import replace_file

STATE_FORMAT = 1
BESIDE = ("seed", "data", "losses", "strip_steps", "strip")  # fields of a ``TrainingState`` under their own names


class TrainingState(NamedTuple):
    """A training at one moment; arrays are on the host.

    ``losses`` is what each iteration of the epoch that is not finished reported. ``strip`` holds
    rows generated from the same noise after each of ``strip_steps`` iterations.
    """

    spec: GANSpec
    gan: GANState
    seed: int
    data: str  # a hash over the rows it learns from
    losses: np.ndarray
    strip_steps: np.ndarray
    strip: np.ndarray

    @property
    def step(self) -> int:
        """How many iterations are completed."""
        return int(self.gan.step)

    @property
    def dtype(self) -> str:
        """The dtype it was trained in."""
        return str(self.gan.generator.params[0].dtype)


def entries(spec: GANSpec) -> list[tuple[str, tuple[int, ...]]]:
    """Return (key, shape) of every array of a GAN, in the order of ``gan_iteration``'s outputs."""
    found = []
    for role, layers in (("generator", spec.generator_layers), ("discriminator", spec.discriminator_layers)):
        for part in ("", "m.", "v."):
            found += [(f"{role}.{part}{name}", shape) for name, shape in parameters(layers)]
        found += [
            (f"{role}.running.{name}{number}", (layer.channels,))
            for number, layer in enumerate(layers, 1)
            if layer.batch_norm
            for name in ("mean", "var")
        ]
    return found


def assemble(spec: GANSpec, arrays: Sequence[np.ndarray], step: int) -> GANState:
    """Return the GAN whose arrays stand in the order of ``entries``."""
    left, networks = iter(arrays), []
    for layers in (spec.generator_layers, spec.discriminator_layers):
        counts = [len(parameters(layers))] * 3 + [2 * sum(layer.batch_norm for layer in layers)]
        networks.append(NetworkState(*(list(islice(left, count)) for count in counts)))
    return GANState(networks[0], networks[1], np.int32(step))


def save_state(path: Path, state: TrainingState) -> None:
    """Write ``state`` so that ``path`` is a complete file at every moment; raises ``StorageError``."""
    flat = [array for network in state.gan[:2] for part in network for array in part]
    arrays: dict[str, Any] = {key: array for (key, _), array in zip(entries(state.spec), flat, strict=True)}
    spec = msgspec.json.encode(state.spec).decode()
    arrays |= {"format": STATE_FORMAT, "spec": spec, "step": state.step}
    arrays |= {name: getattr(state, name) for name in BESIDE}
    replace_file(path, lambda file: np.savez(file, **arrays))


def load_state(path: str | Path, spec: GANSpec | None = None) -> TrainingState:
    """Return the state in a file of ``save_state``.

    Raises ``DataError`` if the file is damaged or no state, and ``SpecError`` with the differences if its model is not
    ``spec``.
    """
    arrays = _read(Path(path))
    try:
        found = _interpret(arrays)
    except (DataError, SpecError, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise DataError(f"state {path}: {error}") from error
    if spec is not None and (differs := differences(found.spec, spec)):
        raise SpecError(f"state {path} is of another model: {differs}")
    return found


def differences(saved: GANSpec, asked: GANSpec) -> str:
    """Return the differences between two models, without their names; '' if there are none."""
    return "; ".join(
        f"{field} is {_shown(getattr(saved, field))} in the state, {_shown(getattr(asked, field))} asked for"
        for field in GANSpec.__struct_fields__
        if field != "name" and getattr(saved, field) != getattr(asked, field)
    )


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except OSError as error:
        raise DataError(f"state {path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damage surfaces as anything: BadZipFile, ValueError, EOFError, AttributeError
        why = "no zip archive" if "pickle" in str(error) else str(error) or type(error).__name__  # NumPy's last guess
        raise DataError(f"state {path}: is not a whole .npz file of ganbench: {why}") from error


def _interpret(arrays: dict[str, np.ndarray]) -> TrainingState:
    if "format" not in arrays or "spec" not in arrays:
        raise DataError("holds no model: only a state.npz that 'ganbench train' wrote can be resumed")
    if int(arrays["format"]) != STATE_FORMAT:
        raise DataError(f"has format {int(arrays['format'])}; this ganbench reads format {STATE_FORMAT}")
    spec = msgspec.json.decode(str(arrays["spec"]), type=GANSpec)
    named = entries(spec)
    for key in (*(key for key, _ in named), "step", *BESIDE):
        if key not in arrays:
            raise DataError(f"lacks '{key}'")
    dtype = arrays[named[0][0]].dtype
    for key, shape in named:
        if arrays[key].shape != shape or arrays[key].dtype != dtype:
            raise DataError(f"'{key}' is {arrays[key].dtype} {arrays[key].shape} instead of {dtype} {shape}")
        if not np.isfinite(arrays[key]).all():
            raise DataError(f"'{key}' is not finite")
    gan = assemble(spec, [arrays[key] for key, _ in named], int(arrays["step"]))
    seed, data, *others = (arrays[name] for name in BESIDE)
    return TrainingState(spec, gan, int(seed), str(data), *others)
