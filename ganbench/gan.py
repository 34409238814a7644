"""The model: a GAN as plain numbers, and the work that one iteration of it takes.

Knows neither arrays nor frameworks. Weights are as ``torch.nn`` stores them.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import msgspec

from .errors import SpecError, unknown
from .layers import (
    Activation,
    Entry,
    Init,
    Layer,
    dcgan,
    iteration_work,
    mlp,
    n_params,
    penalty_work,
    smooth_depth,
    tables,
    weighted,
)
from .losses import DEFAULTS, LOSSES, Loss

LEAKY_SLOPE = 0.2
BATCH_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1
BY_LOSS: Any = None  # the default of a field: what ``LOSSES`` says
# Units that die let Adam's first moment decay into denormals after some 800 iterations, and a step of Adam
# then takes up to 27 times as long; so state is never carried further than this from where it was staged.
MAX_ITERATIONS = 400
LAST: dict[str, Activation] = {"generator": "sigmoid", "discriminator": "identity"}  # of a network, if it says none
STAGED_BATCHES = 8  # inputs rotate over these


class GANSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A generator, a discriminator, a batch size and Adam's settings.

    ``generator`` and ``discriminator`` list their input, a width or ``[C, H, W]``, and their layers: a width is a dense
    layer, a table has a ``kind``. Activations are one per layer; left empty they become relu on hidden layers, sigmoid
    on the image and identity on the logit. In a list with tables they, and batch norm, are said in the tables.

    Raises ``SpecError`` where such a model cannot exist.
    """

    generator: tuple[Entry, ...]
    discriminator: tuple[Entry, ...]
    batch: int
    generator_activations: tuple[Activation, ...] = ()
    discriminator_activations: tuple[Activation, ...] = ()
    batch_norm: bool = False
    loss: str = "non-saturating"
    critic_steps: int = BY_LOSS
    penalty: float = BY_LOSS
    lr: float = BY_LOSS
    beta1: float = BY_LOSS
    beta2: float = BY_LOSS
    eps: float = 1e-8
    name: str = "custom"
    init: Init = "uniform"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        for field in DEFAULTS:
            if getattr(self, field) is None:
                msgspec.structs.force_setattr(self, field, getattr(self.objective, field))
        for role, output in LAST.items():
            self._fill(role, output)
        tables.require_ends(self.discriminator[0], *map(self._network, LAST))
        layers = (*self.generator_layers, *self.discriminator_layers)
        least = max((math.ceil(3 / layer.pixels) for layer in layers if layer.batch_norm), default=0)
        if self.batch < max(least, 1):
            raise SpecError(f"batch {self.batch} is not valid: at least {least or 1}{' with batch norm' * bool(least)}")
        if self.apart and self.objective.penalised:
            raise SpecError(
                f"batch norm in the discriminator is not valid with loss '{self.loss}': the gradient penalty is taken "
                "row by row, and batch norm mixes rows (Gulrajani et al. 2017, section 4): leave batch_norm out there"
            )
        if not (self.critic_steps >= 1 and 0 <= self.penalty < math.inf):
            raise SpecError(
                f"critic_steps {self.critic_steps} and penalty {self.penalty} are not valid: "
                "critic_steps must be at least 1, penalty finite and not negative"
            )
        if self.penalty and not self.objective.penalised:
            penalised = " or ".join(name for name, loss in LOSSES.items() if loss.penalised)
            raise SpecError(
                f"penalty {self.penalty} is not valid with loss '{self.loss}', which has none: "
                f"leave it out, or choose loss '{penalised}'"
            )
        if not (0 < self.lr < math.inf and 0 <= self.beta1 < 1 and 0 <= self.beta2 < 1 and 0 < self.eps < math.inf):
            raise SpecError(
                f"lr {self.lr}, beta1 {self.beta1}, beta2 {self.beta2}, eps {self.eps} are not valid: "
                "lr and eps must be positive and finite, both betas in [0, 1)"
            )

    def _fill(self, role: str, output: Activation) -> None:
        """Put in the place of what the list of a network leaves out what it then means."""
        entries: tuple[Entry, ...] = getattr(self, role)
        own = f"{role}_activations"
        if tables.tables(entries):
            for field in (own, "batch_norm") if role == "generator" else (own,):
                if getattr(self, field):
                    raise SpecError(f"{field} is for lists of integers: `$.{role}` has tables, so write it in them")
            msgspec.structs.force_setattr(self, role, tables.filled(entries, output))
            return
        widths = tables.widths(role, entries)
        if len(widths) < 2 or min(widths) < 1:
            raise SpecError(
                f"{role} widths {list(widths)} are not valid: at least two positive integers, such as 64,256,784"
            )
        if not getattr(self, own):
            msgspec.structs.force_setattr(self, own, ("relu",) * (len(widths) - 2) + (output,))
        if len(getattr(self, own)) != len(widths) - 1:
            raise SpecError(
                f"{own} names {len(getattr(self, own))} layers, but widths {list(widths)} make {len(widths) - 1}"
            )

    @property
    def objective(self) -> Loss:
        """What the name of its loss stands for."""
        return LOSSES[self.loss]

    @property
    def stacked(self) -> bool:
        """Whether what the steps on D take lies along a first axis; without, there is one step and no penalty."""
        return self.critic_steps > 1 or self.objective.penalised

    @property
    def reported(self) -> tuple[str, ...]:
        """What an iteration reports beside its state; the penalty, times λ, is a part of ``d_loss``."""
        return ("d_loss", "g_loss", "penalty") if self.objective.penalised else ("d_loss", "g_loss")

    @property
    def wasserstein(self) -> bool:
        """What plug-ins written for interface 1 ask; today ``objective.penalised``."""
        return self.objective.penalised

    @property
    def curved(self) -> int:
        """What plug-ins written for interface 1 ask; today ``ganbench.layers.smooth_depth(discriminator_layers)``."""
        return smooth_depth(self.discriminator_layers)

    @property
    def real_rows(self) -> int:
        """How many rows of real data one iteration takes."""
        return self.critic_steps * self.batch

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of layers that tables say; none in a model of integers alone."""
        return tuple(sorted({tables.kind(one) for one in tables.tables((*self.generator, *self.discriminator))}))

    @property
    def convolutional(self) -> bool:
        """Whether any layer gives images."""
        return any(layer.pixels > 1 for layer in (*self.generator_layers, *self.discriminator_layers))

    @property
    def apart(self) -> bool:
        """Whether D sees real and fake rows one after the other: with batch norm, each with statistics of its own."""
        return any(layer.batch_norm for layer in self.discriminator_layers)

    @property
    def z_dim(self) -> int:
        """Width of the noise."""
        return tables.size(self.generator[0])

    @property
    def img_dim(self) -> int:
        """Width of an image, or of whatever the data is."""
        return tables.size(self.discriminator[0])

    @property
    def image_shape(self) -> tuple[int, ...]:
        """C, H, W of an image where the model says it; else (img_dim,)."""
        takes, made = self.discriminator[0], self._network("generator")[1]
        return takes if isinstance(takes, tuple) else made

    @property
    def data_range(self) -> tuple[float, float]:
        """Interval that real data must lie in: what the generator's last activation can produce."""
        return (-1.0, 1.0) if weighted(self.generator_layers)[-1].activation == "tanh" else (0.0, 1.0)

    def _network(self, role: str) -> tables.Network:
        """Return the layers of a network, and the shape of its output; of integers only hidden ones have batch norm."""
        entries: tuple[Entry, ...] = getattr(self, role)
        if tables.tables(entries):
            return _built(role, entries)
        widths = tables.widths(role, entries)
        normalised = self.batch_norm and role == "generator"
        return mlp(widths, getattr(self, f"{role}_activations"), normalised), widths[-1:]

    @property
    def generator_layers(self) -> tuple[Layer, ...]:
        """Layers of the generator, from rows of noise to rows of images."""
        return self._network("generator")[0]

    @property
    def discriminator_layers(self) -> tuple[Layer, ...]:
        """Layers of the discriminator, from rows of images to logits."""
        return self._network("discriminator")[0]

    @property
    def n_params(self) -> int:
        """Number of trained parameters of both networks."""
        return n_params(self.generator_layers) + n_params(self.discriminator_layers)

    @property
    def iteration_flops(self) -> int:
        """Least FLOP of one iteration, counting 2·m·n·k for each matrix product and nothing else."""
        return self._work(lambda layer: layer.flops(self.batch))

    @property
    def usual_flops(self) -> int:
        """The same with products by the zeros of padding, as they are usually counted."""
        return self._work(lambda layer: layer.usual_flops(self.batch))

    def _work(self, work: Callable[[Layer], int]) -> int:
        networks = self.generator_layers, self.discriminator_layers
        return iteration_work(*networks, self.critic_steps, self.objective.penalised, work)

    @property
    def penalty_flops(self) -> int:
        """Least FLOP of the gradient penalty's own gradient for D, counted as those of an iteration."""
        return penalty_work(self.discriminator_layers, lambda layer: layer.flops(self.batch))

    def sizes(self, role: str) -> tuple[int, ...]:
        """Return how many values enter a network, and how many leave each of its layers."""
        layers = self._network(role)[0]
        return math.prod(layers[0].in_shape), *(math.prod(layer.out_shape) for layer in weighted(layers))

    @property
    def widths(self) -> str:
        """The widths of both networks, such as ``64-256-784 / 784-128-1``; images as ``16x14x14``."""
        return " / ".join(tables.sizes(getattr(self, role), self._network(role)[0]) for role in LAST)

    def describe(self) -> str:
        """Return the model in one line, such as ``64-256-784 / 784-128-1, batch 128``."""
        of_loss = f" (critic_steps {self.critic_steps}, penalty {self.penalty:g})" if self.stacked else ""
        in_g = any(layer.batch_norm for layer in self.generator_layers)
        normed = ", batch norm in both networks" if self.apart and in_g else ", batch norm" * in_g
        loss = f", {self.loss}{of_loss}" if self.stacked or self.loss != next(iter(LOSSES)) else ""
        return f"{self.widths}, batch {self.batch}" + normed + loss


def with_loss(spec: GANSpec, loss: str) -> GANSpec:
    """Return ``spec`` with another loss, and its defaults where it had those of its own; raises ``UsageError``."""
    own = {field: None for field in DEFAULTS if getattr(spec, field) == getattr(spec.objective, field)}
    return msgspec.structs.replace(spec, loss=loss, **own)


@functools.cache
def _built(role: str, entries: tuple[Entry, ...]) -> tables.Network:
    return tables.network(role, entries, LAST[role])


def _dcgan(side: int, width: int, batch: int, channels: int = 1, bias: bool = True) -> GANSpec:
    generator, discriminator = dcgan(side, width, channels, bias)
    made = GANSpec(name=f"dcgan-{side}", generator=generator, discriminator=discriminator, batch=batch, beta1=0.5)
    return msgspec.structs.replace(made, init="dcgan")


PRESETS: dict[str, GANSpec] = {
    spec.name: spec
    for spec in (
        GANSpec(name="mnist-mlp", generator=(64, 256, 784), discriminator=(784, 128, 1), batch=128),
        GANSpec(name="mnist-mlp-bn", generator=(64, 256, 784), discriminator=(784, 128, 1), batch=128, batch_norm=True),
        # With one hidden layer of 128, all of them came to lie on one side of their kink, and G learned the mean digit.
        GANSpec(
            name="mnist-wgan-gp", batch=128, loss="wgan-gp",
            generator=(64, 256, 784), generator_activations=("relu", "tanh"),
            discriminator=(784, 256, 256, 1), discriminator_activations=("leaky_relu", "leaky_relu", "identity"),
        ),
        GANSpec(name="tiny", generator=(8, 16, 36), discriminator=(36, 16, 1), batch=16),
        GANSpec(name="wide", generator=(128, 1024, 2048, 4096), discriminator=(4096, 1024, 256, 1), batch=256),
        GANSpec(
            name="deep", batch=128, generator=(64, *[256] * 6, 784), discriminator=(784, *[256] * 6, 1),
            discriminator_activations=(*("leaky_relu",) * 6, "identity"),
        ),
        GANSpec(
            name="speech", batch=128,
            generator=(100, 512, 512, 1024), generator_activations=("relu", "relu", "tanh"),
            discriminator=(1024, 512, 256, 1), discriminator_activations=("leaky_relu", "leaky_relu", "identity"),
        ),
        _dcgan(8, 8, 16),
        _dcgan(28, 16, 32),
        _dcgan(32, 16, 32),
        _dcgan(64, 64, 64, channels=3, bias=False),
    )
}  # fmt: skip


def preset(name: str) -> GANSpec:
    """Return the preset called ``name``; raises ``UsageError`` naming the known ones."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
