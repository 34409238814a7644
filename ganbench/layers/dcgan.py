"""The layers of a DCGAN."""

from typing import Any

from .tables import ConvTable, ConvTransposeTable, Entry


def dcgan(side: int, width: int, channels: int, bias: bool) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Return the networks of Radford et al. 2015 as in pytorch/examples, for images of side 8, 16, 28, 32 or 64.

    Every layer but those of noise and logit doubles or halves the sides of an image. ``width``: channels of the largest
    hidden image. ``bias``: where there is no batch norm. One difference: that example gives G in its own step the noise
    of D's step, and keeps its forward pass.
    """
    first = 7 if side == 28 else 4
    half: dict[str, Any] = {"kernel": 4, "stride": 2, "padding": 1}
    low, *higher = outs = [width * 2**depth for depth in range((side // first).bit_length() - 1)]
    generator: tuple[Entry, ...] = (
        100,
        ConvTransposeTable(out=outs[-1], kernel=first, batch_norm=True),
        *(ConvTransposeTable(out=out, **half, batch_norm=True) for out in outs[-2::-1]),
        ConvTransposeTable(out=channels, **half, activation="tanh", bias=bias),
    )
    discriminator: tuple[Entry, ...] = (
        (channels, side, side),
        ConvTable(out=low, **half, activation="leaky_relu", bias=bias),
        *(ConvTable(out=out, **half, activation="leaky_relu", batch_norm=True) for out in higher),
        ConvTable(out=1, kernel=first, bias=bias),
    )
    return generator, discriminator
