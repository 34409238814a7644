"""Losses as data: what D and G are trained on, as terms of D's outputs.

A new loss is a line of ``LOSSES``: every backend, and the oracle, computes whatever terms stand there.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any, Literal, NamedTuple

Phi = Literal["softplus", "relu", "square", "identity"]


class Terms(NamedTuple):
    """``weight · Σ mean(phi(sign · logit + shift))`` over blocks of B rows, each with its sign and shift.

    Of D the blocks are real rows, then fake ones; of G fake rows alone.
    """

    phi: Phi
    signs: tuple[int, ...]
    shifts: tuple[int, ...]
    weight: float = 1.0

    def arguments(self, logits: Any) -> list[Any]:
        """Return ``sign · logit + shift`` of each block of ``logits`` (blocks · B, 1), arrays of any framework."""
        b, found = len(logits) // len(self.signs), []
        for number, (sign, shift) in enumerate(zip(self.signs, self.shifts, strict=True)):
            block = logits[number * b : (number + 1) * b]
            block = block if sign > 0 else -block
            found.append(block + shift if shift else block)
        return found

    def value(self, arguments: list[Any], phi: Callable[[Any], Any]) -> Any:
        """Return the loss of ``arguments``, given ``phi`` for arrays of their framework."""
        total = reduce(add, [phi(block).mean() for block in arguments])
        return total if self.weight == 1 else self.weight * total

    @property
    def linear(self) -> bool:
        """Whether all that a logit does to the loss is to be added to others, which may leave little of it."""
        return self.phi == "identity"


class Loss(NamedTuple):
    """What D and G are trained on, and what a model has where it says nothing."""

    about: str
    d: Terms
    g: Terms
    penalised: bool = False  # whether the gradient penalty is added to D's
    critic_steps: int = 1
    penalty: float = 0.0
    lr: float = 2e-4
    beta1: float = 0.9
    beta2: float = 0.999

    @property
    def cancels(self) -> bool:
        """Whether the gradients of D on real and on fake rows are of one size, so that little but noise may be left."""
        return self.d.phi in ("identity", "relu")


_LOGISTIC = Terms("softplus", (-1, 1), (0, 0))  # −log of the probability that D gives to the truth
_LINEAR = Terms("identity", (-1,), (0,))  # G raises D's output on fake rows
LOSSES = {
    "non-saturating": Loss(
        "G maximises log D(G(z)) (Goodfellow et al. 2014)", _LOGISTIC, Terms("softplus", (-1,), (0,))
    ),
    "saturating": Loss(
        "G minimises log(1 - D(G(z))), the minimax form (Goodfellow et al. 2014)",
        _LOGISTIC, Terms("softplus", (1,), (0,), weight=-1.0),
    ),
    "wgan-gp": Loss(
        "Wasserstein distance, with gradient penalty (Gulrajani et al. 2017, algorithm 1)",
        Terms("identity", (-1, 1), (0, 0)), _LINEAR, penalised=True,
        critic_steps=5, penalty=10.0, lr=1e-4, beta1=0.0, beta2=0.9,
    ),
    "hinge": Loss("D need only be right by a margin of 1 (Lim & Ye 2017)", Terms("relu", (-1, 1), (1, 1)), _LINEAR),
    "least-squares": Loss(  # a 0, b 1, c 1, and the factor ½ of its equation 9
        "D is to be 1 on real and 0 on fake rows, for G 1 (Mao et al. 2017)",
        Terms("square", (1, 1), (-1, 0), weight=0.5), Terms("square", (1,), (-1,), weight=0.5),
    ),
}  # fmt: skip
DEFAULTS = ("critic_steps", "penalty", "lr", "beta1", "beta2")  # fields of a model that its loss has a default for
