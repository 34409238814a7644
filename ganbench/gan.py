"""The model: a fully connected GAN as plain numbers, and the work that one iteration of it takes.

Knows neither arrays nor frameworks. Weights are ``(n_out, n_in)`` as ``torch.nn.Linear`` stores them.
"""

import math
from pathlib import Path
from typing import Any

import msgspec

from .errors import GanbenchError, SpecError, unknown
from .layers import Activation, Dense, mlp, n_params, smooth_depth
from .losses import DEFAULTS, LOSSES, Loss

LEAKY_SLOPE = 0.2
BATCH_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1
BY_LOSS: Any = None  # the default of a field: what ``LOSSES`` says
# Units that die let Adam's first moment decay into denormals after some 800 iterations, and frameworks
# slow down then by up to 18 times; so state is never carried further than this from where it was staged.
MAX_ITERATIONS = 400
STAGED_BATCHES = 8  # inputs rotate over these


class GANSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A generator, a discriminator, a batch size and Adam's settings.

    ``generator`` and ``discriminator`` list widths from input to output. Activations are one per layer;
    left empty they become relu on hidden layers, sigmoid on the image and identity on the logit.

    Raises ``SpecError`` where such a model cannot exist.
    """

    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
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

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        for field in DEFAULTS:
            if getattr(self, field) is None:
                msgspec.structs.force_setattr(self, field, getattr(self.objective, field))
        for role, output in (("generator", "sigmoid"), ("discriminator", "identity")):
            widths = getattr(self, role)
            if len(widths) < 2 or min(widths) < 1:
                raise SpecError(
                    f"{role} widths {list(widths)} are not valid: at least two positive integers, such as 64,256,784"
                )
            if not getattr(self, f"{role}_activations"):
                default = ("relu",) * (len(widths) - 2) + (output,)
                msgspec.structs.force_setattr(self, f"{role}_activations", default)
            if len(getattr(self, f"{role}_activations")) != len(widths) - 1:
                raise SpecError(
                    f"{role}_activations names {len(getattr(self, f'{role}_activations'))} layers, "
                    f"but widths {list(widths)} make {len(widths) - 1}"
                )
        if self.generator[-1] != self.discriminator[0]:
            raise SpecError(
                f"the generator makes vectors of width {self.generator[-1]}, but the discriminator "
                f"takes width {self.discriminator[0]}: the two must be equal"
            )
        if self.discriminator[-1] != 1:
            raise SpecError(f"the discriminator ends in width {self.discriminator[-1]}: it must be 1, the logit")
        if self.discriminator_activations[-1] != "identity":
            raise SpecError(
                f"the discriminator ends in '{self.discriminator_activations[-1]}': it must be 'identity', "
                "because the losses are written on logits"
            )
        minimum = 3 if self.batch_norm else 1
        if self.batch < minimum:
            why = " with batch norm" if self.batch_norm else ""
            raise SpecError(f"batch {self.batch} is not valid: at least {minimum}{why}")
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
    def z_dim(self) -> int:
        """Width of the noise."""
        return self.generator[0]

    @property
    def img_dim(self) -> int:
        """Width of an image, or of whatever the data is."""
        return self.generator[-1]

    @property
    def data_range(self) -> tuple[float, float]:
        """Interval that real data must lie in: what the generator's last activation can produce."""
        return (-1.0, 1.0) if self.generator_activations[-1] == "tanh" else (0.0, 1.0)

    @property
    def generator_layers(self) -> tuple[Dense, ...]:
        """Layers of the generator; batch norm, where asked for, on the hidden ones."""
        return mlp(self.generator, self.generator_activations, self.batch_norm)

    @property
    def discriminator_layers(self) -> tuple[Dense, ...]:
        """Layers of the discriminator."""
        return mlp(self.discriminator, self.discriminator_activations, batch_norm=False)

    @property
    def n_params(self) -> int:
        """Number of trained parameters of both networks."""
        return n_params(self.generator_layers) + n_params(self.discriminator_layers)

    @property
    def iteration_flops(self) -> int:
        """Least FLOP of one iteration, counting 2·m·n·k for each matrix product and nothing else.

        D step: G forward, then on real and fake rows D forward, D's weight gradients and the gradient
        down to D's first hidden layer; and the penalty's. There may be several. G step: G and D forward,
        the gradient through all of D, G's weight gradients and the gradient down to G's first hidden layer.
        """
        b = self.batch
        g = [layer.flops(b) for layer in self.generator_layers]
        d = [layer.flops(b) for layer in self.discriminator_layers]
        d_step = sum(g) + 2 * (2 * sum(d) + sum(d[1:])) + self.penalty_flops * self.objective.penalised
        g_step = sum(g) + 2 * sum(d) + sum(g) + sum(g[1:])
        return self.critic_steps * d_step + g_step

    @property
    def penalty_flops(self) -> int:
        """Least FLOP of the gradient penalty's own gradient for D, counted as those of an iteration.

        On one batch: forward to D's last hidden layer, down to the input, up again to that layer, and the weight
        gradients; where activations are smooth, the ordinary backward pass of the layers below as well.
        """
        d = [layer.flops(self.batch) for layer in self.discriminator_layers]
        smooth = smooth_depth(self.discriminator_layers)
        return 2 * (sum(d[:-1]) + sum(d)) + sum(d[:smooth]) + sum(d[1:smooth])

    @property
    def widths(self) -> str:
        """The widths of both networks, such as ``64-256-784 / 784-128-1``."""
        return " / ".join("-".join(map(str, widths)) for widths in (self.generator, self.discriminator))

    def describe(self) -> str:
        """Return the model in one line, such as ``64-256-784 / 784-128-1, batch 128``."""
        of_loss = f" (critic_steps {self.critic_steps}, penalty {self.penalty:g})" if self.stacked else ""
        loss = f", {self.loss}{of_loss}" if self.stacked or self.loss != next(iter(LOSSES)) else ""
        return f"{self.widths}, batch {self.batch}" + ", batch norm" * self.batch_norm + loss


def with_loss(spec: GANSpec, loss: str) -> GANSpec:
    """Return ``spec`` with another loss, and its defaults where it had those of its own; raises ``UsageError``."""
    own = {field: None for field in DEFAULTS if getattr(spec, field) == getattr(spec.objective, field)}
    return msgspec.structs.replace(spec, loss=loss, **own)


PRESETS: dict[str, GANSpec] = {
    spec.name: spec
    for spec in (
        GANSpec(name="mnist-mlp", generator=(64, 256, 784), discriminator=(784, 128, 1), batch=128),
        GANSpec(name="mnist-mlp-bn", generator=(64, 256, 784), discriminator=(784, 128, 1), batch=128, batch_norm=True),
        GANSpec(
            name="mnist-wgan-gp",
            generator=(64, 256, 784),
            discriminator=(784, 128, 1),
            discriminator_activations=("leaky_relu", "identity"),
            batch=128,
            loss="wgan-gp",
        ),
        GANSpec(name="tiny", generator=(8, 16, 36), discriminator=(36, 16, 1), batch=16),
        GANSpec(name="wide", generator=(128, 1024, 2048, 4096), discriminator=(4096, 1024, 256, 1), batch=256),
        GANSpec(
            name="deep",
            generator=(64, *[256] * 6, 784),
            discriminator=(784, *[256] * 6, 1),
            discriminator_activations=(*("leaky_relu",) * 6, "identity"),
            batch=128,
        ),
        GANSpec(
            name="speech",
            generator=(100, 512, 512, 1024),
            generator_activations=("relu", "relu", "tanh"),
            discriminator=(1024, 512, 256, 1),
            discriminator_activations=("leaky_relu", "leaky_relu", "identity"),
            batch=128,
        ),
    )
}


def preset(name: str) -> GANSpec:
    """Return the preset called ``name``; raises ``UsageError`` naming the known ones."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def read_spec(path: Path) -> GANSpec:
    """Return the model described by a TOML file; raises ``SpecError`` naming file and fault."""
    try:
        fields: dict[str, Any] = msgspec.toml.decode(path.read_bytes())
        return msgspec.convert({"name": path.stem, **fields}, GANSpec)
    except OSError as error:
        raise SpecError(f"cannot read model {path}: {error.strerror}") from error
    except GanbenchError as error:  # msgspec wraps what __post_init__ raises only if it is a ValueError
        raise SpecError(f"model {path}: {error}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise SpecError(
            f"model {path} is not valid: {error} (fields: {', '.join(GANSpec.__struct_fields__)})"
        ) from error
