"""The work of a training iteration, from that of a pass through each layer."""

from collections.abc import Callable, Sequence

from .base import Layer
from .network import smooth_depth, weighted

Work = Callable[[Layer], int]  # of one map of a layer


def iteration_work(
    generator: Sequence[Layer],
    discriminator: Sequence[Layer],
    steps: int,
    penalised: bool,
    work: Work,
) -> int:
    """Return the work of ``steps`` on D and one on G.

    D step: G forward, then on real and fake rows D forward, D's weight gradients and the gradient
    down to D's first hidden layer; and the penalty's. G step: G and D forward,
    the gradient through all of D, G's weight gradients and the gradient down to G's first hidden layer.
    """
    g, d = (list(map(work, weighted(layers))) for layers in (generator, discriminator))
    d_step = sum(g) + 2 * (2 * sum(d) + sum(d[1:])) + (penalty_work(discriminator, work) if penalised else 0)
    return steps * d_step + sum(g) + 2 * sum(d) + sum(g) + sum(g[1:])


def penalty_work(discriminator: Sequence[Layer], work: Work) -> int:
    """Return the work of the gradient penalty's own gradient for D.

    Forward to D's last hidden layer, down to the input, up again to that layer, and the weight
    gradients; where activations are smooth, the ordinary backward pass of the layers below as well.
    """
    layers = weighted(discriminator)
    d, smooth = list(map(work, layers)), smooth_depth(layers)
    return 2 * (sum(d[:-1]) + sum(d)) + sum(d[:smooth]) + sum(d[1:smooth])
